"""Placement of exported people with y up: relative to the camera, or on a floor."""

from __future__ import annotations

import numpy as np

from ..body.kinematics import CAMERA_TO_WORLD

AT_CAMERA = np.zeros(3)
"""Offset that keeps the camera at the origin."""
CAMERA_SPACE = (
    "Camera space: positions are relative to the camera of each frame; if it moves, people move."
)
STILL_CAMERA_SPACE = (
    "Camera space of a still camera: people are put on one floor, and standing feet slide less."
)
"""What the positions of a video are relative to, as a text in its files."""


class SceneBounds:
    """Bounding box of posed people, accumulated over photos or video frames.

    The optical axis of the camera is assumed to be horizontal.
    """

    def __init__(self) -> None:
        """Start with an empty box."""
        self._low = np.full(3, np.inf)
        self._high = np.full(3, -np.inf)

    def add(self, vertices: np.ndarray) -> None:
        """Extend the box by vertices (P, V, 3), metres, camera frame."""
        points = (vertices * CAMERA_TO_WORLD).reshape(-1, 3)
        if len(points):
            self._low = np.minimum(self._low, points.min(0))
            self._high = np.maximum(self._high, points.max(0))

    def corners(self) -> np.ndarray | None:
        """(2, 3) lowest and highest coordinates, metres, y up; None if the box is empty."""
        return np.stack([self._low, self._high]) if np.isfinite(self._low).all() else None

    def floor_offset(self) -> np.ndarray:
        """Offset that puts people on the floor, in the middle.

        Returns:
            (3,) float64 metres, y up, to be added to points of the world frame of
            `body.kinematics`: the lowest vertex gets y = 0, the centre of the box x = z = 0.
            Zero if the box is empty.
        """
        corners = self.corners()
        if corners is None:
            return AT_CAMERA
        centre = corners.mean(0)
        return -np.array([centre[0], corners[0, 1], centre[2]])


def floor_offset(vertices: np.ndarray) -> np.ndarray:
    """Offset that puts the people of a photo on the floor, see `SceneBounds.floor_offset`."""
    bounds = SceneBounds()
    bounds.add(vertices)
    return bounds.floor_offset()
