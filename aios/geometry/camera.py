"""The pinhole camera, and the one that AiOS predicts (specification section 11)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

_SCALE_EPS = 1e-9
_SOLVER_ROUNDS = 5
_NEAREST_M = 1e-3


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

    @property
    def field_of_view(self) -> float:
        """Degrees across the longer side."""
        longer = max(self.width, self.height)
        return math.degrees(2 * math.atan(longer / (2 * self.focal_length)))

    def with_field_of_view(self, degrees: float) -> Self:
        """The same picture seen through another lens; `degrees` across the longer side.

        Raises:
            ValueError: not between 0 and 180 degrees.
        """
        if not 0 < degrees < 180:
            raise ValueError(f"A field of view must be between 0 and 180 degrees, not {degrees}.")
        longer = max(self.width, self.height)
        focal_length = longer / (2 * math.tan(math.radians(degrees) / 2))
        return replace(self, focal_length=focal_length)

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


@dataclass(frozen=True)
class Spread:
    """How sure pixels and depths are, as standard deviations."""

    pixels: np.ndarray
    """(P,) of a point in the picture, for each body."""
    depth_m: np.ndarray
    """(P,) of the depth at which each body stands now."""


def shift_to_match(
    points: np.ndarray, pixels: np.ndarray, camera: Camera, spread: Spread | None = None
) -> np.ndarray:
    """How far a body must move so that a camera sees its points at given pixels.

    Only the place changes, not pose or orientation, so the answer is the best in the sense of
    least squares over the picture (in pixels), found by linear least squares weighted anew with
    each point's distance.

    Args:
        points: (P, K, 3) metres, camera frame; at least two points a body.
        pixels: (P, K, 2) where they should be seen.
        camera: that sees them.
        spread: weighs the depth at which bodies stand already against the pixels; None takes the
            depth from the pixels alone.

    Returns:
        (P, 3) metres to be added to all points of each body; 0 for a body that has points at or
        behind the camera or numbers that are none, or that would have to stand behind the camera.
    """
    points = points.astype(np.float64)
    usable = np.isfinite(points).all((1, 2)) & np.isfinite(pixels).all((1, 2))
    usable &= (points[..., 2] > 0).all(1)
    solved = np.zeros((len(points), 3))
    bodies = points[usable]
    if not len(bodies):
        return solved
    rays = (pixels[usable] - np.array(camera.principal_point)) / camera.focal_length
    # x + tx = ray * (z + tz), and the same for y: two rows a point, linear in t.
    rows = np.zeros((*rays.shape, 3))
    rows[..., 0, 0] = rows[..., 1, 1] = 1.0
    rows[..., 2] = -rays
    wanted = rays * bodies[..., 2:] - bodies[..., :2]
    depth = bodies[..., 2]
    stays = np.zeros((len(bodies), 3, 3))
    if spread is not None:
        # Both in rays, so that only their ratio is left.
        stays[:, 2, 2] = (spread.pixels / spread.depth_m)[usable] ** 2 / camera.focal_length**2
    for _ in range(_SOLVER_ROUNDS):
        weight = 1.0 / np.maximum(depth, _NEAREST_M) ** 2
        left = np.einsum("pkri,pk,pkrj->pij", rows, weight, rows) + stays
        right = np.einsum("pkri,pk,pkr->pi", rows, weight, wanted)
        shift = np.linalg.solve(left, right[..., None])[..., 0]
        depth = bodies[..., 2] + shift[:, 2:]
    shift[(depth <= _NEAREST_M).any(1)] = 0.0
    solved[usable] = shift
    return solved
