"""OpenGL rasterizer: draws people with pyrender in an off-screen context.

An OpenGL context belongs to the thread that created it, and web servers use many threads.  One
worker thread creates the context and does all drawing; other threads wait for it.
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
from .scene import Layers, LitScene

_BACKGROUND = 255
"""Background in the 8-bit person channel; hence the number of people per pass."""

_worker: ThreadPoolExecutor | None = None
_worker_lock = threading.Lock()
_on_worker = threading.local()


class OpenGLError(RuntimeError):
    """OpenGL is not available; the message is one sentence with the reason."""


def rasterize(scene: LitScene, camera: Camera) -> Layers:
    """Draw a scene; thread-safe.

    Args:
        scene: at least one person.
        camera: its width and height are the size of the image.

    Raises:
        OpenGLError: no context can be created, or drawing fails.
    """
    return _start_worker().submit(_draw, scene, camera).result()


def warm_up() -> None:
    """Start OpenGL in the background, which takes one or two seconds; returns at once."""
    corner = np.array([[[0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]], np.float32)
    scene = LitScene(
        corner, corner, np.array([[0, 1, 2]]), np.zeros(1, np.int32), np.zeros(1, bool)
    )

    def draw() -> None:
        with contextlib.suppress(RuntimeError):  # the interpreter is shutting down
            _start_worker().submit(_draw, scene, Camera(4.0, (0.0, 0.0), 4, 4))

    # Not in the main thread: a signal during the start of the worker would leave the interpreter
    # waiting for the worker at exit.
    threading.Thread(target=draw, daemon=True).start()


def _start_worker() -> ThreadPoolExecutor:
    global _worker  # one context per process, created on first use
    with _worker_lock:
        if _worker is None:
            _worker = ThreadPoolExecutor(1, thread_name_prefix="aios-opengl")
        return _worker


def _draw(scene: LitScene, camera: Camera) -> Layers:
    try:
        return _render_all(_offscreen_renderer(camera), scene, camera)
    except OpenGLError:
        raise
    except Exception as error:  # PyOpenGL and EGL raise many types
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
            raise OpenGLError("off-screen OpenGL is supported on Linux only")
        os.environ["PYOPENGL_PLATFORM"] = "egl"  # read once, when OpenGL is imported
    vars(np).setdefault("infty", np.inf)  # pyrender 0.1.45 was written for numpy 1
    # Mesa exports the symbols of its LLVM globally.  Triton, which parts of torch import, has an
    # LLVM of its own and crashes the process if it is loaded after Mesa.
    if "pyrender" not in sys.modules:
        with contextlib.suppress(ImportError):
            importlib.import_module("triton")
    import pyrender

    return pyrender


def _render_all(renderer: Any, scene: LitScene, camera: Camera) -> Layers:  # noqa: ANN401
    limits = scene.depth_range()
    layers = _render(renderer, scene, slice(0, _BACKGROUND), limits, camera)
    for start in range(_BACKGROUND, len(scene.people), _BACKGROUND):
        more = _render(renderer, scene, slice(start, start + _BACKGROUND), limits, camera)
        nearer = more.depth < layers.depth
        for below, above in zip(vars(layers).values(), vars(more).values(), strict=True):
            below[nearer] = above[nearer]
    return layers


def _render(
    renderer: Any,  # noqa: ANN401 - pyrender has no types
    scene: LitScene,
    part: slice,
    limits: tuple[float, float],
    camera: Camera,
) -> Layers:
    """Draw a slice of the people; `limits` are the near and far plane in metres."""
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
    numbers = np.full(_BACKGROUND + 1, -1, np.int32)
    numbers[:count] = people
    rgba = np.array(picture)
    person = numbers[rgba[..., 3]]
    covered = person >= 0
    rgba[..., 3] = np.where(covered, np.uint8(255), np.uint8(0))
    return Layers(rgba, person, np.where(covered, depth, np.float32(np.inf)))


def _triangles(scene: LitScene, part: slice, near: float) -> np.ndarray:
    """Triangles of a slice of the people: (M, 3) uint32 indices into their joint vertices.

    In this pass pyrender always culls back faces, so triangles whose back may be visible are added
    a second time with reversed winding.
    """
    faces = scene.faces.astype(np.uint32)
    size = scene.vertices.shape[1]
    closed = scene.closed[part]
    if float(scene.vertices[..., 2].min()) <= near:
        closed = np.zeros_like(closed)  # the inside is visible through the cut
    starts = np.arange(len(closed), dtype=np.uint32)[:, None, None] * np.uint32(size)
    backs = faces[:, ::-1] + starts[~closed]
    return np.concatenate([(faces + starts).reshape(-1, 3), backs.reshape(-1, 3)])
