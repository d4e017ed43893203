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

from .camera import Camera
from .render_scene import Layers, Scene

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
    _start_worker().submit(_draw, scene, Camera(4.0, (0.0, 0.0), 4, 4))


def _start_worker() -> ThreadPoolExecutor:
    global _worker  # one context a process, made when it is first needed
    with _worker_lock:
        if _worker is None:
            _worker = ThreadPoolExecutor(1, thread_name_prefix="aios-opengl")
        return _worker


def _draw(scene: Scene, camera: Camera) -> Layers:
    try:
        return _render(_offscreen_renderer(camera), scene, camera)
    except OpenGLError:
        raise
    except Exception as error:  # PyOpenGL and EGL fail in more ways than can be listed
        raise OpenGLError(f"OpenGL failed: {type(error).__name__}: {error}") from error


def _offscreen_renderer(camera: Camera) -> Any:  # noqa: ANN401 - pyrender has no types
    pyrender = _import_pyrender()
    renderer = getattr(_on_worker, "renderer", None)
    if renderer is None:
        renderer = pyrender.OffscreenRenderer(camera.width, camera.height)
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


def _render(renderer: Any, scene: Scene, camera: Camera) -> Layers:  # noqa: ANN401
    pyrender = _import_pyrender()
    near, far = scene.depth_range()
    world = pyrender.Scene(bg_color=(0.0, 0.0, 0.0, 0.0))
    material = pyrender.MetallicRoughnessMaterial()
    # pyrender's second pass never draws the back of a triangle, so each that may be seen from
    # there gets its mirror image.
    fronts = scene.faces.astype(np.uint32)
    both = np.concatenate([fronts, fronts[:, ::-1]])
    uncut = float(scene.vertices[..., 2].min()) > near
    opaque = np.ones((*scene.colors.shape[:2], 1), np.float32)
    colors = np.concatenate([scene.colors, opaque], -1)
    labels = {}
    for index in range(len(scene.people)):
        primitive = pyrender.Primitive(
            positions=scene.vertices[index],
            color_0=colors[index],
            indices=fronts if uncut and scene.closed[index] else both,
            material=material,
            mode=pyrender.constants.GLTF.TRIANGLES,
        )
        labels[world.add(pyrender.Mesh([primitive]))] = _label(index)
    x, y = camera.principal_point
    lens = pyrender.IntrinsicsCamera(
        camera.focal_length, camera.focal_length, x, y, znear=near, zfar=far
    )
    world.add(lens, pose=np.diag([1.0, -1.0, -1.0, 1.0]))  # OpenGL looks along -z, y up
    flags = pyrender.RenderFlags
    rgba, _ = renderer.render(world, flags.FLAT | flags.RGBA)
    # Samples of the picture lie around the pixel's centre, those of this pass at the centre.
    codes, depth = renderer.render(world, flags.SEG, seg_node_map=labels)
    found = _unlabel(codes)
    numbers = np.concatenate([[-1], scene.people]).astype(np.int32)
    depth = np.where(found > 0, depth, np.inf).astype(np.float32)
    return Layers(np.array(rgba), numbers[found], depth)


def _label(index: int) -> tuple[int, int, int]:
    """A colour that stands for the person in place `index`; black stands for nobody."""
    number = index + 1
    return number & 255, number >> 8 & 255, number >> 16


def _unlabel(codes: np.ndarray) -> np.ndarray:
    """Colours (H, W, 3) uint8 -> place of the person plus one, 0 for nobody, (H, W) int64."""
    wide = codes.astype(np.int64)
    return wide[..., 0] + (wide[..., 1] << 8) + (wide[..., 2] << 16)
