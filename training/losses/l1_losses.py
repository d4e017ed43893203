"""L1 distances of vectors, points and rotations, one number per item."""

from __future__ import annotations

import torch
from torch import Tensor

_MIN_BOX_SIDE = 0.02
_LINEAR_UP_TO_SIDES = 1.0


def vector_l1(predicted: Tensor, annotated: Tensor) -> Tensor:
    """Sum of absolute differences: (..., K) each -> (...)."""
    return (predicted - annotated).abs().sum(-1)


def points_l1(predicted: Tensor, annotated: Tensor, mask: Tensor) -> Tensor:
    """Sum of absolute differences over points and axes.

    Args:
        predicted: (..., K, D).
        annotated: (..., K, D).
        mask: (..., K) weights 0-1.

    Returns:
        (...).
    """
    return ((predicted - annotated).abs().sum(-1) * mask).sum(-1)


def rotation_l1(predicted: Tensor, annotated: Tensor, mask: Tensor) -> Tensor:
    """Sum of absolute differences over joints and the nine entries of their matrices.

    Args:
        predicted: (..., J, 3, 3).
        annotated: (..., J, 3, 3).
        mask: (..., J) weights 0-1.

    Returns:
        (...).
    """
    return points_l1(predicted.flatten(-2), annotated.flatten(-2), mask)


def image_points_l1(
    predicted: Tensor, annotated: Tensor, mask: Tensor, boxes: Tensor, in_box_units: bool
) -> Tensor:
    """Sum or mean of |dx| + |dy| of 2D points.

    Args:
        predicted: (N, K, 2) 0-1 of the image.
        annotated: (N, K, 2) 0-1 of the image.
        mask: (N, K) weights 0-1.
        boxes: (N, 4) cxcywh of each person.
        in_box_units: mean over the points in units of the longer box side, logarithmic beyond one
            side; otherwise the sum in units of the image.

    Returns:
        (N,).
    """
    if not in_box_units:
        return points_l1(predicted, annotated, mask)
    distance = (predicted - annotated).abs().sum(-1)
    side = boxes[:, 2:].max(-1).values.clamp(min=_MIN_BOX_SIDE)
    distance = log_beyond(distance / side[:, None], _LINEAR_UP_TO_SIDES)
    return (distance * mask).sum(-1) / mask.sum(-1).clamp(min=1.0)


def log_beyond(distance: Tensor, limit: float) -> Tensor:
    """Identity up to `limit`, logarithm beyond: outliers must not dominate the mean."""
    beyond = limit * (1 + torch.log(distance.clamp(min=limit) / limit))
    return torch.where(distance > limit, beyond, distance)
