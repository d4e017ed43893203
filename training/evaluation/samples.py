"""One image of a benchmark and its ground truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aios.geometry.camera import Camera

from ..targets import BODY_KEYPOINTS
from .metrics import TruePeople

PCK_SHARE = 0.1
"""Tolerance of PCK@0.1, in longer sides of the bounding box of a person's joints."""


@dataclass(frozen=True)
class GroundTruth:
    """The n annotated people of one image."""

    people: TruePeople
    boxes_xyxy: np.ndarray
    """(n, 4) pixels of the annotation, boxes of the whole body."""
    resolution_wh: tuple[int, int]
    """Pixel resolution of the annotation."""
    camera: Camera | None = None
    """Camera of the annotated meshes, where it is known."""

    def keypoints_shown(self) -> np.ndarray:
        """(n, 17) bool, True on annotated keypoints inside the image; all False for SMPL joints."""
        points = self._keypoints()
        if points is None:
            return np.zeros((len(self.people), len(BODY_KEYPOINTS)), bool)
        annotated = self.people.confidence[:, list(BODY_KEYPOINTS)] > 0
        return annotated & ((points >= 0) & (points < self.resolution_wh)).all(-1)

    def keypoints_right(self, predicted: np.ndarray) -> np.ndarray:
        """Count the correct keypoints of each prediction for each person (PCK@0.1).

        Args:
            predicted: (m, 17, 2) COCO keypoints, pixels of the annotation.

        Returns:
            (m, n) int64, among the keypoints that `keypoints_shown` marks.
        """
        points = self._keypoints()
        if points is None:
            return np.zeros((len(predicted), len(self.people)), np.int64)
        low, high = self.people.joints_2d.min(1), self.people.joints_2d.max(1)
        limit = PCK_SHARE * (high - low).max(-1, initial=0)
        gap = np.linalg.norm(predicted[:, None] - points[None], axis=-1)
        return ((gap <= limit[:, None]) & self.keypoints_shown()).sum(-1)

    def depths_m(self) -> np.ndarray:
        """(n,) depth of each pelvis in metres; NaN if the camera is unknown."""
        if self.camera is None:
            return np.full(len(self.people), np.nan)
        return self.people.joints_3d[:, 0, 2].astype(np.float64)

    def _keypoints(self) -> np.ndarray | None:
        """(n, 17, 2) pixels; None for SMPL joints, which lack the face keypoints."""
        if self.people.joints_2d.shape[1] <= max(BODY_KEYPOINTS):
            return None
        return self.people.joints_2d[:, list(BODY_KEYPOINTS)]


@dataclass(frozen=True)
class EvaluationSample:
    """One image of a benchmark, loaded on demand."""

    name: str
    """Unique in the benchmark."""
    group: str
    """Part of the benchmark; empty if it has no parts."""
    load: Callable[[], tuple[np.ndarray, GroundTruth | None]]
    """Reads the image, (H, W, 3) uint8 RGB, and its ground truth; None if it is not public."""


def clipped_joint_boxes(joints_2d: np.ndarray, resolution_wh: tuple[int, int]) -> np.ndarray:
    """Bounding boxes of joints (n, J, 2), clipped to the image: (n, 4) x1, y1, x2, y2."""
    size = np.array(resolution_wh, float)
    low, high = joints_2d.min(1).clip(0, size), joints_2d.max(1).clip(0, size)
    return np.concatenate([low, high], -1)
