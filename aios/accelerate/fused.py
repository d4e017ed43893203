"""Steps between the products of a bf16 network, fused into one pass where the device allows it.

Each fused form is compared once per device with plain operations, see `self_test`. Without
gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .self_test import agree, kernels_possible

_TOLERANCE = 0.02
"""For values around 1: two roundings to bf16 differ by 0.01."""

_Pair = tuple[Sequence[Tensor], Sequence[Tensor]]
"""Results of the fused and of the plain form."""


def add_norm(tokens: Tensor, update: Tensor, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    """Layer norm of a sum.

    Args:
        tokens: (..., D) float32.
        update: same shape, any float dtype.
        norm: over D values.

    Returns:
        The result in float32 and in bf16.
    """
    if kernels_possible(tokens.device) and _norm_works(tokens.device, tokens.shape[-1]):
        from .fused_kernels import add_norm_by_kernel

        return add_norm_by_kernel(tokens, update, norm)
    return plain_add_norm(tokens, update, norm)


def add_relu_(maps: Tensor, bias: Tensor, shortcut: Tensor | None = None) -> Tensor:
    """ReLU of maps + bias (+ shortcut), in place.

    Args:
        maps: (B, C, h, w) bf16.
        bias: (C,) float32.
        shortcut: as `maps`, or None.
    """
    possible = kernels_possible(maps.device) and are_channels_last(maps, shortcut)
    if possible and _relu_works(maps.device):
        from .fused_kernels import add_relu_by_kernel

        return add_relu_by_kernel(maps, bias, shortcut)
    return plain_add_relu_(maps, bias, shortcut)


def are_channels_last(*maps: Tensor | None) -> bool:
    """Whether all maps that are not None have their channels last in memory."""
    return all(x is None or x.is_contiguous(memory_format=torch.channels_last) for x in maps)


def linear_relu(x: Tensor, linear: nn.Linear) -> Tensor:
    """ReLU of a linear layer, (..., I) -> (..., O)."""
    if _linear_works(x.device, x.dtype):
        return _addmm_relu(x, linear)
    return plain_linear_relu(x, linear)


def plain_add_norm(tokens: Tensor, update: Tensor, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    """`add_norm` in several passes."""
    result = norm(tokens + update)
    return result, result.to(torch.bfloat16)


def plain_add_relu_(maps: Tensor, bias: Tensor, shortcut: Tensor | None) -> Tensor:
    """`add_relu_` in several passes."""
    maps.add_(bias.to(maps.dtype)[:, None, None])
    return F.relu_(maps if shortcut is None else maps.add_(shortcut))


def plain_linear_relu(x: Tensor, linear: nn.Linear) -> Tensor:
    """`linear_relu` in two passes."""
    return F.relu_(linear(x))


def _addmm_relu(x: Tensor, linear: nn.Linear) -> Tensor:
    # Bias and ReLU are part of the product. Private, but outside torch.compile no public function
    # of torch does this; `_linear_works` guards against its removal.
    flat = torch._addmm_activation(linear.bias, x.flatten(0, -2), linear.weight.t())
    return flat.unflatten(0, x.shape[:-1])


@cache
def _norm_works(device: torch.device, width: int) -> bool:
    def both() -> _Pair:
        from .fused_kernels import add_norm_by_kernel

        norm = nn.LayerNorm(width).requires_grad_(False)
        norm.weight.copy_(noise(width))
        norm.bias.copy_(noise(width))
        inputs = noise(3, 5, width).to(device), noise(3, 5, width).to(device, torch.bfloat16)
        norm.to(device)
        return add_norm_by_kernel(*inputs, norm), plain_add_norm(*inputs, norm)

    return agree("Layer norms run in several passes", both, _TOLERANCE)


@cache
def _relu_works(device: torch.device) -> bool:
    channels = 128

    def both() -> _Pair:
        from .fused_kernels import add_relu_by_kernel

        maps, shortcut = (
            noise(2, channels, 3, 5)
            .to(device, torch.bfloat16)
            .contiguous(memory_format=torch.channels_last)
            for _ in range(2)
        )
        bias = noise(channels).to(device)
        return (
            [add_relu_by_kernel(maps.clone(), bias, added) for added in (None, shortcut)],
            [plain_add_relu_(maps.clone(), bias, added) for added in (None, shortcut)],
        )

    return agree("Sums and ReLUs of maps run in several passes", both, _TOLERANCE)


@cache
def _linear_works(device: torch.device, dtype: torch.dtype) -> bool:
    def both() -> _Pair:
        linear = nn.Linear(32, 64).requires_grad_(False)
        linear.weight.copy_(noise(64, 32) / 6)
        linear.bias.copy_(noise(64))
        linear.to(device, dtype)
        x = noise(2, 8, 32).to(device, dtype)
        return [_addmm_relu(x, linear)], [plain_linear_relu(x, linear)]

    fallback = "Linear layers and their ReLUs run in several passes"
    return device.type == "meta" or agree(fallback, both, _TOLERANCE)


def noise(*shape: int) -> Tensor:
    """Normally distributed values on the CPU, the same in each run."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))
