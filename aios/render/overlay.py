"""Pictures of people: all of them in one scene with one z-buffer, laid over the photo.

Takes arrays only.  Frame: x right, y down, z forward, metres.  `AIOS_RENDERER` in the environment
chooses who draws: `gl` (pyrender), `software` (a z-buffer of ours, the same picture) or `auto`,
the default: pyrender where an OpenGL context comes up, else our own.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

import cv2
import numpy as np

from ..geometry.camera import Camera
from . import opengl as render_gl
from . import software as render_software
from .colors import distance_colors, person_colors
from .labels import draw_labels, draw_legend, label_points
from .scene import (
    NEAR,
    Layers,
    Scene,
    antialias,
    build_scene,
    feather,
    shade_behind,
    visible_region,
)

__all__ = [
    "MAX_SIDE_PX",
    "RENDERERS",
    "Rendered",
    "depth_picture",
    "overlay",
    "person_colors",
    "render_people",
    "warm_up",
]

_LOGGER = logging.getLogger(__name__)

RENDERERS = ("auto", "gl", "software")
MAX_SIDE_PX = 2048
"""Over larger photos people are drawn at this long side and enlarged."""

_MARGIN_PX = 4
_ROWS_AT_ONCE = 256
_DIM, _DIM_FLOOR = 0.45, 20.0
_auto_without_gl = False


@dataclass(frozen=True)
class Rendered:
    """People drawn through a camera of H x W pixels."""

    color: np.ndarray
    """(H, W, 3) uint8 sRGB, not multiplied by alpha; black where alpha is 0."""
    alpha: np.ndarray
    """(H, W) float32 0-1, 1 inside people, falling softly to 0 around their outline."""
    depth: np.ndarray
    """(H, W) float32 metres along z at the centre of each pixel, inf for nobody."""
    person: np.ndarray
    """(H, W) int32 index of the person at the centre of each pixel, -1 for nobody."""


@dataclass(frozen=True)
class _Drawn:
    """Layers of the part of a picture that starts at pixel (x0, y0)."""

    x0: int
    y0: int
    layers: Layers

    @property
    def part(self) -> tuple[slice, slice]:
        """Rows and columns of the picture that the layers are of."""
        height, width = self.layers.person.shape
        return slice(self.y0, self.y0 + height), slice(self.x0, self.x0 + width)


def render_people(
    vertices: np.ndarray,
    faces: np.ndarray,
    camera: Camera,
    renderer: str | None = None,
    colors: np.ndarray | None = None,
) -> Rendered:
    """Draw people, the nearest in front.

    People with a coordinate that is not finite, behind the camera or out of sight are left out;
    a mesh that crosses the plane just before the camera is cut there.

    Args:
        vertices: (P, V, 3) metres, camera frame; P may be 0.
        faces: (F, 3) vertex numbers of one person.
        camera: decides the size of the picture.
        renderer: one of `RENDERERS`; None reads `AIOS_RENDERER`.
        colors: (P, 3) or (P, V, 3) uint8 sRGB before light; None for `person_colors`.

    Raises:
        ValueError: shapes that do not fit, or an unknown renderer.
        aios.render.opengl.OpenGLError: `gl` was asked for and cannot be had.
    """
    drawn = _draw(vertices, faces, camera, renderer, colors)
    whole = Layers.empty(camera.height, camera.width)
    whole.person[drawn.part] = drawn.layers.person
    whole.depth[drawn.part] = drawn.layers.depth
    whole.rgba[drawn.part] = drawn.layers.rgba
    alpha = whole.rgba[..., 3].astype(np.float32) * np.float32(1 / 255)
    color = whole.rgba[..., :3] / np.maximum(alpha, np.float32(1 / 255))[..., None]
    color = np.minimum(color + 0.5, 255.0).astype(np.uint8)
    return Rendered(color, alpha, whole.depth, whole.person)


def overlay(
    photo: np.ndarray,
    vertices: np.ndarray,
    faces: np.ndarray,
    camera: Camera,
    colors: np.ndarray | None = None,
    renderer: str | None = None,
) -> np.ndarray:
    """The photo with the people's meshes over it.

    Args:
        photo: (H, W, 3) uint8 RGB; left as it is.
        vertices: (P, V, 3) metres, camera frame; P may be 0.
        faces: (F, 3) vertex numbers of one person.
        camera: of this photo.
        colors: (P, 3) or (P, V, 3) uint8 sRGB before light; None for `person_colors`.
        renderer: one of `RENDERERS`; None reads `AIOS_RENDERER`.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: a photo that is not RGB uint8 or has not the camera's size.
        aios.render.opengl.OpenGLError: `gl` was asked for and cannot be had.
    """
    _check_photo(photo, camera)
    smaller = _drawing_camera(camera)
    return _blend(photo.copy(), _draw(vertices, faces, smaller, renderer, colors), smaller)


def depth_picture(
    photo: np.ndarray,
    vertices: np.ndarray,
    faces: np.ndarray,
    camera: Camera,
    depth_order: np.ndarray,
    renderer: str | None = None,
    rings: np.ndarray | None = None,
) -> np.ndarray:
    """The people coloured by distance over the dimmed photo, numbered from near to far.

    Who is hidden wholly, or out of sight, has no number.  A ring in the person's colour ties each
    number to the overlay.

    Args:
        photo: (H, W, 3) uint8 RGB; left as it is.
        vertices: (P, V, 3) metres, camera frame; P may be 0.
        faces: (F, 3) vertex numbers of one person.
        camera: of this photo.
        depth_order: (P,) 0 for the nearest, which gets the number 1.
        renderer: one of `RENDERERS`; None reads `AIOS_RENDERER`.
        rings: (P, 3) uint8 sRGB around the numbers; None for `person_colors`.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: a photo that is not RGB uint8 or has not the camera's size.
        aios.render.opengl.OpenGLError: `gl` was asked for and cannot be had.
    """
    _check_photo(photo, camera)
    if len(depth_order) != len(vertices):
        raise ValueError(f"depth_order is of {len(depth_order)} people, wanted {len(vertices)}")
    gray = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    dimmed = cv2.cvtColor(cv2.convertScaleAbs(gray, None, _DIM, _DIM_FLOOR), cv2.COLOR_GRAY2RGB)
    limits = _distances_in_sight(vertices, camera)
    if limits is None:
        return dimmed
    smaller = _drawing_camera(camera)
    colors = distance_colors(np.nan_to_num(vertices[..., 2]), *limits)
    drawn = _draw(vertices, faces, smaller, renderer, colors)
    picture = _blend(dimmed, drawn, smaller)
    person = np.full((smaller.height, smaller.width), -1, np.int32)
    person[drawn.part] = drawn.layers.person
    points = label_points(person, len(vertices)) * (camera.width / smaller.width)
    texts = [str(int(rank) + 1) for rank in depth_order]
    rings = person_colors(len(vertices)) if rings is None else rings
    picture = draw_labels(picture, points, texts, rings, np.asarray(depth_order))
    return draw_legend(picture, *limits, person)


def warm_up() -> None:
    """Bring the renderer up in the background, so that the first picture is not late.

    Raises:
        ValueError: `AIOS_RENDERER` names none.
    """
    if _choose(None) != "software":
        render_gl.warm_up()


def _distances_in_sight(vertices: np.ndarray, camera: Camera) -> tuple[float, float] | None:
    """Least and greatest z of the vertices in the picture, metres; None when nobody is in it."""
    z = vertices[..., 2]
    front = np.isfinite(vertices).all(-1) & (z > NEAR)
    points = camera.project(vertices[front].astype(np.float64))
    seen = ((points >= 0) & (points < (camera.width, camera.height))).all(-1)
    if not seen.any():
        return None
    near, far = float(z[front][seen].min()), float(z[front][seen].max())
    return near, max(far, 1.001 * near)


def _check_photo(photo: np.ndarray, camera: Camera) -> None:
    """Raise ValueError unless the photo is RGB uint8 and of the camera's size."""
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
        raise ValueError(
            f"a photo must be RGB uint8 (H, W, 3), not {photo.dtype} {tuple(photo.shape)}"
        )
    height, width = photo.shape[:2]
    if (width, height) != (camera.width, camera.height):
        raise ValueError(
            f"the photo is {width} x {height} but its camera is {camera.width} x {camera.height}"
        )


