"""Side view and top view of people over a grid in metres.

The views are nearly orthographic and have the same scale.  The camera of the photo is on the left
of the side view and at the bottom of the top view.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..geometry.camera import Camera
from .labels import draw_labels
from .overlay import overlay

_BACKGROUND, _GRID, _AXIS, _TEXT_COLOR = (20, 22, 28), (44, 48, 58), (84, 90, 106), (200, 204, 214)
_SIDE = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]], np.float64)
_TOP = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float64)
"""Rows: right, down and forward of the view, in the photo's camera frame."""
_FAR = 200.0
"""Distance of the cameras of the views, relative to the extent of the people."""
_STEPS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)
_MAX_LINES = 12
_MARGIN_M = 0.4
_MIN_EXTENT_M = np.array([2.4, 1.0, 2.4])
_MAX_ASPECT = 0.5
"""Largest height of a view relative to its width."""


def draw_side_and_top_views(
    vertices: np.ndarray,
    faces: np.ndarray,
    colors: np.ndarray,
    numbers: list[str],
    width: int = 1400,
    renderer: str | None = None,
) -> np.ndarray:
    """Draw the side view and, below it, the top view.

    Args:
        vertices: (P, V, 3) metres, camera frame; people with non-finite vertices are skipped.
        faces: (F, 3) vertex indices, shared by all people.
        colors: (P, 3) uint8 sRGB.
        numbers: P short texts for the badges.
        width: of the image, pixels.
        renderer: one of `overlay.RENDERERS`; None reads `AIOS_RENDERER`.

    Returns:
        (h, width, 3) uint8 RGB.
    """
    good = np.flatnonzero(np.isfinite(vertices).all((1, 2)))
    vertices, colors = vertices[good].astype(np.float64), colors[good]
    numbers = [numbers[index] for index in good]
    low, high = _extent(vertices)
    size = high - low
    scale = width / max(size[2], size[0], max(size[1], size[2]) / _MAX_ASPECT)
    images = []
    for name, view in (("From the right", _SIDE), ("From above", _TOP)):
        corners = np.stack([low, high]) @ view.T
        start, end = corners.min(0), corners.max(0)
        height = max(round((end[1] - start[1]) * scale), 1)
        middle = (start + end) / 2
        image = _grid(name, middle[:2], scale, width, height)
        if len(good):
            reach = _FAR * float((end - start).max())
            camera = Camera(scale * reach, (width / 2, height / 2), width, height)
            turned = vertices @ view.T - middle + np.array([0.0, 0.0, reach])
            image = overlay(image, turned.astype(np.float32), faces, camera, colors, renderer)
            # Badges go above the heads, since people are small in these views.
            points = camera.project(turned)
            anchors = np.stack([points[..., 0].mean(1), points[..., 1].min(1)], -1)
            anchors[:, 1] = np.maximum(anchors[:, 1] - 0.022 * width, 0.022 * width)
            image = draw_labels(image, anchors, numbers, colors, turned[..., 2].mean(1))
        images.append(np.concatenate([_heading(name, width), image]))
    gap = np.full((6, width, 3), _AXIS, np.uint8)
    return np.concatenate([images[0], gap, images[1]])


def _extent(vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bounding box of all people with a margin: two corners (3,), metres."""
    if not len(vertices):
        return np.array([-1.5, -1.0, 1.0]), np.array([1.5, 1.0, 4.0])
    points = vertices.reshape(-1, 3)
    low, high = points.min(0) - _MARGIN_M, points.max(0) + _MARGIN_M
    room = np.maximum(_MIN_EXTENT_M - (high - low), 0.0) / 2
    return low - room, high + room


def _grid(name: str, middle: np.ndarray, scale: float, width: int, height: int) -> np.ndarray:
    """Draw a labelled metre grid around `middle` (right and down, metres)."""
    image = Image.new("RGB", (width, height), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(round(width / 55))
    span = width / scale
    step = next((s for s in _STEPS if span / s <= _MAX_LINES), _STEPS[-1])
    side = name == "From the right"
    for axis, length in ((0, width), (1, height)):
        first = np.ceil((middle[axis] - length / 2 / scale) / step)
        last = np.floor((middle[axis] + length / 2 / scale) / step)
        for number in np.arange(first, last + 1) * step + 0.0:
            at = (number - middle[axis]) * scale + length / 2
            ends = (at, 0, at, height) if axis == 0 else (0, at, width, at)
            draw.line(ends, fill=_AXIS if number == 0 else _GRID, width=1)
            # Labels on the depth axis only: the other coordinates have no natural origin.
            if side and axis == 0:
                draw.text(
                    (at + 4, height - 4), f"{number:g} m", fill=_TEXT_COLOR, font=font, anchor="ls"
                )
            elif not side and axis == 1:
                draw.text(
                    (6, at - 3), f"{0.0 - number:g} m", fill=_TEXT_COLOR, font=font, anchor="ls"
                )
    return np.array(image)


def _heading(name: str, width: int) -> np.ndarray:
    """Draw the title strip above a view."""
    size = round(width / 55)
    image = Image.new("RGB", (width, 2 * size), _BACKGROUND)
    hint = "camera to the left" if name == "From the right" else "camera below"
    font = ImageFont.load_default(size)
    middle = (width / 2, size)
    ImageDraw.Draw(image).text(middle, f"{name}, {hint}", fill=_TEXT_COLOR, font=font, anchor="mm")
    return np.array(image)
