"""Placement of exported people with y up: relative to the camera, or on a floor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from ..body.kinematics import CAMERA_TO_WORLD
from ..geometry.floor import Floor

CAMERA_SPACE = (
    "Camera space: positions are relative to the camera of each frame; if it moves, people move."
)
STILL_CAMERA_SPACE = (
    "Camera space of a still camera: people are put on one floor, and standing feet slide less."
)
"""What the positions of a video are relative to, as a text in its files."""


@dataclass(frozen=True)
class Placement:
    """Position and rotation of the camera in the y-up world of the files.

    Attributes:
        camera_position: (3,) metres.
        camera_rotation: of the axes x right, y up, z backward of the camera.
    """

    camera_position: np.ndarray
    camera_rotation: Rotation

    def points(self, points: np.ndarray) -> np.ndarray:
        """Move points (..., 3) of the world frame of `body.kinematics`, metres."""
        moved = self.camera_rotation.apply(points.reshape(-1, 3)).reshape(points.shape)
        return moved + self.camera_position

    def rotations(self, rotations: Rotation) -> Rotation:
        """Turn the pelvis of (T, 55) rotations of `body.kinematics.local_rotations`."""
        quaternions = np.array(rotations.as_quat())  # SciPy may share its memory
        pelvis = self.camera_rotation * Rotation.from_quat(quaternions[:, 0])
        quaternions[:, 0] = pelvis.as_quat()
        return Rotation.from_quat(quaternions)


AT_CAMERA = Placement(np.zeros(3), Rotation.identity())
"""The world frame of `body.kinematics`: the camera at the origin, looking along -z."""


class SceneBounds:
    """Bounding box of posed people, accumulated over photos or video frames."""

    def __init__(self, floor: Floor | None = None) -> None:
        """Start with an empty box.

        Args:
            floor: its normal becomes the y axis; None for a camera that looks horizontally.
        """
        self._floor = floor
        self._rotation = Rotation.identity()
        if floor is not None:
            self._rotation = _level(floor.normal * CAMERA_TO_WORLD)
        self._low = np.full(3, np.inf)
        self._high = np.full(3, -np.inf)

    def add(self, vertices: np.ndarray) -> None:
        """Extend the box by vertices (P, V, 3), metres, camera frame."""
        points = self._rotation.apply((vertices * CAMERA_TO_WORLD).reshape(-1, 3))
        if len(points):
            self._low = np.minimum(self._low, points.min(0))
            self._high = np.maximum(self._high, points.max(0))

    def corners(self) -> np.ndarray | None:
        """(2, 3) lowest and highest coordinates relative to the camera; None if the box is empty.

        Metres; y is up, the normal of the floor if there is one.
        """
        return np.stack([self._low, self._high]) if np.isfinite(self._low).all() else None

    def grounded(self) -> Placement:
        """Placement that puts people on the floor, in the middle.

        The floor, or the lowest vertex if no floor is known, gets y = 0, the centre of the box
        x = z = 0. Without people, the camera stays at the origin.
        """
        corners = self.corners()
        if corners is None:
            return AT_CAMERA
        centre = corners.mean(0)
        height = -corners[0, 1] if self._floor is None else self._floor.distance
        return Placement(np.array([-centre[0], height, -centre[2]]), self._rotation)


def grounded(vertices: np.ndarray) -> Placement:
    """Placement that puts the people of a photo on the floor, see `SceneBounds.grounded`."""
    bounds = SceneBounds()
    bounds.add(vertices)
    return bounds.grounded()


def _level(up: np.ndarray) -> Rotation:
    """Smallest rotation of the unit vector `up` (3,) to the y axis."""
    axis = np.cross(up, [0.0, 1.0, 0.0])
    sine = np.linalg.norm(axis)
    if sine == 0:
        return Rotation.identity()
    return Rotation.from_rotvec(axis / sine * np.arctan2(sine, up[1]))
