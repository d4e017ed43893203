"""Small tensors of numbers known beforehand, copied to a device once.

Such a copy waits for the device, and nothing of the kind may happen while a CUDA graph is recorded.
Nothing is ever dropped: a recorded graph reads these tensors where they lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

SpatialShapes = Sequence[tuple[int, int]]
"""(height, width) of each level."""


@cache
def index_tensor(numbers: tuple[int, ...], device: torch.device) -> Tensor:
    """`numbers` as int64, to index with."""
    return _made(numbers, torch.int64, device)


@cache
def colour_tensor(numbers: tuple[float, ...], device: torch.device) -> Tensor:
    """(3, 1, 1) float32, one number for each channel of an image."""
    return _made([[[number]] for number in numbers], torch.float32, device)


@cache
def level_sizes(
    spatial_shapes: tuple[tuple[int, int], ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """(L, 2) width and height of each level."""
    return _made([(w, h) for h, w in spatial_shapes], dtype, device)


@cache
def level_table(spatial_shapes: tuple[tuple[int, int], ...], device: torch.device) -> Tensor:
    """(L, 3) int32: height, width and first token of each level."""
    rows, first = [], 0
    for h, w in spatial_shapes:
        rows.append((h, w, first))
        first += h * w
    return _made(rows, torch.int32, device)


def _made(numbers: Sequence, dtype: torch.dtype, device: torch.device) -> Tensor:
    # Not an inference tensor: training may use it later.
    with torch.inference_mode(False):
        return torch.tensor(numbers, dtype=dtype, device=device)
