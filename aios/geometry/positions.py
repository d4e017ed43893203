"""Sinusoidal position encodings of feature maps and boxes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_FEATURE_TEMPERATURE = 20.0
_QUERY_TEMPERATURE = 10000.0
_COUNT_EPS = 1e-6


def _interleaved_sine(coordinate: Tensor, channels: int, temperature: float) -> Tensor:
    """Encode angles (...) in radians as (..., channels): even channels sine, odd cosine."""
    index = torch.arange(channels, dtype=torch.float32, device=coordinate.device)
    period = temperature ** (2 * torch.div(index, 2, rounding_mode="floor") / channels)
    angle = coordinate[..., None].float() / period
    return torch.stack([angle[..., 0::2].sin(), angle[..., 1::2].cos()], -1).flatten(-2)


def feature_position_encoding(padding_mask: Tensor, channels: int) -> Tensor:
    """Position encoding of one feature level; coordinates count valid cells, from 1.

    Args:
        padding_mask: (B, h, w) bool, True on padding.
        channels: D; first half encodes y, second half x.

    Returns:
        (B, h, w, D) float32.
    """
    valid = (~padding_mask).float()
    rows, columns = valid.cumsum(1), valid.cumsum(2)
    y = rows / (rows[:, -1:] + _COUNT_EPS) * (2 * math.pi)
    x = columns / (columns[:, :, -1:] + _COUNT_EPS) * (2 * math.pi)
    half = channels // 2
    return torch.cat(
        [
            _interleaved_sine(y, half, _FEATURE_TEMPERATURE),
            _interleaved_sine(x, half, _FEATURE_TEMPERATURE),
        ],
        -1,
    )


def box_position_encoding(boxes: Tensor, channels: int) -> Tensor:
    """Encode boxes (..., 4) cxcywh, 0-1, as (..., 2 * channels) in the order y, x, w, h."""
    half = channels // 2
    order = torch.cat([boxes[..., 1:2], boxes[..., :1], boxes[..., 2:]], -1) * (2 * math.pi)
    return _interleaved_sine(order, half, _QUERY_TEMPERATURE).flatten(-2).to(boxes.dtype)
