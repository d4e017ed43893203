"""Multi-scale deformable attention (specification section 4), without a compiled operator.

Two ways to the same numbers: `sample_by_grid` is differentiable and runs anywhere;
`sample_by_bag` reads every bilinear corner as one row of a weighted `embedding_bag`, which is
faster on a CPU and is used there when no gradient is wanted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .outputs import EncodedImage

SpatialShapes = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Sampling:
    """Where attention looked and how much each place counted.

    Attributes:
        locations: (B, Q, H, L, N, 2), x and y, 0-1 of the padded image.
        weights: (B, Q, H, L, N), summing to 1 over L and N.
    """

    locations: Tensor
    weights: Tensor


def sample_by_grid(value: Tensor, spatial_shapes: SpatialShapes, sampling: Sampling) -> Tensor:
    """Weighted bilinear samples, level by level; differentiable in everything.

    Args:
        value: (B, S, H, D / H).
        spatial_shapes: (height, width) of each level, whose tokens follow each other in S.
        sampling: locations and weights.

    Returns:
        (B, Q, D).
    """
    batch, _, heads, width = value.shape
    queries, points = sampling.weights.shape[1], sampling.weights.shape[-1]
    total = value.new_zeros(batch * heads, width, queries)
    start = 0
    for level, (h, w) in enumerate(spatial_shapes):
        # (B, hw, H, C) -> (BH, C, h, w)
        table = value[:, start : start + h * w].permute(0, 2, 3, 1).reshape(-1, width, h, w)
        # (B, Q, H, N, 2) -> (BH, Q, N, 2), in -1..1
        grid = sampling.locations[:, :, :, level].transpose(1, 2).flatten(0, 1) * 2 - 1
        samples = F.grid_sample(table, grid, padding_mode="zeros", align_corners=False)
        weights = sampling.weights[:, :, :, level].transpose(1, 2)
        total = total + (samples * weights.reshape(-1, 1, queries, points)).sum(-1)
        start += h * w
    # (BH, C, Q) -> (B, Q, HC)
    return total.view(batch, heads * width, queries).transpose(1, 2)


def sample_by_bag(value: Tensor, spatial_shapes: SpatialShapes, sampling: Sampling) -> Tensor:
    """As `sample_by_grid`, by one weighted sum over table rows; no gradient.

    Args:
        value: (B, S, H, D / H).
        spatial_shapes: (height, width) of each level.
        sampling: locations and weights.

    Returns:
        (B, Q, D).
    """
    batch, tokens, heads, width = value.shape
    queries, points = sampling.weights.shape[1], sampling.weights.shape[-1]
    levels = len(spatial_shapes)
    indices = torch.empty(batch, queries, heads, levels, points, 4, dtype=torch.int32)
    weights = torch.empty(indices.shape, dtype=value.dtype)
    start = 0
    for level, shape in enumerate(spatial_shapes):
        corner_indices, corner_weights = _bilinear_corners(
            sampling.locations[:, :, :, level].to(value.dtype), shape
        )
        indices[:, :, :, level] = (corner_indices + start) * heads
        weights[:, :, :, level] = corner_weights * sampling.weights[:, :, :, level, :, None]
        start += shape[0] * shape[1]
    # Row of (token, head) in the flattened table is token * H + head, after the images before.
    indices += torch.arange(heads, dtype=torch.int32)[:, None, None, None]
    indices += (torch.arange(batch, dtype=torch.int32) * (tokens * heads))[
        :, None, None, None, None, None
    ]
    bags = indices.view(batch * queries * heads, -1)
    rows = F.embedding_bag(
        bags, value.reshape(-1, width), mode="sum", per_sample_weights=weights.view(bags.shape)
    )
    return rows.view(batch, queries, heads * width)


def _bilinear_corners(locations: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Four corners of each place: (..., 2) 0-1 -> (..., 4) int32 token and (..., 4) weight.

    A corner outside the level has weight 0 and any valid index.
    """
    h, w = shape
    x = locations[..., 0] * w - 0.5
    y = locations[..., 1] * h - 0.5
    # Places far outside count as just outside: the cast to int32 must not overflow.
    x, y = x.clamp(-2, w + 1), y.clamp(-2, h + 1)
    x_low, y_low = x.floor(), y.floor()
    x_weight, y_weight = x - x_low, y - y_low
    column, row = x_low.int(), y_low.int()
    left = (1 - x_weight) * ((column >= 0) & (column < w))
    right = x_weight * ((column >= -1) & (column < w - 1))
    top = (1 - y_weight) * ((row >= 0) & (row < h))
    bottom = y_weight * ((row >= -1) & (row < h - 1))
    first, second = column.clamp(0, w - 1), (column + 1).clamp(0, w - 1)
    upper, lower = row.clamp(0, h - 1) * w, (row + 1).clamp(0, h - 1) * w
    indices = torch.stack([upper + first, upper + second, lower + first, lower + second], -1)
    weights = torch.stack([top * left, top * right, bottom * left, bottom * right], -1)
    return indices, weights


