"""One decoder layer: person attention, deformable attention to the image, feed-forward network."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .config import AiOSConfig
from .deformable_attention import DeformableAttention
from .outputs import EncodedImage
from .person_attention import PersonAttention
from .queries import TokenLayout
from .sampling import Sampling


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention and feed-forward network; post-norm."""

    def __init__(self, config: AiOSConfig) -> None:
        """Sizes from `config`."""
        super().__init__()
        width = config.hidden_dim
        self.self_attn = PersonAttention(width, config.num_heads, config.self_attention)
        self.norm2 = nn.LayerNorm(width)
        self.cross_attn = DeformableAttention(
            width, config.num_heads, config.num_levels, config.num_points
        )
        self.norm1 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, config.feedforward_dim)
        self.linear2 = nn.Linear(config.feedforward_dim, width)
        self.norm3 = nn.LayerNorm(width)

    def forward(
        self,
        tokens: Tensor,
        position: Tensor,
        boxes: Tensor,
        encoded: EncodedImage,
        layout: TokenLayout,
        blocked: Tensor | None,
    ) -> tuple[Tensor, Sampling]:
        """Run on N prefix tokens and T tokens of each of P people.

        Args:
            tokens: (B, N + P * T, D).
            position: (B, N + P * T, D) position encoding of the boxes.
            boxes: (B, N + P * T, L, 4) cxcywh, 0-1 of each padded level.
            encoded: the image.
            layout: T and which tokens are boxes.
            blocked: see `PersonAttention`.

        Returns:
            New tokens, and the sampling points of the cross-attention.
        """
        tokens = self.norm2(tokens + self.self_attn(tokens, position, layout, blocked))
        attended, sampling = self.cross_attn(
            tokens + position,
            boxes,
            encoded.memory,
            encoded.padding_mask,
            encoded.spatial_shapes,
        )
        tokens = self.norm1(tokens + attended)
        tokens = self.norm3(tokens + self.linear2(F.relu(self.linear1(tokens))))
        return tokens, sampling
