"""Square, rotated crops of a photo, and the map from a crop to photo pixels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Region:
    """A square in a photo.

    Attributes:
        center: (2,) pixels.
        side: pixels.
        angle: rotation in radians; at 0 the crop is upright, positive angles turn its top to the
            right.
    """

    center: np.ndarray
    side: float
    angle: float

    @property
    def rotation(self) -> np.ndarray:
        """(2, 2) rotation from crop axes to photo axes."""
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        return np.array([[cosine, -sine], [sine, cosine]])

    def to_photo(self, points: np.ndarray, size: int) -> np.ndarray:
        """Points (..., 2) in pixels of a crop of `size` -> pixels of the photo."""
        return (points / size - 0.5) @ self.rotation.T * self.side + self.center


class Photo:
    """Image pyramid of a photo, which avoids aliasing in small crops of large people."""

    def __init__(self, image: np.ndarray) -> None:
        """Create from `image`, (H, W, 3) uint8 RGB."""
        self._levels = [image]
        self.height, self.width = image.shape[:2]

    @property
    def image(self) -> np.ndarray:
        """Full-size image, (H, W, 3) uint8 RGB."""
        return self._levels[0]

    def _level(self, number: int) -> np.ndarray:
        while len(self._levels) <= number:
            last = self._levels[-1]
            height, width = (max(side // 2, 1) for side in last.shape[:2])
            self._levels.append(cv2.resize(last, (width, height), interpolation=cv2.INTER_AREA))
        return self._levels[number]

    def crop(self, region: Region, size: int) -> np.ndarray:
        """Crop a region to (size, size, 3) uint8; black outside the photo."""
        number = 0
        while region.side / size >= 2 ** (number + 1) and number < 6:
            number += 1
        level = self._level(number)
        scale = np.array([level.shape[1] / self.width, level.shape[0] / self.height])
        # Pixel centres: crop (u + 0.5) / size -> photo x, whose first pixel centre is 0.5.
        matrix = region.rotation * region.side / size
        corner = region.center + matrix @ np.full(2, 0.5 - size / 2)
        affine = np.concatenate([matrix, corner[:, None]], 1) * scale[:, None]
        affine[:, 2] -= 0.5
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(level, affine, (size, size), flags=flags)