def _drawing_camera(camera: Camera) -> Camera:
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
) -> _Drawn:
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
        return _Drawn(0, 0, Layers.empty(0, 0))
    x0, y0, x1, y1 = region
    x, y = camera.principal_point
    part = Camera(camera.focal_length, (x - x0, y - y0), x1 - x0, y1 - y0)
    layers = _rasterise(scene, part, chosen)
    antialias(layers)
    shade_behind(layers, camera.focal_length)
    feather(layers.rgba)
    return _Drawn(x0, y0, layers)


def _choose(renderer: str | None) -> str:
    chosen = renderer or os.environ.get("AIOS_RENDERER") or "auto"
    if chosen not in RENDERERS:
        raise ValueError(f"unknown renderer {chosen!r}: choose one of {', '.join(RENDERERS)}")
    return chosen


def _rasterise(scene: Scene, camera: Camera, renderer: str) -> Layers:
    global _auto_without_gl  # what this machine can do does not change while the program runs
    if renderer == "gl":
        return render_gl.rasterise(scene, camera)
    if renderer == "auto" and not _auto_without_gl:
        try:
            return render_gl.rasterise(scene, camera)
        except render_gl.OpenGLError as error:
            if not _auto_without_gl:
                _LOGGER.warning("drawing with the software z-buffer from now on: %s", error)
            _auto_without_gl = True
    return render_software.rasterise(scene, camera)


def _blend(picture: np.ndarray, drawn: _Drawn, camera: Camera) -> np.ndarray:
    """Lay what was drawn through `camera` over a picture of its size or larger, in place."""
    height, width = picture.shape[:2]
    if (width, height) == (camera.width, camera.height):
        _blend_into(picture[drawn.part], drawn.layers.rgba)
    elif drawn.layers.rgba.size:
        whole = np.zeros((camera.height, camera.width, 4), np.uint8)
        whole[drawn.part] = drawn.layers.rgba
        _blend_into(picture, cv2.resize(whole, (width, height), interpolation=cv2.INTER_LINEAR))
    return picture


def _blend_into(picture: np.ndarray, rgba: np.ndarray) -> None:
    """Lay premultiplied (h, w, 4) colours over an (h, w, 3) view, both uint8.

    Works on some rows at a time, so that a photo of 20 megapixels needs little beside itself.
    """
    for start in range(0, len(picture), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        kept = 255 - rgba[rows, :, 3]
        below = cv2.multiply(picture[rows], cv2.merge([kept, kept, kept]), None, 1.0 / 255.0)
        picture[rows] = cv2.add(below, cv2.cvtColor(rgba[rows], cv2.COLOR_RGBA2RGB))
