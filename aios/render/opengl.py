"""Draws people with pyrender, on whatever OpenGL context comes up without a screen.

An OpenGL context belongs to the thread that made it, and web servers answer from many threads:
one worker thread of ours makes the context and does all drawing, the others wait for it.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ..geometry.camera import Camera
from .pyrender_pass import one_pass_renderer
from .scene import Layers, Scene

_NOBODY = 255
"""Stands for nobody where a byte says who is seen; so that many people are drawn at once."""

_worker: ThreadPoolExecutor | None = None
_worker_lock = threading.Lock()
_on_worker = threading.local()


class OpenGLError(RuntimeError):
    """OpenGL cannot be used here; the message is one sentence on why."""


def rasterise(scene: Scene, camera: Camera) -> Layers:
    """Draw a scene; may be called from any thread.

    Args:
        scene: at least one person.
        camera: (H, W) of the picture are its height and width.

    Raises:
        OpenGLError: no context comes up, or drawing fails.
    """
    return _start_worker().submit(_draw, scene, camera).result()


def warm_up() -> None:
    """Bring OpenGL up in the background: it takes a second or two.  Comes back at once."""
    corner = np.array([[[0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]], np.float32)
    scene = Scene(corner, corner, np.array([[0, 1, 2]]), np.zeros(1, np.int32), np.zeros(1, bool))

    def draw() -> None:
        with contextlib.suppress(RuntimeError):  # the program ends already
            _start_worker().submit(_draw, scene, Camera(4.0, (0.0, 0.0), 4, 4))

    # Not from the thread that handles signals: one that ends the program while the worker starts
    # would leave Python waiting for a worker that nobody tells to stop.
    threading.Thread(target=draw, daemon=True).start()


def _start_worker() -> ThreadPoolExecutor:
    global _worker  # one context a process, made when it is first needed
    with _worker_lock:
        if _worker is None:
            _worker = ThreadPoolExecutor(1, thread_name_prefix="aios-opengl")
        return _worker


def _draw(scene: Scene, camera: Camera) -> Layers:
    try:
        return _render_all(_offscreen_renderer(camera), scene, camera)
    except OpenGLError:
        raise
    except Exception as error:  # PyOpenGL and EGL fail in more ways than can be listed
        raise OpenGLError(f"OpenGL failed: {type(error).__name__}: {error}") from error


def _offscreen_renderer(camera: Camera) -> Any:  # noqa: ANN401 - pyrender has no types
    _import_pyrender()
    renderer = getattr(_on_worker, "renderer", None)
    if renderer is None:
        renderer = one_pass_renderer(camera.width, camera.height)
        _on_worker.renderer = renderer
    renderer.viewport_width, renderer.viewport_height = camera.width, camera.height
    return renderer


def _import_pyrender() -> Any:  # noqa: ANN401 - pyrender has no types
    if "PYOPENGL_PLATFORM" not in os.environ:
        if sys.platform != "linux":
            raise OpenGLError("OpenGL without a screen is tried on Linux only")
        os.environ["PYOPENGL_PLATFORM"] = "egl"  # read once, when OpenGL is imported
    vars(np).setdefault("infty", np.inf)  # pyrender 0.1.45 was written for numpy 1
    # Mesa makes the names of its LLVM known to all that is loaded later, and Triton, which brings
    # an LLVM of its own and is imported by parts of torch, then crashes the process.
    if "pyrender" not in sys.modules:
        with contextlib.suppress(ImportError):
            importlib.import_module("triton")
    import pyrender

    return pyrender


def _render_all(renderer: Any, scene: Scene, camera: Camera) -> Layers:  # noqa: ANN401
    limits = scene.depth_range()
    layers = _render(renderer, scene, slice(0, _NOBODY), limits, camera)
    for start in range(_NOBODY, len(scene.people), _NOBODY):
        more = _render(renderer, scene, slice(start, start + _NOBODY), limits, camera)
        nearer = more.depth < layers.depth
        for below, above in zip(vars(layers).values(), vars(more).values(), strict=True):
            below[nearer] = above[nearer]
    return layers


def _render(
    renderer: Any,  # noqa: ANN401 - pyrender has no types
    scene: Scene,
    part: slice,
    limits: tuple[float, float],
    camera: Camera,
) -> Layers:
    """Draw some of the people; `limits` are the near and far plane in metres."""
    pyrender = _import_pyrender()
    people = scene.people[part]
    count, size, _ = scene.vertices[part].shape
    codes = np.arange(count, dtype=np.float32) / 255
    alpha = np.broadcast_to(codes[:, None, None], (count, size, 1))
    colors = np.concatenate([scene.colors[part], alpha], -1)
    world = pyrender.Scene()
    primitive = pyrender.Primitive(
        positions=scene.vertices[part].reshape(-1, 3),
        color_0=colors.reshape(-1, 4),
        indices=_triangles(scene, part, limits[0]),
        mode=pyrender.constants.GLTF.TRIANGLES,
    )
    node = world.add(pyrender.Mesh([primitive]))
    x, y = camera.principal_point
    lens = pyrender.IntrinsicsCamera(
        camera.focal_length, camera.focal_length, x, y, znear=limits[0], zfar=limits[1]
    )
    world.add(lens, pose=np.diag([1.0, -1.0, -1.0, 1.0]))  # OpenGL looks along -z, y up
    flags = pyrender.RenderFlags
    picture, depth = renderer.render(world, flags.SEG, seg_node_map={node: 0})
    numbers = np.full(_NOBODY + 1, -1, np.int32)
    numbers[:count] = people
    rgba = np.array(picture)
    person = numbers[rgba[..., 3]]
    covered = person >= 0
    rgba[..., 3] = np.where(covered, np.uint8(255), np.uint8(0))
    return Layers(rgba, person, np.where(covered, depth, np.float32(np.inf)))


def _triangles(scene: Scene, part: slice, near: float) -> np.ndarray:
    """Corners of some people's triangles, numbered through all of them: (M, 3) uint32.

    pyrender never draws the back of a triangle here, so each that may be seen from there gets its
    mirror image.
    """
    faces = scene.faces.astype(np.uint32)
    size = scene.vertices.shape[1]
    closed = scene.closed[part]
    if float(scene.vertices[..., 2].min()) <= near:
        closed = np.zeros_like(closed)  # through the cut one looks inside
    starts = np.arange(len(closed), dtype=np.uint32)[:, None, None] * np.uint32(size)
    backs = faces[:, ::-1] + starts[~closed]
    return np.concatenate([(faces + starts).reshape(-1, 3), backs.reshape(-1, 3)])
