"""What a network in bf16 does between its products, in one pass where this device can do so.

Each way is tried once on the device against plain operations, see `trials`.  For inference only.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .self_test import agree, kernels_possible

HALF = torch.bfloat16
_TOLERANCE = 0.02
"""Of numbers around 1: two roundings to bf16 are 0.01 apart."""

_Answers = tuple[Sequence[Tensor], Sequence[Tensor]]


def add_norm(tokens: Tensor, update: Tensor, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    """Layer norm of a sum.

    Args:
        tokens: (..., D) float32.
        update: the same shape, any kind of float.
        norm: of D numbers.

    Returns:
        The result as float32 and as bf16.
    """
    if kernels_possible(tokens.device) and _norm_works(tokens.device, tokens.shape[-1]):
        from .fused_kernels import add_norm_by_kernel

        return add_norm_by_kernel(tokens, update, norm)
    return _add_norm(tokens, update, norm)


def add_relu_(maps: Tensor, bias: Tensor, shortcut: Tensor | None = None) -> Tensor:
    """ReLU of maps + bias (+ shortcut), in place.

    Args:
        maps: (B, C, h, w) bf16.
        bias: (C,) float32.
        shortcut: as `maps`, or None.
    """
    last = all(
        x is None or x.is_contiguous(memory_format=torch.channels_last) for x in (maps, shortcut)
    )
    if last and kernels_possible(maps.device) and _relu_works(maps.device):
        from .fused_kernels import add_relu_by_kernel

        return add_relu_by_kernel(maps, bias, shortcut)
    return _add_relu_(maps, bias, shortcut)


def linear_relu(x: Tensor, linear: nn.Linear) -> Tensor:
    """ReLU of a linear layer, (..., I) -> (..., O)."""
    if _linear_works(x.device, x.dtype):
        return _linear_relu_by_product(x, linear)
    return _linear_relu(x, linear)


def _add_norm(tokens: Tensor, update: Tensor, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    result = norm(tokens + update)
    return result, result.to(HALF)


def _add_relu_(maps: Tensor, bias: Tensor, shortcut: Tensor | None) -> Tensor:
    maps.add_(bias.to(maps.dtype)[:, None, None])
    return F.relu_(maps if shortcut is None else maps.add_(shortcut))


def _linear_relu(x: Tensor, linear: nn.Linear) -> Tensor:
    return F.relu_(linear(x))


def _linear_relu_by_product(x: Tensor, linear: nn.Linear) -> Tensor:
    # The bias and the ReLU are part of the product: no pass of its own over what comes out.
    flat = torch._addmm_activation(linear.bias, x.flatten(0, -2), linear.weight.t())
    return flat.unflatten(0, x.shape[:-1])


@cache
def _norm_works(device: torch.device, width: int) -> bool:
    def both() -> _Answers:
        from .fused_kernels import add_norm_by_kernel

        norm = nn.LayerNorm(width).requires_grad_(False)
        norm.weight.copy_(noise(width))
        norm.bias.copy_(noise(width))
        given = noise(3, 5, width).to(device), noise(3, 5, width).to(device, HALF)
        norm.to(device)
        return add_norm_by_kernel(*given, norm), _add_norm(*given, norm)

    return agree("Layer norms run in several passes", both, _TOLERANCE)


@cache
def _relu_works(device: torch.device) -> bool:
    channels = 128

    def both() -> _Answers:
        from .fused_kernels import add_relu_by_kernel

        maps, shortcut = (
            noise(2, channels, 3, 5).to(device, HALF).contiguous(memory_format=torch.channels_last)
            for _ in range(2)
        )
        bias = noise(channels).to(device)
        return (
            [add_relu_by_kernel(maps.clone(), bias, added) for added in (None, shortcut)],
            [_add_relu_(maps.clone(), bias, added) for added in (None, shortcut)],
        )

    return agree("Sums and ReLUs of maps run in several passes", both, _TOLERANCE)


@cache
def _linear_works(device: torch.device, kind: torch.dtype) -> bool:
    def both() -> _Answers:
        linear = nn.Linear(32, 64).requires_grad_(False)
        linear.weight.copy_(noise(64, 32) / 6)
        linear.bias.copy_(noise(64))
        linear.to(device, kind)
        x = noise(2, 8, 32).to(device, kind)
        return [_linear_relu_by_product(x, linear)], [_linear_relu(x, linear)]

    otherwise = "Linear layers and their ReLUs run in several passes"
    return device.type == "meta" or agree(otherwise, both, _TOLERANCE)


def noise(*shape: int) -> Tensor:
    """Normal numbers on the CPU, the same in each run."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))
