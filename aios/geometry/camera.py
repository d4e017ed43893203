"""Pinhole camera, weak-perspective camera of AiOS, and translation from 2D points."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

_SCALE_EPS = 1e-9
_MIN_WEIGHT = 1e-3  # keeps the equations solvable if no point is trusted
_SOLVER_ITERATIONS = 5
_MIN_DEPTH_M = 1e-3


@dataclass(frozen=True)
class Camera:
    """Pinhole camera without distortion.  Camera frame: x right, y down, z forward, metres.

    Attributes:
        focal_length: pixels, equal for x and y.
        principal_point: (x, y) pixels.
        width: of the image, pixels.
        height: of the image, pixels.
    """

    focal_length: float
    principal_point: tuple[float, float]
    width: int
    height: int

    @property
    def intrinsics(self) -> np.ndarray:
        """(3, 3) float64 matrix K, pixels = K @ point / z."""
        x, y = self.principal_point
        f = self.focal_length
        return np.array([[f, 0.0, x], [0.0, f, y], [0.0, 0.0, 1.0]])

    def project(self, points: np.ndarray) -> np.ndarray:
        """Project points in front of the camera, (..., 3) metres -> (..., 2) pixels."""
        return points[..., :2] / points[..., 2:] * self.focal_length + np.array(
            self.principal_point, points.dtype
        )

    @property
    def field_of_view(self) -> float:
        """Field of view in degrees across the longer side."""
        longer = max(self.width, self.height)
        return math.degrees(2 * math.atan(longer / (2 * self.focal_length)))

    def with_field_of_view(self, degrees: float) -> Self:
        """Copy with another field of view, in degrees across the longer side.

        Raises:
            ValueError: not between 0 and 180 degrees.
        """
        if not 0 < degrees < 180:
            raise ValueError(f"The field of view must be between 0 and 180 degrees, not {degrees}.")
        longer = max(self.width, self.height)
        focal_length = longer / (2 * math.tan(math.radians(degrees) / 2))
        return replace(self, focal_length=focal_length)

    def scaled(self, width: int, height: int) -> Self:
        """Camera of the same image resized to `width` x `height`.

        The aspect ratio must be equal up to rounding: the focal length is scaled as the width.
        """
        x, y = self.principal_point
        return type(self)(
            focal_length=self.focal_length * width / self.width,
            principal_point=(x * width / self.width, y * height / self.height),
            width=width,
            height=height,
        )


def weak_camera_to_transl(weak_camera: Tensor) -> Tensor:
    """Weak-perspective camera (s, tx, ty) -> translation (tx / s, ty / s, 1 / s).

    Args:
        weak_camera: (..., 3).

    Returns:
        (..., 3) metres, camera frame.
    """
    scale = weak_camera[..., :1] + _SCALE_EPS
    return torch.cat([weak_camera[..., 1:], torch.ones_like(scale)], -1) / scale


@dataclass(frozen=True)
class FitSigmas:
    """Standard deviations for `fit_translation`."""

    pixels: np.ndarray
    """(P,) of 2D points, for each body."""
    depth_m: np.ndarray
    """(P,) of the current depth of each body, metres."""


def fit_translation(
    points: np.ndarray,
    pixels: np.ndarray,
    camera: Camera,
    sigmas: FitSigmas | None = None,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Translation of each body that minimises the reprojection error of its points.

    Least squares in pixels, solved by iteratively reweighted linear least squares: each point is
    weighted by its inverse squared depth.

    Args:
        points: (P, K, 3) metres, camera frame; at least two points per body.
        pixels: (P, K, 2) observed positions.
        camera: camera of the image.
        sigmas: adds a prior on the current depth; None fits the depth to the pixels alone.
        weights: (P, K) of the points, 0 or more; None weights them equally.

    Returns:
        (P, 3) metres to add to all points of each body; 0 for a body with points at or behind the
        camera, with non-finite values, or with a solution behind the camera.
    """
    points = points.astype(np.float64)
    valid = np.isfinite(points).all((1, 2)) & np.isfinite(pixels).all((1, 2))
    valid &= (points[..., 2] > 0).all(1)
    translation = np.zeros((len(points), 3))
    bodies = points[valid]
    if not len(bodies):
        return translation
    rays = (pixels[valid] - np.array(camera.principal_point)) / camera.focal_length
    # x + tx = ray_x * (z + tz), likewise for y: two equations per point, linear in t.
    rows = np.zeros((*rays.shape, 3))
    rows[..., 0, 0] = rows[..., 1, 1] = 1.0
    rows[..., 2] = -rays
    target = rays * bodies[..., 2:] - bodies[..., :2]
    depth = bodies[..., 2]
    prior = np.zeros((len(bodies), 3, 3))
    if sigmas is not None:
        # In units of rays, like the equations: pixels over focal length.
        prior[:, 2, 2] = (sigmas.pixels / sigmas.depth_m)[valid] ** 2 / camera.focal_length**2
    trust = np.ones(1) if weights is None else np.maximum(weights[valid], _MIN_WEIGHT)
    for _ in range(_SOLVER_ITERATIONS):
        weight = trust / np.maximum(depth, _MIN_DEPTH_M) ** 2
        left = np.einsum("pkri,pk,pkrj->pij", rows, weight, rows) + prior
        right = np.einsum("pkri,pk,pkr->pi", rows, weight, target)
        shift = np.linalg.solve(left, right[..., None])[..., 0]
        depth = bodies[..., 2] + shift[:, 2:]
    shift[(depth <= _MIN_DEPTH_M).any(1)] = 0.0
    translation[valid] = shift
    return translation
