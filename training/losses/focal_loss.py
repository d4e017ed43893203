"""Focal losses of class logits, one number per entry (Lin et al., Focal Loss, ICCV 2017)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

FOCAL_ALPHA = 0.25
FOCAL_GAMMA = 2.0


def sigmoid_focal_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary focal loss with alpha 0.25 and gamma 2.

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
    """Focal loss for soft labels: cross entropy times the squared error of the probability.

    See Li et al., Generalized Focal Loss, NeurIPS 2020.

    Args:
        logits: any shape.
        labels: same shape, 0 to 1.

    Returns:
        Same shape; zero gradient where the probability equals the label.
    """
    cross_entropy = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return cross_entropy * (logits.sigmoid() - labels).abs() ** FOCAL_GAMMA
