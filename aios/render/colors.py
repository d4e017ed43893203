"""Colours of people and of distances, uint8 sRGB."""

from __future__ import annotations

import cv2
import numpy as np

_GOLDEN_TURN = 0.6180339887498949
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
_NEAR_SHADE, _FAR_SHADE = 240, 40
"""Part of the colour map in use: its dark end would hide the light."""


def person_colors(people: int | np.ndarray) -> np.ndarray:
    """Distinct colours, the same for the same number always.

    Args:
        people: how many, for persons 0, 1, 2, ..., or (n,) non-negative integers.

    Returns:
        (n, 3) uint8 sRGB.
    """
    numbers = np.arange(people) if isinstance(people, int) else np.asarray(people, np.int64)
    colors = np.empty((len(numbers), 3), np.uint8)
    for row, number in enumerate(numbers):
        known = number < len(_PALETTE)
        colors[row] = _PALETTE[number] if known else _further_color(int(number))
    return colors


def _further_color(number: int) -> np.ndarray:
    """Beyond the palette: hues a golden turn apart never come close for long."""
    hue = 179.0 * ((number * _GOLDEN_TURN) % 1.0)
    saturation = (130, 175, 100)[number % 3]
    value = (235, 200, 215)[number % 3]
    pixel = np.array([[[hue, saturation, value]]], np.uint8)
    return cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0]


def distance_colors(distances: np.ndarray, near: float, far: float) -> np.ndarray:
    """Yellow for `near` over red to violet for `far`, even steps for even ratios.

    Args:
        distances: (...) metres; what lies outside `near` to `far` gets the colour of the end.
        near: metres, above 0.
        far: metres, above `near`.

    Returns:
        (..., 3) uint8 sRGB.
    """
    share = np.log(np.maximum(distances, near) / near) / np.log(far / near)
    levels = _NEAR_SHADE + (_FAR_SHADE - _NEAR_SHADE) * np.clip(share, 0.0, 1.0)
    table = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_PLASMA)
    return table[:, 0, ::-1][np.rint(levels).astype(np.uint8)]
