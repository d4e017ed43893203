"""Boxes and the coordinates they are made of."""

from __future__ import annotations

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