class DeformableAttention(nn.Module):
    """Each query looks at a few learned places around its reference, on every level."""

    def __init__(self, width: int, heads: int, levels: int, points: int) -> None:
        """`width` D, `heads` H, `levels` L, `points` N a level and head."""
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.value_proj = nn.Linear(width, width)
        self.sampling_offsets = nn.Linear(width, heads * levels * points * 2)
        self.attention_weights = nn.Linear(width, heads * levels * points)
        self.output_proj = nn.Linear(width, width)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Offsets start as rays, one direction a head, one step longer with each point."""
        nn.init.zeros_(self.sampling_offsets.weight)
        angle = torch.arange(self.heads) * (2 * math.pi / self.heads)
        ray = torch.stack([angle.cos(), angle.sin()], -1)
        ray = ray / ray.abs().max(-1, keepdim=True).values
        steps = torch.arange(1, self.points + 1)
        # (H, 2) -> (H, L, N, 2)
        offsets = (ray[:, None, None] * steps[:, None]).expand(-1, self.levels, -1, -1)
        self.sampling_offsets.bias.copy_(offsets.reshape(-1))
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for projection in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)

    def value(self, encoded_tokens: Tensor, padding_mask: Tensor | None) -> Tensor:
        """(B, S, D) tokens -> (B, S, H, D / H) values, zero on padding."""
        value = self.value_proj(encoded_tokens)
        if padding_mask is not None:
            value = value.masked_fill(padding_mask[..., None], 0.0)
        return value.unflatten(-1, (self.heads, -1))

    def offsets(self, queries: Tensor) -> Tensor:
        """(B, Q, D) -> (B, Q, H, L, N, 2)."""
        return self.sampling_offsets(queries).unflatten(
            -1, (self.heads, self.levels, self.points, 2)
        )

    def weights(self, queries: Tensor) -> Tensor:
        """(B, Q, D) -> (B, Q, H, L, N), softmax over levels and points together."""
        logits = self.attention_weights(queries).unflatten(-1, (self.heads, -1))
        return logits.softmax(-1).unflatten(-1, (self.levels, self.points))

    def around_points(self, queries: Tensor, points: Tensor, shapes: SpatialShapes) -> Sampling:
        """Places around reference points (B, Q, L, 2): offsets count in cells of the level."""
        sizes = torch.tensor([(w, h) for h, w in shapes], dtype=points.dtype, device=points.device)
        offsets = self.offsets(queries) / sizes[:, None]
        return Sampling(points[:, :, None, :, None] + offsets, self.weights(queries))

    def around_boxes(self, queries: Tensor, boxes: Tensor) -> Sampling:
        """Places around reference boxes (B, Q, L, 4): N steps make half the box."""
        offsets = self.offsets(queries) / self.points * 0.5
        boxes = boxes[:, :, None, :, None]
        locations = boxes[..., :2] + offsets * boxes[..., 2:]
        return Sampling(locations, self.weights(queries))

    def gather(self, value: Tensor, shapes: SpatialShapes, sampling: Sampling) -> Tensor:
        """Read `value` at the places of `sampling` and project: -> (B, Q, D)."""
        differentiable = torch.is_grad_enabled() or value.device.type != "cpu"
        sample = sample_by_grid if differentiable else sample_by_bag
        return self.output_proj(sample(value, shapes, sampling))


def scale_to_levels(boxes: Tensor, encoded: EncodedImage) -> Tensor:
    """Boxes (B, Q, 4) of the un-padded image -> (B, Q, L, 4), 0-1 of each padded level."""
    ratios = encoded.valid_ratios
    return boxes[:, :, None] * torch.cat([ratios, ratios], -1)[:, None]
