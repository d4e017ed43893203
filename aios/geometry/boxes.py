"""Bounding boxes: conversion, overlap, non-maximum suppression."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_LOGIT_EPS = 1e-3
_AREA_EPS = 1e-9


def inverse_sigmoid(x: Tensor) -> Tensor:
    """Logit with numerator and denominator clamped to at least 1e-3: |result| <= 6.907."""
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


def intersection_and_union(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Areas of intersection and union of paired boxes, for IoU in PyTorch.

    Args:
        first: (..., 4) xyxy.
        second: (..., 4) xyxy, broadcastable to `first`.

    Returns:
        Two tensors (...).
    """
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    areas = [(box[..., 2:] - box[..., :2]).prod(-1) for box in (first, second)]
    return shared, areas[0] + areas[1] - shared


def pairwise_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """IoU of every box of `first` (N, 4) with every box of `second` (M, 4), xyxy: (N, M)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = (high - low).clip(0).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).clip(0).prod(-1) for boxes in (first, second)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, _AREA_EPS)


def nms(boxes: np.ndarray, max_iou: float) -> np.ndarray:
    """Greedy non-maximum suppression.

    Args:
        boxes: (P, 4) xyxy, best score first.
        max_iou: a box is dropped if its IoU with an earlier kept box is larger, 0-1.

    Returns:
        (K,) int64 indices of the kept boxes, ascending.
    """
    iou = pairwise_iou(boxes, boxes)
    kept: list[int] = []
    for index in range(len(boxes)):
        if (iou[index, kept] <= max_iou).all():
            kept.append(index)
    return np.array(kept, np.int64)
