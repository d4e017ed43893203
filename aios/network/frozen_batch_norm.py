"""Batch norm that no longer learns, and how it disappears into the convolution before it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FrozenBatchNorm2d(nn.Module):
    """Batch norm whose statistics and affine numbers never change: y = x * scale + shift."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        """Identity over `channels` channels."""
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """Each (C,)."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        return scale, self.bias - self.running_mean * scale

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> same."""
        # One operation that keeps half precision as it is: times a float32 scale it would not.
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )


def fold_frozen_batch_norm(module: nn.Module) -> None:
    """Merge every frozen batch norm below `module` into the convolution before it, in place.

    Exact up to rounding; afterwards the state dict no longer has the names of a checkpoint.
    """
    for child in module.modules():
        previous: tuple[str, nn.Conv2d] | None = None
        for name, layer in list(child.named_children()):
            if isinstance(layer, nn.Conv2d):
                previous = (name, layer)
            elif isinstance(layer, FrozenBatchNorm2d) and previous is not None:
                _fold(previous[1], layer)
                child.register_module(name, nn.Identity())
                previous = None


@torch.no_grad()
def _fold(conv: nn.Conv2d, norm: FrozenBatchNorm2d) -> None:
    scale, shift = norm.scale_and_shift()
    conv.weight.mul_(scale[:, None, None, None])
    conv.bias = nn.Parameter(shift.clone(), requires_grad=conv.weight.requires_grad)
