"""Floor plane in the camera frame (x right, y down, z forward, metres), fitted to points on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_CAMERA_UP = np.array([0.0, -1.0, 0.0])
_ROUNDS = 10
_MIN_HEIGHT_M = 0.05


@dataclass(frozen=True)
class Floor:
    """Plane of the points x with `normal` . x + `distance` = 0.

    Attributes:
        normal: (3,) unit vector pointing up, camera frame.
        distance: of the camera from the floor, metres.
    """

    normal: np.ndarray
    distance: float

    def heights(self, points: np.ndarray) -> np.ndarray:
        """Heights (...) of points (..., 3) above the floor, metres."""
        return points @ self.normal + self.distance

    def relative_distances(self, points: np.ndarray) -> np.ndarray:
        """Distances (...) of points (..., 3) from the camera, in distances of the floor.

        The distance of the floor is that along the ray of the point; 0 or less above the horizon.
        """
        return -(points @ self.normal) / self.distance


@dataclass(frozen=True)
class Upright:
    """Likely direction up.

    Attributes:
        direction: (3,) unit vector, camera frame.
        tilt: standard deviation of its error, radians.
    """

    direction: np.ndarray
    tilt: float


def likely_up(body_axes: np.ndarray, camera_tilt: float, body_tilt: float) -> Upright:
    """Direction up from a roughly horizontal camera and the axes of upright bodies.

    Args:
        body_axes: (N, 3) unit vectors from feet to neck; may be empty.
        camera_tilt: standard deviation of the tilt of the camera, radians.
        body_tilt: standard deviation of the tilt of the median axis, radians.
    """
    total, precision = _CAMERA_UP / camera_tilt**2, 1 / camera_tilt**2
    if len(body_axes):
        median = np.median(body_axes, 0)
        total = total + median / np.linalg.norm(median) / body_tilt**2
        precision += 1 / body_tilt**2
    return Upright(total / np.linalg.norm(total), precision**-0.5)


def fit_floor(
    points: np.ndarray, sigmas: np.ndarray, weights: np.ndarray, up: Upright
) -> Floor | None:
    """Fit a floor whose distance along the ray of each point is that of the point.

    Least squares with Cauchy weights, which take the influence of points off the floor. The
    unknown is m = -normal / distance, with m . point = 1 on the floor.

    Args:
        points: (N, 3) on the floor; those at or above the camera are ignored.
        sigmas: (N,) standard deviation of their distance, relative to it.
        weights: (N,) 0 or more, multiplies the squared errors.
        up: likely direction of the normal.

    Returns:
        The floor, or None without a point below the camera.
    """
    usable = (-points @ up.direction > _MIN_HEIGHT_M) & (points[:, 2] > 0)
    points, sigmas, weights = points[usable], sigmas[usable], weights[usable]
    if not len(points):
        return None
    depth = np.median(-points @ up.direction)
    across = np.linalg.svd(up.direction[None])[2][1:]
    plane = -up.direction / depth
    for _ in range(_ROUNDS):
        errors = (points @ plane - 1) / sigmas
        scale = np.sqrt(weights / (1 + errors**2)) / sigmas
        # The tilt from `up` is the ratio of the parts across and along it.
        prior = across / up.tilt / max(-plane @ up.direction, 0.1 / depth)
        rows = np.concatenate([points * scale[:, None], prior])
        plane = np.linalg.lstsq(rows, np.concatenate([scale, [0.0, 0.0]]), rcond=None)[0]
    size = float(np.linalg.norm(plane))
    return Floor(-plane / size, 1 / size)
