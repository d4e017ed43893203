"""Bilinear sampling of multi-scale image tokens (Deformable DETR, Sec. 4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from ..geometry.constants import constant_tensor

SpatialShapes = Sequence[tuple[int, int]]
"""(height, width) of each level."""


@dataclass(frozen=True)
class Sampling:
    """Sampling points of deformable attention and their weights.

    Attributes:
        locations: (B, Q, H, L, N, 2) x and y, 0-1 of the padded image.
        weights: (B, Q, H, L, N), summing to 1 over L and N.
    """

    locations: Tensor
    weights: Tensor


def level_sizes(spatial_shapes: SpatialShapes, like: Tensor) -> Tensor:
    """(L, 2) width and height of each level, with dtype and device of `like`."""
    return constant_tensor(tuple((w, h) for h, w in spatial_shapes), like.dtype, like.device)


def sample_bilinear(value: Tensor, spatial_shapes: SpatialShapes, sampling: Sampling) -> Tensor:
    """Weighted sum of bilinear samples over all levels and points; differentiable.

    Samples outside a level are zero. A cell's value is located at the cell's centre, as with
    `grid_sample(align_corners=False)`.

    Args:
        value: (B, S, H, D / H); the tokens of the levels are concatenated along S.
        spatial_shapes: (height, width) of each level.
        sampling: locations and weights.

    Returns:
        (B, Q, D) in the dtype of the locations.
    """
    # Under autocast values have half precision, locations never have.
    value = value.to(sampling.locations.dtype)
    batch, _, heads, width = value.shape
    queries, points = sampling.weights.shape[1], sampling.weights.shape[-1]
    total = value.new_zeros(batch * heads, width, queries)
    start = 0
    for level, (h, w) in enumerate(spatial_shapes):
        # (B, hw, H, C) -> (BH, C, h, w)
        feature_map = value[:, start : start + h * w].permute(0, 2, 3, 1).reshape(-1, width, h, w)
        # (B, Q, H, N, 2) -> (BH, Q, N, 2), in -1..1
        grid = sampling.locations[:, :, :, level].transpose(1, 2).flatten(0, 1) * 2 - 1
        samples = F.grid_sample(feature_map, grid, padding_mode="zeros", align_corners=False)
        weights = sampling.weights[:, :, :, level].transpose(1, 2)
        total = total + (samples * weights.reshape(-1, 1, queries, points)).sum(-1)
        start += h * w
    # (BH, C, Q) -> (B, Q, HC)
    return total.view(batch, heads * width, queries).transpose(1, 2)
