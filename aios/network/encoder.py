"""Deformable transformer encoder: feature levels to image tokens (Deformable DETR, Sec. 4.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..geometry.positions import feature_position_encoding
from .config import AiOSConfig
from .deformable_attention import DeformableAttention
from .outputs import EncodedImage
from .sampling import SpatialShapes, level_sizes


@dataclass(frozen=True)
class LevelContext:
    """Geometry of the image tokens, shared by all encoder layers."""

    spatial_shapes: tuple[tuple[int, int], ...]
    """(height, width) of each level."""
    padding_mask: Tensor | None
    """(B, S) bool, True on padding, or None."""
    valid_ratios: Tensor
    """(B, L, 2) un-padded share of each level in x and y."""
    reference_points: Tensor
    """(B, S, L, 2) centre of each token's cell, 0-1 of each padded level."""


class EncoderLayer(nn.Module):
    """Deformable self-attention over the image tokens, then a feed-forward network; post-norm."""

    def __init__(self, config: AiOSConfig) -> None:
        """Sizes from `config`."""
        super().__init__()
        width = config.hidden_dim
        self.self_attn = DeformableAttention(
            width, config.num_heads, config.num_levels, config.num_points
        )
        self.norm1 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, config.feedforward_dim)
        self.linear2 = nn.Linear(config.feedforward_dim, width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, position: Tensor, context: LevelContext) -> Tensor:
        """Image tokens and their position encoding (B, S, D) -> (B, S, D)."""
        attended, _ = self.self_attn(
            tokens + position,
            context.reference_points,
            tokens,
            context.padding_mask,
            context.spatial_shapes,
        )
        tokens = self.norm1(tokens + attended)
        return self.norm2(tokens + self.linear2(F.relu(self.linear1(tokens))))


class Encoder(nn.Module):
    """All encoder layers and the learned embedding of each level."""

    def __init__(self, config: AiOSConfig) -> None:
        """Sizes from `config`."""
        super().__init__()
        self.level_embed = nn.Parameter(torch.empty(config.num_levels, config.hidden_dim))
        nn.init.normal_(self.level_embed)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))

    def forward(self, levels: list[Tensor], padding_mask: Tensor | None) -> EncodedImage:
        """Encode.

        Args:
            levels: one (B, D, h, w) per level.
            padding_mask: (B, H, W) of the network input, True on padding, or None.

        Returns:
            Image tokens: levels one after the other, each in row-major order.
        """
        tokens, position, context = self.flatten(levels, padding_mask)
        for layer in self.layers:
            tokens = layer(tokens, position, context)
        return EncodedImage(
            tokens, context.padding_mask, context.spatial_shapes, context.valid_ratios
        )

    def flatten(
        self, levels: list[Tensor], padding_mask: Tensor | None
    ) -> tuple[Tensor, Tensor, LevelContext]:
        """Feature levels -> tokens (B, S, D), position encoding (B, S, D), and their geometry."""
        shapes = tuple((level.shape[-2], level.shape[-1]) for level in levels)
        batch = len(levels[0])
        masks = [level_mask(padding_mask, shape, batch, levels[0].device) for shape in shapes]
        ratios = torch.stack([valid_ratio(mask) for mask in masks], 1)
        tokens = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], 1)
        position = torch.cat(
            [
                feature_position_encoding(mask, tokens.shape[-1]).flatten(1, 2) + embed
                for mask, embed in zip(masks, self.level_embed, strict=True)
            ],
            1,
        ).to(tokens.dtype)
        token_mask = None
        if padding_mask is not None:
            token_mask = torch.cat([mask.flatten(1) for mask in masks], 1)
        references = reference_points(shapes, ratios).to(tokens.dtype)
        context = LevelContext(shapes, token_mask, ratios.to(tokens.dtype), references)
        return tokens, position, context


def level_mask(
    padding_mask: Tensor | None, shape: tuple[int, int], batch: int, device: torch.device
) -> Tensor:
    """Padding mask (B, H, W) resized to a level (B, h, w) by nearest neighbour.

    The source index is floor(i * in / out). Without a mask nothing is padding.
    """
    if padding_mask is None:
        return torch.zeros(batch, *shape, dtype=torch.bool, device=device)
    height, width = padding_mask.shape[1:]
    rows = torch.arange(shape[0], device=device) * height // shape[0]
    columns = torch.arange(shape[1], device=device) * width // shape[1]
    return padding_mask[:, rows[:, None], columns]


def valid_ratio(mask: Tensor) -> Tensor:
    """Level mask (B, h, w) -> (B, 2), un-padded share of the first row and first column."""
    return torch.stack([(~mask[:, 0]).float().mean(1), (~mask[:, :, 0]).float().mean(1)], -1)


def reference_points(spatial_shapes: SpatialShapes, valid_ratios: Tensor) -> Tensor:
    """Centre of each token's cell on every level: (B, S, L, 2), 0-1 of the padded level."""
    points = []
    sizes = level_sizes(spatial_shapes, valid_ratios)
    for level, (h, w) in enumerate(spatial_shapes):
        device = valid_ratios.device
        y = torch.linspace(0.5, h - 0.5, h, device=device)[:, None].expand(h, w).flatten()
        x = torch.linspace(0.5, w - 0.5, w, device=device).expand(h, w).flatten()
        points.append(torch.stack([x, y], -1) / (valid_ratios[:, level, None] * sizes[level]))
    return torch.cat(points, 1)[:, :, None] * valid_ratios[:, None]
