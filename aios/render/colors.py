"""Colours of people and distances, uint8 sRGB."""

from __future__ import annotations

import cv2
import numpy as np

_GOLDEN_RATIO = 0.6180339887498949
_PALETTE = (
    (86, 156, 235),
    (245, 150, 80),
    (104, 199, 130),
    (232, 106, 128),
    (160, 132, 232),
    (240, 214, 96),
    (74, 196, 200),
    (222, 128, 206),
    (172, 204, 92),
    (198, 146, 112),
)
FADED_RGB = (168, 170, 178)
"""Of people beside a selected one."""
_NEAR_SHADE, _FAR_SHADE = 240, 40
"""Range of the colour map in use; on its dark end, shading would not be visible."""


def person_colors(people: int | np.ndarray) -> np.ndarray:
    """Distinct colours that depend on the person index alone.

    Args:
        people: number of people, for indices 0, 1, 2, ..., or (n,) non-negative indices.

    Returns:
        (n, 3) uint8 sRGB.
    """
    numbers = np.arange(people) if isinstance(people, int) else np.asarray(people, np.int64)
    colors = np.empty((len(numbers), 3), np.uint8)
    for row, number in enumerate(numbers):
        in_palette = number < len(_PALETTE)
        colors[row] = _PALETTE[number] if in_palette else _generated_color(int(number))
    return colors


def _generated_color(number: int) -> np.ndarray:
    """Colour beyond the palette: consecutive hues differ by the golden ratio of a full turn."""
    hue = 179.0 * ((number * _GOLDEN_RATIO) % 1.0)
    saturation = (130, 175, 100)[number % 3]
    value = (235, 200, 215)[number % 3]
    pixel = np.array([[[hue, saturation, value]]], np.uint8)
    return cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0]


def distance_colors(distances: np.ndarray, near: float, far: float) -> np.ndarray:
    """Colour distances on a logarithmic scale: yellow for `near`, red, violet for `far`.

    Args:
        distances: (...) metres, clipped to `near` and `far`.
        near: metres, above 0.
        far: metres, above `near`.

    Returns:
        (..., 3) uint8 sRGB.
    """
    share = np.log(np.maximum(distances, near) / near) / np.log(far / near)
    levels = _NEAR_SHADE + (_FAR_SHADE - _NEAR_SHADE) * np.clip(share, 0.0, 1.0)
    table = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_PLASMA)
    return table[:, 0, ::-1][np.rint(levels).astype(np.uint8)]
