"""Detection by box IoU, and mean errors of the people found."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from aios.geometry.boxes import pairwise_iou

MATCH_IOU = 0.5


def match_greedily(
    boxes: np.ndarray, wanted: np.ndarray, min_iou: float = MATCH_IOU
) -> list[tuple[int, int]]:
    """Match each box, in the given order, to the free annotated box with the highest IoU.

    Args:
        boxes: (N, 4) x1, y1, x2, y2 by descending score.
        wanted: (M, 4) annotated boxes.
        min_iou: lowest IoU of a match.

    Returns:
        Index pairs of prediction and person.
    """
    overlap = pairwise_iou(boxes, wanted)
    free, pairs = list(range(len(wanted))), []
    for index in range(len(boxes)):
        if not free:
            break
        best = max(free, key=lambda person: overlap[index, person])
        if overlap[index, best] >= min_iou:
            free.remove(best)
            pairs.append((index, best))
    return pairs


@dataclass
class DetectionCounts:
    """Running sums over images."""

    found: int = 0
    missed: int = 0
    false_positives: int = 0
    joint_errors_mm: list[float] = field(default_factory=list)
    vertex_errors_mm: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, float | int]:
        """F1, precision and recall at box IoU 0.5, MPJPE and MVE in mm.

        MPJPE and MVE are means over the people found, after aligning the pelvis.
        """
        predicted, people = self.found + self.false_positives, self.found + self.missed
        return {
            "people": people,
            "f1": 2 * self.found / max(predicted + people, 1),
            "precision": self.found / max(predicted, 1),
            "recall": self.found / max(people, 1),
            "mpjpe_mm": float(np.mean(self.joint_errors_mm)) if self.joint_errors_mm else 0.0,
            "mve_mm": float(np.mean(self.vertex_errors_mm)) if self.vertex_errors_mm else 0.0,
        }


def pelvis_aligned_mm(predicted: np.ndarray, wanted: np.ndarray, pelvis: np.ndarray) -> float:
    """Mean distance in mm of points (N, 3) in metres after aligning the pelvis.

    Args:
        predicted: (N, 3).
        wanted: (N, 3), ground truth.
        pelvis: (2, 3) of the prediction and of the ground truth.
    """
    gap = (predicted - pelvis[0]) - (wanted - pelvis[1])
    return float(np.linalg.norm(gap, axis=-1).mean() * 1000)
