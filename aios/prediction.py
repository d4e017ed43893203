"""What is known of the people in one photo: as the network says it, and as posed bodies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from .attention import Attention
from .geometry.camera import Camera, Spread, shift_to_match
from .network.config import BODY_KEYPOINT_JOINTS, NUM_BODY_JOINTS
from .people import People

_KEYPOINT_SPREAD = 0.2
"""How sure a keypoint is, in longest sides of the box: it is nearer than that to where the posed
body has it, but wrong poses make many of them wrong together."""
_DEPTH_SPREAD = 0.1
"""How sure the predicted depth is, as a share of it."""
_NEAREST_M = 0.01
"""Depths are told apart down to this."""


@dataclass(frozen=True)
class Candidates:
    """What the network says of one photo before anybody is left out: cheap to filter again.

    Attributes:
        people: every people slot, best score first.
        camera: of the photo.
        attention: where each decoder layer looked for the best of them, if it was asked for.
        placed: whether people stand where `AiOSPredictor.placed` puts them, not where the
            network's camera says.
    """

    people: People
    camera: Camera
    attention: Attention | None = None
    placed: bool = False


@dataclass(frozen=True)
class Prediction:
    """Everything that is known of the people in one photo; everything else is drawn from this.

    Attributes:
        people: P people, best score first.
        camera: the perspective camera of the photo, pixels of the photo.
        vertices: (P, V, 3) float32 metres, camera frame (x right, y down, z forward).
        joints_3d: (P, 144, 3) float32 metres, camera frame, SMPL-X order.
        faces: (F, 3) int64, vertex numbers of one body.
        weights: where the network's weights come from, for people to read.
        body: which body model was posed, "SMPL-X" or "stand-in".
    """

    people: People
    camera: Camera
    vertices: np.ndarray
    joints_3d: np.ndarray
    faces: np.ndarray
    weights: str
    body: str

    @property
    def depth_order(self) -> np.ndarray:
        """(P,) int64, 0 for the person nearest to the camera (distance of the pelvis)."""
        order = np.argsort(self.joints_3d[:, 0, 2], kind="stable")
        ranks = np.empty(len(order), np.int64)
        ranks[order] = np.arange(len(order))
        return ranks

    def with_field_of_view(self, degrees: float) -> Self:
        """The same people before another lens, moved so that they stay where they are seen.

        Pose, shape and orientation stay; `transl` and everything in metres follows.  `weak_camera`
        stays what the network said.

        Args:
            degrees: across the longer side of the photo.

        Raises:
            ValueError: not between 0 and 180 degrees.
        """
        camera = self.camera.with_field_of_view(degrees)
        joints = self.joints_3d[:, :NUM_BODY_JOINTS]
        shift = shift_to_match(joints, self.camera.project(joints), camera)
        return replace(self._moved(shift), camera=camera)

    def placed_by_keypoints(self) -> Self:
        """The same people, each moved to where its body fits its 2D keypoints best.

        For weights whose camera is less sure than their keypoints of where in the picture somebody
        is.  How far away, it knows better: a depth from keypoints alone is as wrong as the pose.
        `transl` and everything in metres follows; `weak_camera` stays what the network said.
        """
        people, joints = self.people, self.joints_3d[:, list(BODY_KEYPOINT_JOINTS)]
        boxes = people.boxes_xyxy_px
        sides = (boxes[:, 2:] - boxes[:, :2]).max(1)
        depth = self.joints_3d[:, 0, 2].clip(_NEAREST_M)
        spread = Spread(sides * _KEYPOINT_SPREAD, depth * _DEPTH_SPREAD)
        return self._moved(shift_to_match(joints, people.keypoints_2d_px, self.camera, spread))

    def _moved(self, shift: np.ndarray) -> Self:
        """Everyone by (P, 3) metres."""
        shift = shift.astype(np.float32)
        return replace(
            self,
            people=replace(self.people, transl=self.people.transl + shift),
            vertices=self.vertices + shift[:, None],
            joints_3d=self.joints_3d + shift[:, None],
        )

    def __len__(self) -> int:
        """Number of people."""
        return len(self.people)

    def __iter__(self) -> Iterator[int]:
        """Indices of the people, best score first."""
        return iter(range(len(self.people)))
