"""Renders people with one z-buffer and composites them over the photo.

Frame: x right, y down, z forward, metres.  The environment variable `AIOS_RENDERER` chooses the
rasterizer: `gl` (pyrender), `software` (a z-buffer in numpy with the same image) or `auto`, the
default: `gl` if an OpenGL context can be created, else `software`.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

import cv2
import numpy as np

from ..geometry.camera import Camera
from . import opengl, software
from .colors import FADED_RGB, distance_colors, person_colors
from .labels import draw_labels, draw_legend, label_points
from .scene import (
    NEAR,
    Layers,
    LitScene,
    antialias,
    build_scene,
    feather,
    shade_depth_edges,
    visible_region,
)

__all__ = [
    "MAX_SIDE_PX",
    "RENDERERS",
    "RenderedPeople",
    "depth_overlay",
    "overlay",
    "person_colors",
    "render_people",
    "warm_up",
]

_LOGGER = logging.getLogger(__name__)

RENDERERS = ("auto", "gl", "software")
MAX_SIDE_PX = 2048
"""Largest long side at which people are rendered; for larger photos the result is upscaled."""

_MARGIN_PX = 4
_ROWS_AT_ONCE = 256
_DIM_FACTOR, _DIM_OFFSET = 0.45, 20.0
_MAX_DEPTH_RATIO = 3.0
"""Ends of the colour scale of distances, relative to the median person."""
_auto_without_gl = False


@dataclass(frozen=True)
class RenderedPeople:
    """People rendered by a camera of H x W pixels."""

    color: np.ndarray
    """(H, W, 3) uint8 sRGB, straight alpha; black where alpha is 0."""
    alpha: np.ndarray
    """(H, W) float32 0-1, with a soft edge around people."""
    depth: np.ndarray
    """(H, W) float32 metres along z at pixel centres, inf for background."""
    person: np.ndarray
    """(H, W) int32 person index at pixel centres, -1 for background."""


@dataclass(frozen=True)
class _CroppedLayers:
    """Layers of a crop whose first pixel is (x0, y0) of the image."""

    x0: int
    y0: int
    layers: Layers

    @property
    def crop(self) -> tuple[slice, slice]:
        """Rows and columns of the crop in the image."""
        height, width = self.layers.person.shape
        return slice(self.y0, self.y0 + height), slice(self.x0, self.x0 + width)


def render_people(
    vertices: np.ndarray,
    faces: np.ndarray,
    camera: Camera,
    renderer: str | None = None,
    colors: np.ndarray | None = None,
) -> RenderedPeople:
    """Render people with depth test.

    People with non-finite vertices, behind the camera or outside the view are skipped; meshes are
    clipped at the near plane.

    Args:
        vertices: (P, V, 3) metres, camera frame; P may be 0.
        faces: (F, 3) vertex indices, shared by all people.
        camera: its width and height are the size of the image.
        renderer: one of `RENDERERS`; None reads `AIOS_RENDERER`.
        colors: (P, 3) or (P, V, 3) uint8 sRGB before lighting; None for `person_colors`.

    Raises:
        ValueError: wrong shapes or an unknown renderer.
        aios.render.opengl.OpenGLError: the renderer is `gl` and OpenGL is not available.
    """
    drawn = _draw(vertices, faces, camera, renderer, colors)
    whole = Layers.empty(camera.height, camera.width)
    whole.person[drawn.crop] = drawn.layers.person
    whole.depth[drawn.crop] = drawn.layers.depth
    whole.rgba[drawn.crop] = drawn.layers.rgba
    alpha = whole.rgba[..., 3].astype(np.float32) * np.float32(1 / 255)
    color = whole.rgba[..., :3] / np.maximum(alpha, np.float32(1 / 255))[..., None]
    color = np.minimum(color + 0.5, 255.0).astype(np.uint8)
    return RenderedPeople(color, alpha, whole.depth, whole.person)


def overlay(
    photo: np.ndarray,
    vertices: np.ndarray,
    faces: np.ndarray,
    camera: Camera,
    colors: np.ndarray | None = None,
    renderer: str | None = None,
) -> np.ndarray:
    """Composite the meshes over the photo.

    Args:
        photo: (H, W, 3) uint8 RGB; not modified.
        vertices: (P, V, 3) metres, camera frame; P may be 0.
        faces: (F, 3) vertex indices, shared by all people.
        camera: camera of the photo.
        colors: (P, 3) or (P, V, 3) uint8 sRGB before lighting; None for `person_colors`.
        renderer: one of `RENDERERS`; None reads `AIOS_RENDERER`.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: the photo is not RGB uint8 or not of the size of the camera.
        aios.render.opengl.OpenGLError: the renderer is `gl` and OpenGL is not available.
    """
    _check_photo(photo, camera)
    reduced = _reduced_camera(camera)
    return _blend(photo.copy(), _draw(vertices, faces, reduced, renderer, colors), reduced)


def depth_overlay(
    photo: np.ndarray,
    vertices: np.ndarray,
    faces: np.ndarray,
    camera: Camera,
    distances: np.ndarray,
    renderer: str | None = None,
    indices: np.ndarray | None = None,
    faded: np.ndarray | None = None,
) -> np.ndarray:
    """Composite people, coloured by distance, over the dimmed photo.

    Each visible person gets a badge with their number and the colour of the overlay, and below it
    their distance.

    Args:
        photo: (H, W, 3) uint8 RGB; not modified.
        vertices: (P, V, 3) metres, camera frame; P may be 0.
        faces: (F, 3) vertex indices, shared by all people.
        camera: camera of the photo.
        distances: (P,) metres, of each person.
        renderer: one of `RENDERERS`; None reads `AIOS_RENDERER`.
        indices: (P,) of the people, for numbers (from 1) and colours; None for 0, 1, 2, ...
        faded: (P,) bool, people who are grey; None for nobody.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: the photo is not RGB uint8 or not of the size of the camera.
        aios.render.opengl.OpenGLError: the renderer is `gl` and OpenGL is not available.
    """
    _check_photo(photo, camera)
    distances = np.asarray(distances)
    if len(distances) != len(vertices):
        raise ValueError(f"distances are of {len(distances)} people, wanted {len(vertices)}")
    gray = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    dimmed = cv2.cvtColor(
        cv2.convertScaleAbs(gray, None, _DIM_FACTOR, _DIM_OFFSET), cv2.COLOR_GRAY2RGB
    )
    seen = _visible_depth_range(vertices, camera)
    if seen is None:
        return dimmed
    limits = _without_outliers(seen, distances)
    reduced = _reduced_camera(camera)
    colors = distance_colors(np.nan_to_num(vertices[..., 2]), *limits)
    if faded is not None:
        colors[faded] = FADED_RGB
    drawn = _draw(vertices, faces, reduced, renderer, colors)
    image = _blend(dimmed, drawn, reduced)
    person = np.full((reduced.height, reduced.width), -1, np.int32)
    person[drawn.crop] = drawn.layers.person
    points = label_points(person, len(vertices)) * (camera.width / reduced.width)
    indices = np.arange(len(vertices)) if indices is None else np.asarray(indices)
    numbers = [str(index + 1) for index in indices]
    notes = [f"{distance:.1f} m" for distance in distances]
    image = draw_labels(image, points, numbers, person_colors(indices), distances, notes)
    return draw_legend(image, limits, seen, person)


def warm_up() -> None:
    """Start OpenGL in the background, so that the first image does not wait for it.

    Raises:
        ValueError: `AIOS_RENDERER` is not one of `RENDERERS`.
    """
    if _choose(None) != "software":
        opengl.warm_up()


def _visible_depth_range(vertices: np.ndarray, camera: Camera) -> tuple[float, float] | None:
    """Smallest and largest z of the vertices inside the image, metres; None without any."""
    z = vertices[..., 2]
    front = np.isfinite(vertices).all(-1) & (z > NEAR)
    points = camera.project(vertices[front].astype(np.float64))
    seen = ((points >= 0) & (points < (camera.width, camera.height))).all(-1)
    if not seen.any():
        return None
    near, far = float(z[front][seen].min()), float(z[front][seen].max())
    return near, max(far, 1.001 * near)


def _without_outliers(seen: tuple[float, float], distances: np.ndarray) -> tuple[float, float]:
    """Limits of the colour scale, which a single very near or far person does not stretch."""
    known = distances[np.isfinite(distances)]
    if not len(known):
        return seen
    middle = float(np.median(known))
    near = max(seen[0], middle / _MAX_DEPTH_RATIO)
    far = min(seen[1], middle * _MAX_DEPTH_RATIO)
    return (near, far) if near < far else seen


def _check_photo(photo: np.ndarray, camera: Camera) -> None:
    """Raise ValueError unless the photo is RGB uint8 and of the size of the camera."""
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
        raise ValueError(
            f"a photo must be RGB uint8 (H, W, 3), not {photo.dtype} {tuple(photo.shape)}"
        )
    height, width = photo.shape[:2]
    if (width, height) != (camera.width, camera.height):
        raise ValueError(
            f"the photo is {width} x {height} but its camera is {camera.width} x {camera.height}"
        )


def _reduced_camera(camera: Camera) -> Camera:
    """The same view with a long side of at most `MAX_SIDE_PX`."""
    scale = MAX_SIDE_PX / max(camera.width, camera.height)
    if scale >= 1.0:
        return camera
    return camera.scaled(max(1, round(camera.width * scale)), max(1, round(camera.height * scale)))


def _draw(
    vertices: np.ndarray,
    faces: np.ndarray,
    camera: Camera,
    renderer: str | None,
    colors: np.ndarray | None,
) -> _CroppedLayers:
    if vertices.ndim != 3 or vertices.shape[2] != 3:
        raise ValueError(f"vertices must be (P, V, 3), not {tuple(vertices.shape)}")
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise ValueError(f"faces must be (F, 3), not {tuple(faces.shape)}")
    chosen = _choose(renderer)
    if colors is None:
        colors = person_colors(len(vertices))
    scene = build_scene(vertices, faces, np.asarray(colors, np.float32) / 255.0)
    region = visible_region(scene, camera, _MARGIN_PX)
    if region is None:
        return _CroppedLayers(0, 0, Layers.empty(0, 0))
    x0, y0, x1, y1 = region
    x, y = camera.principal_point
    part = Camera(camera.focal_length, (x - x0, y - y0), x1 - x0, y1 - y0)
    layers = _rasterize(scene, part, chosen)
    antialias(layers)
    shade_depth_edges(layers, camera.focal_length)
    feather(layers.rgba)
    return _CroppedLayers(x0, y0, layers)


def _choose(renderer: str | None) -> str:
    chosen = renderer or os.environ.get("AIOS_RENDERER") or "auto"
    if chosen not in RENDERERS:
        raise ValueError(f"unknown renderer {chosen!r}: choose one of {', '.join(RENDERERS)}")
    return chosen


def _rasterize(scene: LitScene, camera: Camera, renderer: str) -> Layers:
    global _auto_without_gl  # OpenGL is tried once per process
    if renderer == "gl":
        return opengl.rasterize(scene, camera)
    if renderer == "auto" and not _auto_without_gl:
        try:
            return opengl.rasterize(scene, camera)
        except opengl.OpenGLError as error:
            if not _auto_without_gl:
                _LOGGER.warning("OpenGL is not available, using the software renderer: %s", error)
            _auto_without_gl = True
    return software.rasterize(scene, camera)


def _blend(image: np.ndarray, drawn: _CroppedLayers, camera: Camera) -> np.ndarray:
    """Composite layers rendered by `camera` over an image of its size or larger, in place."""
    height, width = image.shape[:2]
    if (width, height) == (camera.width, camera.height):
        _blend_into(image[drawn.crop], drawn.layers.rgba)
    elif drawn.layers.rgba.size:
        whole = np.zeros((camera.height, camera.width, 4), np.uint8)
        whole[drawn.crop] = drawn.layers.rgba
        _blend_into(image, cv2.resize(whole, (width, height), interpolation=cv2.INTER_LINEAR))
    return image


def _blend_into(image: np.ndarray, rgba: np.ndarray) -> None:
    """Composite premultiplied (h, w, 4) uint8 over (h, w, 3) uint8, in place.

    Works on blocks of rows, so that large photos need little additional memory.
    """
    for start in range(0, len(image), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        kept = 255 - rgba[rows, :, 3]
        below = cv2.multiply(image[rows], cv2.merge([kept, kept, kept]), None, 1.0 / 255.0)
        image[rows] = cv2.add(below, cv2.cvtColor(rgba[rows], cv2.COLOR_RGBA2RGB))
