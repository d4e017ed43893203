"""Boxes, keypoints and name tags of people, drawn on RGB images; coordinates in pixels."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

BODY_EDGES = (
    *((0, 1), (0, 2), (1, 3), (2, 4), (5, 6), (5, 11), (6, 12), (11, 12)),
    *((5, 7), (7, 9), (6, 8), (8, 10), (11, 13), (13, 15), (12, 14), (14, 16)),
)
"""Pairs of connected COCO keypoints (17)."""
HAND_EDGES = ((0, 1), (0, 2), (0, 3), (0, 4), (0, 5))
"""Wrist to each fingertip, among the 6 hand keypoints."""
FACE_EDGES = ((3, 4), (4, 5), (0, 1))
"""Contour and chin, nose and upper lip, among the 6 face keypoints; the jaw has no edge."""
_SHIFT = 4  # fractional bits of coordinates in cv2
_OUTLINE, _PANEL_COLOR, _TEXT_COLOR = (14, 16, 20), (16, 18, 24), (255, 255, 255)
_COORDINATE_LIMIT_PX = 20_000.0


def keypoint_radius(image: np.ndarray) -> float:
    """Radius of body keypoints for an image of this size, pixels."""
    return float(np.clip(0.0042 * max(image.shape[:2]), 1.6, 9.0))


def draw_box(image: np.ndarray, box: np.ndarray, color: np.ndarray, unit: float) -> None:
    """Draw a box, in place, with a dark outline.

    Args:
        image: (H, W, 3) uint8 RGB.
        box: (4,) xyxy; not drawn if it is not finite.
        color: (3,) uint8 RGB.
        unit: size of the drawing, see `keypoint_radius`.
    """
    if not np.isfinite(box).all():
        return
    first, second = _fixed(box[:2]), _fixed(box[2:])
    thick = max(round(0.7 * unit), 1)
    cv2.rectangle(image, first, second, _OUTLINE, thick + 2, cv2.LINE_AA, _SHIFT)
    cv2.rectangle(image, first, second, _rgb(color), thick, cv2.LINE_AA, _SHIFT)


def draw_keypoints(
    image: np.ndarray,
    points: np.ndarray,
    edges: tuple[tuple[int, int], ...],
    color: np.ndarray,
    unit: float,
) -> None:
    """Draw keypoints and the edges between them, in place.

    Args:
        image: (H, W, 3) uint8 RGB.
        points: (K, 2); points that are not finite are skipped.
        edges: pairs of point indices.
        color: (3,) uint8 RGB.
        unit: radius of the points.
    """
    known = np.isfinite(points).all(1)
    for edge, extra in ((_OUTLINE, 2), (_rgb(color), 0)):
        for start, end in edges:
            if known[start] and known[end]:
                ends = _fixed(points[start]), _fixed(points[end])
                thick = max(round(0.8 * unit), 1) + extra
                cv2.line(image, *ends, edge, thick, cv2.LINE_AA, _SHIFT)
    for edge, radius in ((_OUTLINE, unit + 1.0), (_TEXT_COLOR, unit), (_rgb(color), 0.66 * unit)):
        for point in points[known]:
            size = round(radius * 2**_SHIFT)
            cv2.circle(image, _fixed(point), size, edge, -1, cv2.LINE_AA, _SHIFT)


def draw_names(
    image: np.ndarray, points: np.ndarray, texts: list[str], colors: np.ndarray
) -> np.ndarray:
    """Draw a name tag above and to the right of each point.

    Args:
        image: (H, W, 3) uint8 RGB; not modified.
        points: (P, 2); points that are not finite are skipped.
        texts: P short texts.
        colors: (P, 3) uint8 RGB of the underlines.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    size = round(float(np.clip(0.017 * max(canvas.size), 11, 34)))
    font = ImageFont.load_default(size)
    height = round(1.5 * size)
    for (x, y), text, color in zip(points, texts, colors, strict=True):
        if not np.isfinite([x, y]).all():
            continue
        width = round(font.getlength(text)) + size
        left = round(float(np.clip(x, 0, max(canvas.width - width, 0))))
        top = round(float(np.clip(y - height, 0, max(canvas.height - height, 0))))
        draw.rounded_rectangle(
            (left, top, left + width, top + height), size // 4, fill=_PANEL_COLOR
        )
        draw.rectangle((left, top + height - 2, left + width, top + height), fill=_rgb(color))
        middle = (left + width / 2, top + height / 2 - 1)
        draw.text(middle, text, fill=_TEXT_COLOR, font=font, anchor="mm")
    return np.array(canvas)


def _rgb(color: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = (int(part) for part in color)
    return red, green, blue


def _fixed(point: np.ndarray) -> tuple[int, int]:
    x, y = np.rint(
        (np.clip(point, -_COORDINATE_LIMIT_PX, _COORDINATE_LIMIT_PX) - 0.5) * 2**_SHIFT
    ).astype(int)
    return int(x), int(y)
