"""What a network in bf16 does between its products, in one pass where this device can do so.

Each way is tried once on the device against plain operations; where it raises or gives other
numbers, one line of the log says so and the plain operations stay.  With TRITON_INTERPRET=1 in the
environment the kernels also run, slowly, on a CPU.  For inference only.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HALF = torch.bfloat16
_TOLERANCE = 0.02
"""Of numbers around 1: two roundings to bf16 are 0.01 apart."""

_log = logging.getLogger(__name__)


def add_norm(tokens: Tensor, update: Tensor, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    """Layer norm of a sum.

    Args:
        tokens: (..., D) float32.
        update: the same shape, any kind of float.
        norm: of D numbers.

    Returns:
        The result as float32 and as bf16.
    """
    if kernels_possible(tokens) and _norm_works(tokens.device, tokens.shape[-1]):
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
    if last and kernels_possible(maps) and _relu_works(maps.device):
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


def kernels_possible(x: Tensor) -> bool:
    """Whether kernels may run where `x` is."""
    return x.device.type == "cuda" or os.environ.get("TRITON_INTERPRET") == "1"


@cache
def _norm_works(device: torch.device, width: int) -> bool:
    def tried() -> list[tuple[Tensor, ...]]:
        from .fused_kernels import add_norm_by_kernel

        norm = nn.LayerNorm(width).requires_grad_(False)
        norm.weight.copy_(noise(width))
        norm.bias.copy_(noise(width))
        given = noise(3, 5, width).to(device), noise(3, 5, width).to(device, HALF)
        norm.to(device)
        return [way(*given, norm) for way in (add_norm_by_kernel, _add_norm)]

    return same("Layer norms run", tried)


@cache
def _relu_works(device: torch.device) -> bool:
    channels = 128

    def tried() -> list[tuple[Tensor, ...]]:
        from .fused_kernels import add_relu_by_kernel

        maps, shortcut = (
            noise(2, channels, 3, 5).to(device, HALF).contiguous(memory_format=torch.channels_last)
            for _ in range(2)
        )
        bias = noise(channels).to(device)
        return [
            tuple(way(maps.clone(), bias, other) for other in (None, shortcut))
            for way in (add_relu_by_kernel, _add_relu_)
        ]

    return same("Sums and ReLUs of maps run", tried)


@cache
def _linear_works(device: torch.device, kind: torch.dtype) -> bool:
    def tried() -> list[tuple[Tensor, ...]]:
        linear = nn.Linear(32, 64).requires_grad_(False)
        linear.weight.copy_(noise(64, 32) / 6)
        linear.bias.copy_(noise(64))
        linear.to(device, kind)
        x = noise(2, 8, 32).to(device, kind)
        return [(way(x, linear),) for way in (_linear_relu_by_product, _linear_relu)]

    return device.type == "meta" or same("Linear layers and their ReLUs run", tried)


def same(what: str, tried: Callable[[], list[tuple[Tensor, ...]]]) -> bool:
    """Whether two ways to the same tensors agree; if not, a line of the log says so."""
    try:
        with torch.no_grad():
            found, wanted = tried()
        error = max(
            float((one.float() - other.float()).abs().max() / other.float().abs().max())
            for one, other in zip(found, wanted, strict=True)
        )
    except Exception as reason:  # noqa: BLE001 - a compiler may fail in any way
        line = " ".join(f"{type(reason).__name__}: {reason}".split())[:200]
        _log.warning("%s in several passes: %s", what, line)
        return False
    if not error <= _TOLERANCE:
        _log.warning("%s in several passes: in one they are off by %.2g.", what, error)
        return False
    return True


def noise(*shape: int) -> Tensor:
    """Normal numbers on the CPU, the same in each run."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))
