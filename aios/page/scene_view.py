"""Initial camera of the 3D view."""

from __future__ import annotations

import numpy as np

AZIMUTH_DEGREES, POLAR_DEGREES = 90.0, 80.0
"""Initial angles of `gr.Model3D`: in front of the people, slightly from above."""
_HALF_VIEW = 0.4
"""Half the vertical field of view of the browser's camera, radians."""
_MARGIN = 1.15
_MIN_DISTANCE_M = 1.0


def initial_distance(vertices: np.ndarray) -> float:
    """Return the camera distance from the scene's center at which all people are in view.

    Args:
        vertices: (P, V, 3) metres, camera frame of the photo.

    Returns:
        Metres, for a view that is at least as wide as it is high.
    """
    points = vertices[np.isfinite(vertices).all((1, 2))].reshape(-1, 3)
    if not len(points):
        return _MIN_DISTANCE_M
    # y and z have the opposite direction in glTF.
    points = (points - (points.min(0) + points.max(0)) / 2) * (1, -1, -1)
    tilt = np.radians(POLAR_DEGREES)
    forward = points @ (0, np.cos(tilt), np.sin(tilt))
    up = points @ (0, np.sin(tilt), -np.cos(tilt))
    offset = np.maximum(np.abs(points[:, 0]), np.abs(up))
    return max(float((forward + _MARGIN * offset / np.tan(_HALF_VIEW)).max()), _MIN_DISTANCE_M)
