"""Figures of merit on annotated people: who was found, and how well they are posed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from aios.geometry.boxes import pairwise_iou

MATCH_IOU = 0.5


def match_greedily(
    boxes: np.ndarray, wanted: np.ndarray, least_iou: float = MATCH_IOU
) -> list[tuple[int, int]]:
    """Best score first, each prediction takes the free person it overlaps most.

    Args:
        boxes: (N, 4) x1, y1, x2, y2 by falling score.
        wanted: (M, 4).
        least_iou: what counts as found.

    Returns:
        Pairs of prediction and person.
    """
    overlap = pairwise_iou(boxes, wanted)
    free, pairs = list(range(len(wanted))), []
    for index in range(len(boxes)):
        if not free:
            break
        best = max(free, key=lambda person: overlap[index, person])
        if overlap[index, best] >= least_iou:
            free.remove(best)
            pairs.append((index, best))
    return pairs


@dataclass
class Tally:
    """Running sums over pictures."""

    found: int = 0
    missed: int = 0
    invented: int = 0
    joint_errors_mm: list[float] = field(default_factory=list)
    vertex_errors_mm: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, float | int]:
        """F1, precision and recall at box IoU 0.5, MPJPE and MVE in mm.

        The two distances are means over found people, pelvis on pelvis.
        """
        predicted, people = self.found + self.invented, self.found + self.missed
        return {
            "people": people,
            "f1": 2 * self.found / max(predicted + people, 1),
            "precision": self.found / max(predicted, 1),
            "recall": self.found / max(people, 1),
            "mpjpe_mm": float(np.mean(self.joint_errors_mm)) if self.joint_errors_mm else 0.0,
            "mve_mm": float(np.mean(self.vertex_errors_mm)) if self.vertex_errors_mm else 0.0,
        }


def pelvis_aligned_mm(predicted: np.ndarray, wanted: np.ndarray, pelvis: np.ndarray) -> float:
    """Mean distance in mm of points (N, 3) in metres after putting pelvis on pelvis.

    Args:
        predicted: (N, 3).
        wanted: (N, 3).
        pelvis: (2, 3) of the prediction and of the truth.
    """
    gap = (predicted - pelvis[0]) - (wanted - pelvis[1])
    return float(np.linalg.norm(gap, axis=-1).mean() * 1000)
