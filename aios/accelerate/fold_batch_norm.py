"""Fold frozen batch norm into the convolution before it."""

from __future__ import annotations

import torch
from torch import nn

from ..network.frozen_batch_norm import FrozenBatchNorm2d


def fold_batch_norm(module: nn.Module) -> None:
    """Fold every frozen batch norm below `module` into its convolution, in place.

    Exact up to rounding. Afterwards the state dict no longer matches a checkpoint.
    """
    for parent in module.modules():
        previous: nn.Conv2d | None = None
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Conv2d):
                previous = layer
            elif isinstance(layer, FrozenBatchNorm2d) and previous is not None:
                _fold(previous, layer)
                parent.register_module(name, nn.Identity())
                previous = None


@torch.no_grad()
def _fold(conv: nn.Conv2d, norm: FrozenBatchNorm2d) -> None:
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    conv.weight.mul_(scale[:, None, None, None])
    shift = norm.bias - norm.running_mean * scale
    conv.bias = nn.Parameter(shift, requires_grad=conv.weight.requires_grad)
