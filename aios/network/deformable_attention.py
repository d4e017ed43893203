"""Multi-scale deformable attention (Deformable DETR, Sec. 4.1)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .float32 import float32_under_autocast
from .sampling import Sampling, SpatialShapes, level_sizes, sample_bilinear


class DeformableAttention(nn.Module):
    """Each query reads a few learned sampling points around its reference, on every level."""

    def __init__(self, width: int, heads: int, levels: int, points: int) -> None:
        """`width` D, `heads` H, `levels` L, `points` N per level and head."""
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.value_proj = nn.Linear(width, width)
        self.sampling_offsets = nn.Linear(width, heads * levels * points * 2)
        self.attention_weights = nn.Linear(width, heads * levels * points)
        self.output_proj = nn.Linear(width, width)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Initialise: offsets of a head lie on one ray, one step further with each point."""
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

    def forward(
        self,
        queries: Tensor,
        references: Tensor,
        tokens: Tensor,
        padding_mask: Tensor | None,
        spatial_shapes: SpatialShapes,
    ) -> tuple[Tensor, Sampling]:
        """Attend to the image.

        Args:
            queries: (B, Q, D), position encoding added.
            references: (B, Q, L, 2) points or (B, Q, L, 4) boxes cxcywh, 0-1 of each padded level.
            tokens: (B, S, D) image tokens.
            padding_mask: (B, S) bool, True on padding, or None.
            spatial_shapes: (height, width) of each level.

        Returns:
            (B, Q, D), and the sampling points.
        """
        value = self.value(tokens, padding_mask)
        sampling = self.sampling(queries, references, spatial_shapes)
        return self.output_proj(self.sample(value, spatial_shapes, sampling)), sampling

    def value(self, tokens: Tensor, padding_mask: Tensor | None) -> Tensor:
        """Image tokens (B, S, D) -> values (B, S, H, D / H), zero on padding."""
        value = self.value_proj(tokens)
        if padding_mask is not None:
            value = value.masked_fill(padding_mask[..., None], 0.0)
        return value.unflatten(-1, (self.heads, -1))

    @float32_under_autocast
    def offsets_and_weights(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """(B, Q, D) -> offsets (B, Q, H, L, N, 2), and weights (B, Q, H, L, N).

        The softmax of the weights runs over levels and points together.
        """
        offsets = self.sampling_offsets(queries)
        weights = self.attention_weights(queries).unflatten(-1, (self.heads, -1)).softmax(-1)
        shape = (self.heads, self.levels, self.points)
        return offsets.unflatten(-1, (*shape, 2)), weights.unflatten(-1, shape[1:])

    def sampling(
        self, queries: Tensor, references: Tensor, spatial_shapes: SpatialShapes
    ) -> Sampling:
        """Sampling points of queries (B, Q, D) around `references`, see `forward`.

        Around a point, offsets are in cells of the level. Around a box, N steps reach from its
        centre to its side.
        """
        offsets, weights = self.offsets_and_weights(queries)
        references = references[:, :, None, :, None]
        if references.shape[-1] == 2:
            sizes = level_sizes(spatial_shapes, references)
            return Sampling(references + offsets / sizes[:, None], weights)
        centre, size = references[..., :2], references[..., 2:]
        return Sampling(centre + offsets / self.points * 0.5 * size, weights)

    def sample(self, value: Tensor, spatial_shapes: SpatialShapes, sampling: Sampling) -> Tensor:
        """Values (B, S, H, D / H) at the sampling points, weighted and summed -> (B, Q, D)."""
        return sample_bilinear(value, spatial_shapes, sampling)
