"""Triton kernels of `fused`: each reads and writes its tensors once.

Imported only where Triton is needed. Sums are float32; there is no gradient.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK_VALUES = 2048
"""Values per program: 16 per thread of 4 warps, read 16 bytes at a time."""
_MAX_CHANNELS = 64
"""Channels per program of `relu_kernel`, which needs no whole row: 128 bytes."""


@triton.jit(do_not_specialize=["rows"])  # else recompiled for multiples of 16
def norm_kernel(  # noqa: PLR0913 - a launch takes no structures
    tokens: tl.tensor,
    update: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    result: tl.tensor,
    rounded: tl.tensor,
    rows: tl.tensor,
    EPS: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_W: tl.constexpr,
) -> None:
    """Layer norm of `tokens` + `update`, both (R, D) and contiguous."""
    row = tl.program_id(0).to(tl.int64) * BLOCK_R + tl.arange(0, BLOCK_R)
    column = tl.arange(0, BLOCK_W)
    filled = column < WIDTH
    here = row[:, None] * WIDTH + column[None, :]
    mask = (row < rows)[:, None] & filled[None, :]
    x = tl.load(tokens + here, mask=mask, other=0.0)
    x += tl.load(update + here, mask=mask, other=0.0).to(tl.float32)
    mean = tl.sum(x, 1) / WIDTH
    x = tl.where(filled[None, :], x - mean[:, None], 0.0)
    scale = 1 / tl.sqrt(tl.sum(x * x, 1) / WIDTH + EPS)
    gain = tl.load(weight + column, mask=filled, other=0.0)
    shift = tl.load(bias + column, mask=filled, other=0.0)
    y = x * scale[:, None] * gain[None, :] + shift[None, :]
    tl.store(result + here, y, mask=mask)
    tl.store(rounded + here, y, mask=mask)


@triton.jit(do_not_specialize=["rows"])
def relu_kernel(
    maps: tl.tensor,
    bias: tl.tensor,
    shortcut: tl.tensor,
    rows: tl.tensor,
    channels: tl.tensor,
    ADDS: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_C: tl.constexpr,
) -> None:
    """ReLU of `maps` + `bias` (+ `shortcut`) in place; maps (R, C), contiguous."""
    row = tl.program_id(0).to(tl.int64) * BLOCK_R + tl.arange(0, BLOCK_R)
    channel = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    filled = channel < channels
    here = row[:, None] * channels + channel[None, :]
    mask = (row < rows)[:, None] & filled[None, :]
    y = tl.load(maps + here, mask=mask, other=0.0).to(tl.float32)
    y += tl.load(bias + channel, mask=filled, other=0.0)[None, :]
    if ADDS:
        y += tl.load(shortcut + here, mask=mask, other=0.0).to(tl.float32)
    tl.store(maps + here, tl.where(y < 0, 0.0, y), mask=mask)  # NaN stays NaN


def norm_sizes(width: int) -> dict[str, int]:
    """Constants that `norm_kernel` is compiled for, except `EPS`."""
    block = triton.next_power_of_2(width)
    return {"WIDTH": width, "BLOCK_R": max(_BLOCK_VALUES // block, 1), "BLOCK_W": block}


def relu_sizes(channels: int, adds: bool) -> dict[str, int]:
    """Constants that `relu_kernel` is compiled for."""
    block = min(triton.next_power_of_2(channels), _MAX_CHANNELS)
    return {"ADDS": adds, "BLOCK_R": _BLOCK_VALUES // block, "BLOCK_C": block}


def add_norm_by_kernel(
    tokens: Tensor, update: Tensor, norm: torch.nn.LayerNorm
) -> tuple[Tensor, Tensor]:
    """As `fused.add_norm`."""
    tokens, update = tokens.contiguous(), update.contiguous()
    result, rounded = torch.empty_like(tokens), torch.empty_like(tokens, dtype=torch.bfloat16)
    width = tokens.shape[-1]
    rows = tokens.numel() // width
    sizes = norm_sizes(width)
    if rows:
        with torch.cuda.device_of(tokens):
            norm_kernel[(triton.cdiv(rows, sizes["BLOCK_R"]),)](
                tokens, update, norm.weight, norm.bias, result, rounded, rows, EPS=norm.eps, **sizes
            )
    return result, rounded


def add_relu_by_kernel(maps: Tensor, bias: Tensor, shortcut: Tensor | None) -> Tensor:
    """As `fused.add_relu_`, for channels-last maps."""
    channels = maps.shape[1]
    rows = maps.numel() // channels
    sizes = relu_sizes(channels, shortcut is not None)
    grid = (triton.cdiv(rows, sizes["BLOCK_R"]), triton.cdiv(channels, sizes["BLOCK_C"]))
    if rows:
        with torch.cuda.device_of(maps):
            # A pointer argument must be valid even if the kernel does not read it.
            other = maps if shortcut is None else shortcut
            relu_kernel[grid](maps, bias, other, rows, channels, **sizes)
    return maps
