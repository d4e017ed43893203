"""Multi-scale deformable attention (specification section 4), without a build step.

Places are chosen here and read by `sampling`; on a GPU a Triton kernel reads them (see
`kernel_choice`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..accelerate.kernel_choice import kernel_for
from .autocast import outside_autocast
from .constants import SpatialShapes, level_sizes
from .outputs import EncodedImage
from .sampling import Sampling, TokenRows, sample_by_bag, sample_by_grid


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
        self.joint: nn.Module | None = None
        """A faster layer of `joint_weights`, where somebody has made one."""
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

    @outside_autocast
    def offsets(self, queries: Tensor) -> Tensor:
        """(B, Q, D) -> (B, Q, H, L, N, 2)."""
        return self.sampling_offsets(queries).unflatten(
            -1, (self.heads, self.levels, self.points, 2)
        )

    @outside_autocast
    def weights(self, queries: Tensor) -> Tensor:
        """(B, Q, D) -> (B, Q, H, L, N), softmax over levels and points together."""
        logits = self.attention_weights(queries).unflatten(-1, (self.heads, -1))
        return logits.softmax(-1).unflatten(-1, (self.levels, self.points))

    def offsets_and_weights(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """(B, Q, D) -> (B, Q, H, L, N, 2) and (B, Q, H, L, N)."""
        return self.offsets(queries), self.weights(queries)

    def around_points(self, queries: Tensor, points: Tensor, shapes: SpatialShapes) -> Sampling:
        """Places around reference points (B, Q, L, 2): offsets count in cells of the level."""
        sizes = level_sizes(tuple(shapes), points.dtype, points.device)
        offsets, weights = self.offsets_and_weights(queries)
        return Sampling(points[:, :, None, :, None] + offsets / sizes[:, None], weights)

    def around_boxes(self, queries: Tensor, boxes: Tensor) -> Sampling:
        """Places around reference boxes (B, Q, L, 4): N steps make half the box."""
        offsets, weights = self.offsets_and_weights(queries)
        boxes = boxes[:, :, None, :, None]
        locations = boxes[..., :2] + offsets / self.points * 0.5 * boxes[..., 2:]
        return Sampling(locations, weights)

    def joint_weights(self) -> tuple[Tensor, Tensor]:
        """Offsets in x, offsets in y and logits of the weights as one layer: D -> 3 HLN."""
        offsets, logits = self.sampling_offsets, self.attention_weights
        weight = torch.cat([offsets.weight[0::2], offsets.weight[1::2], logits.weight])
        return weight, torch.cat([offsets.bias[0::2], offsets.bias[1::2], logits.bias])

    def joint_projection(self) -> Callable[[Tensor], Tensor]:
        """The layer of `joint_weights`, to be used more than once."""
        if self.joint is not None:
            return self.joint
        weight, bias = self.joint_weights()
        return partial(F.linear, weight=weight, bias=bias)

    def look(
        self,
        queries: Tensor,
        table: Tensor,
        rows: TokenRows,
        centres: tuple[Tensor, Tensor],
        steps: tuple[Tensor, Tensor] | None = None,
        record: list[Sampling] | None = None,
    ) -> Tensor:
        """Choose places, read them from a table and project; on a CPU, without gradient.

        Args:
            queries: (Q, D) of one image.
            table: (any, D) of `rows`.
            rows: of the levels of the image.
            centres: columns and lines (Q, HLN) from which offsets count, in cells.
            steps: cells an offset of 1 is long, in x and y (Q, HLN); None: one.
            record: where to append the places, of a batch of 1.

        Returns:
            (Q, D).
        """
        x, y, logits = self.joint_projection()(queries).chunk(3, -1)
        weights = logits.unflatten(-1, (self.heads, -1)).softmax(-1)
        if steps is None:
            places = centres[0] + x, centres[1] + y
        else:
            places = torch.addcmul(centres[0], x, steps[0]), torch.addcmul(centres[1], y, steps[1])
        if record is not None:
            record.append(rows.sampling(*places, weights))
        return self.output_proj(rows.sample(table, *places, weights))

    def gather(self, value: Tensor, shapes: SpatialShapes, sampling: Sampling) -> Tensor:
        """Read `value` at the places of `sampling` and project: -> (B, Q, D)."""
        if not torch.is_grad_enabled() and value.device.type == "cpu":
            return self.output_proj(sample_by_bag(value, shapes, sampling))
        sample = kernel_for(value, sampling) or sample_by_grid
        return self.output_proj(sample(value, shapes, sampling))


def scale_to_levels(boxes: Tensor, encoded: EncodedImage) -> Tensor:
    """Boxes (B, Q, 4) of the un-padded image -> (B, Q, L, 4), 0-1 of each padded level."""
    ratios = encoded.valid_ratios
    return boxes[:, :, None] * torch.cat([ratios, ratios], -1)[:, None]
