"""Boxes and the coordinates they are made of."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_LOGIT_EPS = 1e-3


def inverse_sigmoid(x: Tensor) -> Tensor:
    """Logit, both sides kept at 1e-3 or more: |result| <= 6.907 (specification section 7)."""
    x = x.clamp(0.0, 1.0)
    return torch.log(x.clamp(min=_LOGIT_EPS) / (1 - x).clamp(min=_LOGIT_EPS))


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """(..., 4) centre x, centre y, width, height -> x1, y1, x2, y2."""
    centre, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat([centre - size / 2, centre + size / 2], -1)


def xyxy_to_cxcywh(boxes: Tensor) -> Tensor:
    """(..., 4) x1, y1, x2, y2 -> centre x, centre y, width, height."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat([(low + high) / 2, high - low], -1)


def apart(boxes: np.ndarray, max_overlap: float) -> np.ndarray:
    """Which boxes to keep so that none overlaps an earlier one too much.

    Args:
        boxes: (P, 4) xyxy, best first.
        max_overlap: intersection over union, 0-1.

    Returns:
        (K,) int64 indices.
    """
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    sides = np.minimum(high, high[:, 0]) - np.maximum(low, low[:, 0])
    shared = np.clip(sides, 0, None).prod(-1)
    area = np.clip(high - low, 0, None).prod(-1)
    overlap = shared / np.maximum(area + area[:, 0] - shared, 1e-9)
    kept: list[int] = []
    for index in range(len(boxes)):
        if (overlap[index, kept] <= max_overlap).all():
            kept.append(index)
    return np.array(kept, np.int64)
