"""Feature levels to image tokens: the deformable encoder (specification sections 3 and 5)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..geometry.positions import feature_position_code
from .config import AiOSConfig
from .constants import SpatialShapes, level_sizes
from .deformable_attention import DeformableAttention
from .outputs import EncodedImage
from .sampling import TOKENS_AT_ONCE, TokenRows


@dataclass(frozen=True)
class Surroundings:
    """What all layers know of the tokens' places.

    Attributes:
        shapes: (height, width) of each level.
        padding_mask: (B, S) bool, True on padding, or None.
        reference_points: (B, S, L, 2), 0-1 of each padded level.
        rows: how tokens are sampled on a CPU in inference; None elsewhere.
        columns: (B, S, HLN) the references' x in cells, as `TokenRows.sample` wants them.
        lines: (B, S, HLN) the references' y.
    """

    shapes: SpatialShapes
    padding_mask: Tensor | None
    reference_points: Tensor
    rows: TokenRows | None = None
    columns: Tensor | None = None
    lines: Tensor | None = None

    def with_rows(self, heads: int, points: int) -> Surroundings:
        """The same with `rows`, `columns` and `lines`."""
        references = self.reference_points
        if self.padding_mask is None:  # then the same for each image
            references = references[:1]
        sizes = references.new_tensor([(w, h) for h, w in self.shapes])
        cells = references * sizes - 0.5
        rows = TokenRows(self.shapes, heads, points, cells.dtype)
        columns, lines = (
            rows.per_place(part, cells.dtype).expand(len(self.reference_points), -1, -1)
            for part in cells.unbind(-1)
        )
        return replace(self, rows=rows, columns=columns, lines=lines)


class EncoderLayer(nn.Module):
    """Deformable self-attention over the image tokens, then a feed-forward; post-norm."""

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

    def forward(self, tokens: Tensor, position: Tensor, around: Surroundings) -> Tensor:
        """Tokens and position (B, S, D) -> (B, S, D)."""
        attn = self.self_attn
        if around.rows is not None:
            return self._in_parts(tokens, position, around)
        value = attn.value(tokens, around.padding_mask)
        sampling = attn.around_points(tokens + position, around.reference_points, around.shapes)
        tokens = self.norm1(tokens + attn.gather(value, around.shapes, sampling))
        return self.norm2(tokens + self.linear2(F.relu(self.linear1(tokens))))

    def _in_parts(self, tokens: Tensor, position: Tensor, around: Surroundings) -> Tensor:
        """As `forward`, some tokens at a time through everything that follows the values."""
        rows, columns, lines = around.rows, around.columns, around.lines
        assert rows is not None
        assert columns is not None
        assert lines is not None
        attn = self.self_attn
        result = torch.empty_like(tokens)
        for image in range(len(tokens)):
            mask = None if around.padding_mask is None else around.padding_mask[image]
            (table,) = rows.tables(attn.value_proj, tokens[image], mask)
            for start in range(0, tokens.shape[1], TOKENS_AT_ONCE):
                part = image, slice(start, start + TOKENS_AT_ONCE)
                given = tokens[part]
                centres = columns[part], lines[part]
                seen = attn.look(given + position[part], table, rows, centres)
                given = self.norm1(seen.add_(given))
                hidden = F.relu_(self.linear1(given))
                result[part] = self.norm2(self.linear2(hidden).add_(given))
        return result


class Encoder(nn.Module):
    """All encoder layers and the learned code of each level."""

    def __init__(self, config: AiOSConfig) -> None:
        """Sizes from `config`."""
        super().__init__()
        self.level_embed = nn.Parameter(torch.empty(config.num_levels, config.hidden_dim))
        nn.init.normal_(self.level_embed)
        self.heads, self.points = config.num_heads, config.num_points
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))

    def forward(self, levels: list[Tensor], padding_mask: Tensor | None) -> EncodedImage:
        """Encode.

        Args:
            levels: one (B, D, h, w) a level.
            padding_mask: (B, H, W) of the network input, True on padding, or None.

        Returns:
            Image tokens, levels one after the other, each row by row.
        """
        shapes = tuple((level.shape[-2], level.shape[-1]) for level in levels)
        batch = len(levels[0])
        masks = [_level_mask(padding_mask, shape, batch, levels[0].device) for shape in shapes]
        ratios = torch.stack([_valid_ratio(mask) for mask in masks], 1)
        tokens = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], 1)
        position = torch.cat(
            [
                feature_position_code(mask, tokens.shape[-1]).flatten(1, 2) + embed
                for mask, embed in zip(masks, self.level_embed, strict=True)
            ],
            1,
        ).to(tokens.dtype)
        flat_mask = None
        if padding_mask is not None:
            flat_mask = torch.cat([mask.flatten(1) for mask in masks], 1)
        references = _reference_points(shapes, ratios).to(tokens.dtype)
        around = Surroundings(shapes, flat_mask, references)
        if not torch.is_grad_enabled() and tokens.device.type == "cpu":
            around = around.with_rows(self.heads, self.points)
        for layer in self.layers:
            tokens = layer(tokens, position, around)
        return EncodedImage(tokens, flat_mask, shapes, ratios.to(tokens.dtype))


def _level_mask(
    padding_mask: Tensor | None, shape: tuple[int, int], batch: int, device: torch.device
) -> Tensor:
    """Nearest-neighbour (B, h, w) of the full mask; source index is floor(i * in / out)."""
    if padding_mask is None:
        return torch.zeros(batch, *shape, dtype=torch.bool, device=device)
    height, width = padding_mask.shape[1:]
    rows = torch.arange(shape[0], device=device) * height // shape[0]
    columns = torch.arange(shape[1], device=device) * width // shape[1]
    return padding_mask[:, rows[:, None], columns]


def _valid_ratio(mask: Tensor) -> Tensor:
    """(B, h, w) -> (B, 2): valid share of the first row and of the first column."""
    return torch.stack([(~mask[:, 0]).float().mean(1), (~mask[:, :, 0]).float().mean(1)], -1)


def _reference_points(shapes: SpatialShapes, valid_ratios: Tensor) -> Tensor:
    """Middle of each token's cell on every level: (B, S, L, 2), 0-1 of the padded level."""
    points = []
    for level, (h, w) in enumerate(shapes):
        device = valid_ratios.device
        y = torch.linspace(0.5, h - 0.5, h, device=device)[:, None].expand(h, w).flatten()
        x = torch.linspace(0.5, w - 0.5, w, device=device).expand(h, w).flatten()
        size = level_sizes(shapes, valid_ratios.dtype, device)[level]
        points.append(torch.stack([x, y], -1) / (valid_ratios[:, level, None] * size))
    return torch.cat(points, 1)[:, :, None] * valid_ratios[:, None]
