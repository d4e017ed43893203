"""IoU and generalized IoU of paired boxes, differentiable."""

from __future__ import annotations

import torch
from torch import Tensor

from aios.geometry.boxes import cxcywh_to_xyxy, intersection_and_union

_EPS = 1e-6


def box_iou(first: Tensor, second: Tensor) -> Tensor:
    """IoU of paired boxes: (..., 4) cxcywh each -> (...)."""
    shared, union = intersection_and_union(cxcywh_to_xyxy(first), cxcywh_to_xyxy(second))
    return shared / (union + _EPS)


def box_giou(first: Tensor, second: Tensor) -> Tensor:
    """Generalized IoU of paired boxes: (..., 4) cxcywh each -> (...), -1 to 1.

    See Rezatofighi et al., CVPR 2019.
    """
    first, second = cxcywh_to_xyxy(first), cxcywh_to_xyxy(second)
    shared, union = intersection_and_union(first, second)
    hull_low = torch.minimum(first[..., :2], second[..., :2])
    hull_high = torch.maximum(first[..., 2:], second[..., 2:])
    hull = (hull_high - hull_low).clamp(min=0).prod(-1)
    return shared / (union + _EPS) - (hull - union) / (hull + _EPS)
