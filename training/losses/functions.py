"""Losses as pure functions: tensors in, one number an item or a plain sum out.

Nothing here knows about layers, weights or matching; see `criterion`.  Definitions follow the
training specification, section 4.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from aios.geometry.boxes import cxcywh_to_xyxy, intersection_and_union

FOCAL_ALPHA = 0.25
FOCAL_GAMMA = 2.0
_EPS = 1e-6

BODY_OKS_SIGMAS = (
    *(0.026, 0.025, 0.025, 0.035, 0.035),
    *(0.079, 0.079, 0.072, 0.072, 0.062, 0.062),
    *(0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
)
"""17 COCO keypoints."""
PART_OKS_SIGMAS = (0.025,) * 6
"""Six keypoints of a hand or of the face."""


def sigmoid_focal_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Focal loss of independent classes, alpha 0.25 and gamma 2, one number an entry.

    Args:
        logits: any shape.
        labels: same shape, 0 or 1.

    Returns:
        Same shape.
    """
    probability = logits.sigmoid()
    cross_entropy = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    agreement = probability * labels + (1 - probability) * (1 - labels)
    alpha = FOCAL_ALPHA * labels + (1 - FOCAL_ALPHA) * (1 - labels)
    return alpha * cross_entropy * (1 - agreement) ** FOCAL_GAMMA


def quality_focal_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Focal loss for labels between 0 and 1: cross entropy times the squared miss.

    Args:
        logits: any shape.
        labels: same shape, 0 to 1.

    Returns:
        Same shape; zero gradient where the probability is the label.
    """
    cross_entropy = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return cross_entropy * (logits.sigmoid() - labels).abs() ** FOCAL_GAMMA


def box_iou(first: Tensor, second: Tensor) -> Tensor:
    """IoU of paired boxes; (..., 4) centre x, centre y, width, height each -> (...)."""
    shared, union = intersection_and_union(cxcywh_to_xyxy(first), cxcywh_to_xyxy(second))
    return shared / (union + _EPS)


def box_giou(first: Tensor, second: Tensor) -> Tensor:
    """GIoU of paired boxes; (..., 4) centre x, centre y, width, height each -> (...)."""
    first, second = cxcywh_to_xyxy(first), cxcywh_to_xyxy(second)
    shared, union = intersection_and_union(first, second)
    hull_low = torch.minimum(first[..., :2], second[..., :2])
    hull_high = torch.maximum(first[..., 2:], second[..., 2:])
    hull = (hull_high - hull_low).clamp(min=0).prod(-1)
    return shared / (union + _EPS) - (hull - union) / (hull + _EPS)


@cache
def _variances(sigmas: tuple[float, ...], like: tuple[torch.device, torch.dtype]) -> Tensor:
    device, kind = like
    with torch.inference_mode(False):
        return torch.tensor(sigmas, dtype=kind, device=device).mul(2).square()


def object_keypoint_similarity(
    predicted: Tensor, wanted: Tensor, visibility: Tensor, areas: Tensor, sigmas: tuple[float, ...]
) -> Tensor:
    """OKS, mean over the visible keypoints, at least 1e-6.

    Args:
        predicted: (..., K, 2) 0-1 of the image.
        wanted: (..., K, 2) the same.
        visibility: (..., K) weights 0-1.
        areas: (...) width times height of the body box, 0-1 of the image each.
        sigmas: K fall-offs.

    Returns:
        (...).
    """
    variances = _variances(sigmas, (predicted.device, predicted.dtype))
    squared = (predicted - wanted).square().sum(-1)
    similarity = torch.exp(-squared / (2 * areas[..., None] * variances + 1e-12))
    visible = visibility.sum(-1)
    return ((similarity * visibility).sum(-1) / (visible + _EPS)).clamp(min=_EPS)


def visible_share(visibility: Tensor) -> Tensor:
    """Factor on a loss of the mean over keypoints (..., K): 0 where none is visible, else 1."""
    visible = visibility.sum(-1)
    return visible / (visible + _EPS)


def points_l1(predicted: Tensor, wanted: Tensor, valid: Tensor) -> Tensor:
    """Sum of absolute differences over points and axes.

    Args:
        predicted: (..., K, D).
        wanted: (..., K, D).
        valid: (..., K) weights 0-1.

    Returns:
        (...).
    """
    return ((predicted - wanted).abs().sum(-1) * valid).sum(-1)


def rotation_l1(predicted: Tensor, wanted: Tensor, valid: Tensor) -> Tensor:
    """Sum over joints and over the nine entries of the matrices.

    Args:
        predicted: (..., J, 3, 3).
        wanted: (..., J, 3, 3).
        valid: (..., J) weights 0-1.

    Returns:
        (...).
    """
    return points_l1(predicted.flatten(-2), wanted.flatten(-2), valid)


def vector_l1(predicted: Tensor, wanted: Tensor) -> Tensor:
    """Sum of absolute differences; (..., K) each -> (...)."""
    return (predicted - wanted).abs().sum(-1)
