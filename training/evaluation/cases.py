"""One picture of a benchmark, and what is true of the people in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aios.geometry.camera import Camera

from ..targets import BODY_KEYPOINTS
from .metrics import TruePeople

PCK_SHARE = 0.1
"""Of the longer side of a person: how near a keypoint has to be to be right."""


@dataclass(frozen=True)
class Truth:
    """The annotated people of one picture, n of them."""

    people: TruePeople
    boxes_xyxy: np.ndarray
    """(n, 4) pixels of the annotation, around everything of the body."""
    resolution_wh: tuple[int, int]
    """Pixels in which it is annotated."""
    camera: Camera | None = None
    """That of the annotated meshes, where they stand in front of one that is known."""

    def keypoints_shown(self) -> np.ndarray:
        """(n, 17) bool: is annotated and lies in the picture; nobody's without SMPL-X joints."""
        points = self._keypoints()
        if points is None:
            return np.zeros((len(self.people), len(BODY_KEYPOINTS)), bool)
        sure = self.people.confidence[:, list(BODY_KEYPOINTS)] > 0
        return sure & ((points >= 0) & (points < self.resolution_wh)).all(-1)

    def keypoints_right(self, predicted: np.ndarray) -> np.ndarray:
        """How many shown keypoints of each person each prediction has right (PCK@0.1).

        Args:
            predicted: (m, 17, 2) COCO keypoints, pixels of the annotation.

        Returns:
            (m, n) int64.
        """
        points = self._keypoints()
        if points is None:
            return np.zeros((len(predicted), len(self.people)), np.int64)
        low, high = self.people.joints_2d.min(1), self.people.joints_2d.max(1)
        limit = PCK_SHARE * (high - low).max(-1, initial=0)
        gap = np.linalg.norm(predicted[:, None] - points[None], axis=-1)
        return ((gap <= limit[:, None]) & self.keypoints_shown()).sum(-1)

    def depths_m(self) -> np.ndarray:
        """(n,) of each person's pelvis before the camera; NaN where no camera is known."""
        if self.camera is None:
            return np.full(len(self.people), np.nan)
        return self.people.joints_3d[:, 0, 2].astype(np.float64)

    def _keypoints(self) -> np.ndarray | None:
        """(n, 17, 2), None where joints are those of SMPL."""
        if self.people.joints_2d.shape[1] <= max(BODY_KEYPOINTS):
            return None
        return self.people.joints_2d[:, list(BODY_KEYPOINTS)]


@dataclass(frozen=True)
class Case:
    """One picture of a benchmark."""

    name: str
    """Unique in the benchmark."""
    group: str
    """Part of the benchmark it belongs to; empty where there are none."""
    load: Callable[[], tuple[np.ndarray, Truth | None]]
    """Reads the picture, (H, W, 3) uint8 RGB, and its truth; None where nobody knows it."""


def joint_boxes_in(joints_2d: np.ndarray, resolution_wh: tuple[int, int]) -> np.ndarray:
    """Boxes around joints (n, J, 2), cut at the edges of the picture: (n, 4) x1, y1, x2, y2."""
    size = np.array(resolution_wh, float)
    low, high = joints_2d.min(1).clip(0, size), joints_2d.max(1).clip(0, size)
    return np.concatenate([low, high], -1)


def place_under(points: np.ndarray, pixels: np.ndarray, camera: Camera) -> np.ndarray:
    """Where bodies stand so that a camera sees their joints where they are annotated.

    Linear least squares on the rays; for drawing truth whose own camera is not known.

    Args:
        points: (n, K, 3) metres, orientation of the camera frame.
        pixels: (n, K, 2) of the camera's picture.
        camera: that looks.

    Returns:
        (n, 3) metres to be added to `points`.
    """
    rays = (pixels - np.array(camera.principal_point)) / camera.focal_length
    rows = np.zeros((*rays.shape, 3))
    rows[..., 0, 0] = rows[..., 1, 1] = 1.0
    rows[..., 2] = -rays
    wanted = rays * points[..., 2:] - points[..., :2]
    left = np.einsum("nkri,nkrj->nij", rows, rows)
    right = np.einsum("nkri,nkr->ni", rows, wanted)
    return np.linalg.solve(left, right[..., None])[..., 0]
