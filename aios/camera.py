"""The pinhole camera, and the one that AiOS predicts (specification section 11)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

_SCALE_EPS = 1e-9


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without distortion; x right, y down, z forward, metres.

    Attributes:
        focal_length: pixels, both axes.
        principal_point: (x, y) pixels.
        width: pixels of the picture it belongs to.
        height: pixels of the picture it belongs to.
    """

    focal_length: float
    principal_point: tuple[float, float]
    width: int
    height: int

    @property
    def intrinsics(self) -> np.ndarray:
        """(3, 3) float64 matrix K with pixels = K @ point / z."""
        x, y = self.principal_point
        f = self.focal_length
        return np.array([[f, 0.0, x], [0.0, f, y], [0.0, 0.0, 1.0]])

    def project(self, points: np.ndarray) -> np.ndarray:
        """Points in front of the camera, (..., 3) metres -> (..., 2) pixels."""
        return points[..., :2] / points[..., 2:] * self.focal_length + np.array(
            self.principal_point, points.dtype
        )

    def scaled(self, width: int, height: int) -> Self:
        """The same view on a picture resized to `width` x `height` (equal aspect up to rounding).

        AiOS looks through one focal length for both axes, so the horizontal scale counts.
        """
        x, y = self.principal_point
        return type(self)(
            focal_length=self.focal_length * width / self.width,
            principal_point=(x * width / self.width, y * height / self.height),
            width=width,
            height=height,
        )


def weak_camera_to_transl(weak_camera: Tensor) -> Tensor:
    """Predicted (s, tx, ty) -> translation (tx / s, ty / s, 1 / s).

    Args:
        weak_camera: (..., 3).

    Returns:
        (..., 3) metres, camera frame of the resized network input.
    """
    scale = weak_camera[..., :1] + _SCALE_EPS
    return torch.cat([weak_camera[..., 1:], torch.ones_like(scale)], -1) / scale


def project_points(points: Tensor, focal_length: float, image_sizes_wh: Tensor) -> Tensor:
    """Project camera-frame points with the principal point in the middle of each image.

    Args:
        points: (..., 3) metres, already translated.
        focal_length: pixels of the network input.
        image_sizes_wh: broadcastable to (..., 2), un-padded width and height in pixels.

    Returns:
        (..., 2) pixels of the network input.
    """
    return points[..., :2] / points[..., 2:] * focal_length + image_sizes_wh / 2
