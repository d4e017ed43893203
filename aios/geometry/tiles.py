"""Overlapping tiles of panoramas, each an input of the network.

Reduced as a whole to the size of the network's input, a panorama would be a few pixels high, and
people would be missed or found as giants.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

MAX_ASPECT = 4.0
"""Longer by shorter side; longer photos are divided into tiles."""
_TILE_ASPECT = {"x": 1.5, "y": 3.0}
"""Longer by shorter side of tiles along each axis: people are taller than wide. Neighbours overlap
by half or more."""
_SHARED_CORE = 0.05
"""Width of the strip in which two tiles find the same person, in shorter sides of the photo: the
centres that they predict may differ."""


@dataclass(frozen=True)
class Tile:
    """A part of a photo.

    Attributes:
        origin: (x, y) of its top left pixel.
        size: (width, height) in pixels.
        core: first and last position along the longer axis of the photo, in its pixels, of the
            centres of the people that this tile finds.
    """

    origin: tuple[int, int]
    size: tuple[int, int]
    core: tuple[float, float]

    def cut(self, photo: np.ndarray) -> np.ndarray:
        """The part of an (H, W, 3) photo, without a copy."""
        (x, y), (width, height) = self.origin, self.size
        return photo[y : y + height, x : x + width]


def tiles(width: int, height: int) -> list[Tile]:
    """Tiles of a panorama; none for a photo of at most `MAX_ASPECT`."""
    longer, shorter = max(width, height), min(width, height)
    if longer <= MAX_ASPECT * shorter:
        return []
    is_wide = width > height
    length = round(_TILE_ASPECT["x" if is_wide else "y"] * shorter)
    count = math.ceil((longer - length) / (length / 2)) + 1
    starts = np.linspace(0, longer - length, count).round().astype(int).tolist()
    # A core ends in the middle of what two tiles share.
    middles = [(first + length + second) / 2 for first, second in pairwise(starts)]
    half = _SHARED_CORE * shorter / 2
    lows, highs = [middle - half for middle in middles], [middle + half for middle in middles]
    cores = zip([-math.inf, *lows], [*highs, math.inf], strict=True)
    return [
        Tile(
            (start, 0) if is_wide else (0, start),
            (length, height) if is_wide else (width, length),
            core,
        )
        for start, core in zip(starts, cores, strict=True)
    ]
