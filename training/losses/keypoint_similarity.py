"""Object keypoint similarity (OKS) as in the COCO keypoint evaluation."""

from __future__ import annotations

import torch
from torch import Tensor

from aios.geometry.constants import constant_tensor

_EPS = 1e-6

BODY_OKS_SIGMAS = (
    *(0.026, 0.025, 0.025, 0.035, 0.035),
    *(0.079, 0.079, 0.072, 0.072, 0.062, 0.062),
    *(0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
)
"""17 COCO keypoints."""
PART_OKS_SIGMAS = (0.025,) * 6
"""Six keypoints of a hand or of the face."""


def object_keypoint_similarity(
    predicted: Tensor,
    annotated: Tensor,
    visibility: Tensor,
    areas: Tensor,
    sigmas: tuple[float, ...],
) -> Tensor:
    """OKS: mean over the visible keypoints, at least 1e-6.

    Args:
        predicted: (..., K, 2) 0-1 of the image.
        annotated: (..., K, 2) 0-1 of the image.
        visibility: (..., K) weights 0-1.
        areas: (...) area of the body box, its sides 0-1 of the image.
        sigmas: K fall-offs.

    Returns:
        (...).
    """
    variances = constant_tensor(sigmas, predicted.dtype, predicted.device).mul(2).square()
    squared = (predicted - annotated).square().sum(-1)
    similarity = torch.exp(-squared / (2 * areas[..., None] * variances + 1e-12))
    visible = visibility.sum(-1)
    return ((similarity * visibility).sum(-1) / (visible + _EPS)).clamp(min=_EPS)


def any_visible(visibility: Tensor) -> Tensor:
    """Factor on a loss averaged over keypoints: (..., K) -> (...), 0 if none is visible, else 1."""
    visible = visibility.sum(-1)
    return visible / (visible + _EPS)
