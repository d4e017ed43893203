"""Boxes, keypoints and names of people, drawn on finished pictures; in place, pixels, RGB."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

BODY_LINES = (
    *((0, 1), (0, 2), (1, 3), (2, 4), (5, 6), (5, 11), (6, 12), (11, 12)),
    *((5, 7), (7, 9), (6, 8), (8, 10), (11, 13), (13, 15), (12, 14), (14, 16)),
)
"""Pairs of the 17 COCO keypoints."""
HAND_LINES = ((0, 1), (0, 2), (0, 3), (0, 4), (0, 5))
"""Wrist to the tip of each finger."""
FACE_LINES = ((3, 4), (4, 5), (0, 1))
"""Contour over the chin, nose to upper lip; the jaw joint is a point alone."""
_FINE = 4  # bits of cv2's sub-pixel coordinates
_EDGE, _PAPER, _INK = (14, 16, 20), (16, 18, 24), (255, 255, 255)
_FARTHEST_PX = 20_000.0


def mark_unit(picture: np.ndarray) -> float:
    """Radius of a body keypoint that suits a picture of this size, pixels."""
    return float(np.clip(0.0042 * max(picture.shape[:2]), 1.6, 9.0))


def draw_box(picture: np.ndarray, box: np.ndarray, color: np.ndarray, unit: float) -> None:
    """Draw the outline of a box x1, y1, x2, y2, dark at its edges."""
    if not np.isfinite(box).all():
        return
    first, second = _fixed(box[:2]), _fixed(box[2:])
    thick = max(round(0.7 * unit), 1)
    cv2.rectangle(picture, first, second, _EDGE, thick + 2, cv2.LINE_AA, _FINE)
    cv2.rectangle(picture, first, second, _ink(color), thick, cv2.LINE_AA, _FINE)


def draw_points(
    picture: np.ndarray,
    points: np.ndarray,
    lines: tuple[tuple[int, int], ...],
    color: np.ndarray,
    unit: float,
) -> None:
    """Draw points (K, 2) and lines between pairs of them; points that are NaN are left out."""
    known = np.isfinite(points).all(1)
    for edge, extra in ((_EDGE, 2), (_ink(color), 0)):
        for start, end in lines:
            if known[start] and known[end]:
                ends = _fixed(points[start]), _fixed(points[end])
                thick = max(round(0.8 * unit), 1) + extra
                cv2.line(picture, *ends, edge, thick, cv2.LINE_AA, _FINE)
    for edge, radius in ((_EDGE, unit + 1.0), (_INK, unit), (_ink(color), 0.66 * unit)):
        for point in points[known]:
            size = round(radius * 2**_FINE)
            cv2.circle(picture, _fixed(point), size, edge, -1, cv2.LINE_AA, _FINE)


def draw_names(
    picture: np.ndarray, points: np.ndarray, texts: list[str], colors: np.ndarray
) -> np.ndarray:
    """The picture with a small plate of text above and right of each point (P, 2)."""
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    size = round(float(np.clip(0.017 * max(image.size), 11, 34)))
    font = ImageFont.load_default(size)
    height = round(1.5 * size)
    for (x, y), text, color in zip(points, texts, colors, strict=True):
        if not np.isfinite([x, y]).all():
            continue
        width = round(font.getlength(text)) + size
        left = round(float(np.clip(x, 0, max(image.width - width, 0))))
        top = round(float(np.clip(y - height, 0, max(image.height - height, 0))))
        draw.rounded_rectangle((left, top, left + width, top + height), size // 4, fill=_PAPER)
        draw.rectangle((left, top + height - 2, left + width, top + height), fill=_ink(color))
        middle = (left + width / 2, top + height / 2 - 1)
        draw.text(middle, text, fill=_INK, font=font, anchor="mm")
    return np.array(image)


def _ink(color: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = (int(part) for part in color)
    return red, green, blue


def _fixed(point: np.ndarray) -> tuple[int, int]:
    x, y = np.rint((np.clip(point, -_FARTHEST_PX, _FARTHEST_PX) - 0.5) * 2**_FINE).astype(int)
    return int(x), int(y)
