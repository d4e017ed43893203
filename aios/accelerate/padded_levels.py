"""Bilinear sampling on a CPU as a weighted sum of table rows, by `embedding_bag`.

Every bilinear corner is one row of the bag. On a CPU this is several times as fast as
`grid_sample`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..network.sampling import Sampling, SpatialShapes

TOKENS_AT_ONCE = 1024
"""Tokens per step: intermediate results stay in the cache and their memory is reused."""


class PaddedLevels:
    """Image tokens as a table in which every level has a border of zero rows.

    A corner just outside a level reads a zero row, so only locations beyond the border need
    clamping. A level of h x w tokens takes h + 2 lines of w + 1 rows: the last row of a line is
    also the border before the next line. Each row is split into one row per head.
    Letters beyond the legend: HLN = H * L * N, in that order.
    """

    def __init__(
        self, spatial_shapes: SpatialShapes, heads: int, points: int, dtype: torch.dtype
    ) -> None:
        """Tables for images of these levels; `dtype` of locations, weights and values."""
        self.shapes, self.heads, self.points = spatial_shapes, heads, points
        firsts, rows = [], []
        count = 1
        for h, w in spatial_shapes:
            firsts.append(count + w + 1)
            lines = torch.arange(h)[:, None] * (w + 1) + firsts[-1]
            rows.append((lines + torch.arange(w)).flatten())
            count += (h + 2) * (w + 1)
        self._token_rows = torch.cat(rows)
        # Rows after the last line: the lower right corner may lie this far below the upper left.
        self._reach = max(w for _, w in spatial_shapes) + 2
        self._count = count + self._reach
        self._head = torch.arange(heads, dtype=dtype).repeat_interleave(len(firsts) * points)
        self._line = self.per_point([w + 1.0 for _, w in spatial_shapes], dtype) * heads
        self._first = self.per_point([float(first) for first in firsts], dtype) * heads + self._head
        self._right = self.per_point([float(w) for _, w in spatial_shapes], dtype)
        self._bottom = self.per_point([float(h) for h, _ in spatial_shapes], dtype)
        below = self._line.int().view(heads, 1, -1)
        right = torch.full_like(below, heads)
        self._corners = torch.cat([torch.zeros_like(below), right, below, below + right], 1)

    def per_point(self, levels: Sequence[float] | Tensor, dtype: torch.dtype) -> Tensor:
        """Repeat one number per level (..., L) for every head and point -> (..., HLN)."""
        values = torch.as_tensor(levels, dtype=dtype).repeat_interleave(self.points, -1)
        return values.repeat(*[1] * (values.ndim - 1), self.heads)

    def points_in_cells(self, references: Tensor) -> tuple[Tensor, Tensor]:
        """Points (..., L, 2) 0-1 of each level -> x and y (..., HLN) in cells.

        0 is the centre of the first cell.
        """
        cells = references * references.new_tensor([(w, h) for h, w in self.shapes]) - 0.5
        x, y = (self.per_point(part, references.dtype) for part in cells.unbind(-1))
        return x, y

    def boxes_in_cells(self, boxes: Tensor) -> list[Tensor]:
        """Boxes (Q, L, 4) 0-1 of each level -> x, y, width, height, each (Q, HLN) in cells."""
        cells = boxes * boxes.new_tensor([(w, h, w, h) for h, w in self.shapes])
        cells[..., :2] -= 0.5
        return [self.per_point(part, boxes.dtype) for part in cells.unbind(-1)]

    def sampling(self, x: Tensor, y: Tensor, weights: Tensor) -> Sampling:
        """Arguments of `sample` for one image as a `Sampling` with a batch of 1."""
        shape = (self.heads, len(self.shapes), self.points)
        sizes = x.new_tensor([(w, h) for h, w in self.shapes])
        cells = torch.stack([x, y], -1).unflatten(1, shape)
        return Sampling(((cells + 0.5) / sizes[:, None])[None], weights.view(1, -1, *shape))

    def tables(
        self,
        project: Callable[[Tensor], Tensor],
        tokens: Tensor,
        padding_mask: Tensor | None,
        count: int = 1,
    ) -> list[Tensor]:
        """Tables of projected values of one image, computed by one product.

        Args:
            project: D -> count * D.
            tokens: (S, D) of one image.
            padding_mask: (S,) True where values are set to 0, or None.
            count: number of tables, consecutive in the output of `project`.

        Returns:
            `count` tables (R, D), R rows including borders.
        """
        tables = [tokens.new_zeros(self._count, tokens.shape[1]) for _ in range(count)]
        for start in range(0, len(tokens), TOKENS_AT_ONCE):
            part = slice(start, start + TOKENS_AT_ONCE)
            values = project(tokens[part])
            if padding_mask is not None:
                values.masked_fill_(padding_mask[part, None], 0.0)
            for table, value in zip(tables, values.chunk(count, -1), strict=True):
                table.index_copy_(0, self._token_rows[part], value)
        return tables

    def sample(self, table: Tensor, x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
        """Weighted bilinear samples.

        Args:
            table: (R, D) of one image.
            x: (Q, HLN) locations in cells of their level, 0 is the centre of the first cell.
            y: (Q, HLN) the same.
            weights: (Q, HLN) or (Q, H, LN).

        Returns:
            (Q, D).
        """
        x = torch.minimum(x, self._right).clamp_min_(-1)
        y = torch.minimum(y, self._bottom).clamp_min_(-1)
        column, line = x.floor(), y.floor()
        # Integers in float32 are exact up to 2 ** 24, a hundred times the largest table.
        row = torch.addcmul(self._first, line, self._line).add_(column, alpha=self.heads).int()
        # NaN casts to an arbitrary integer; clamp it into the table.
        upper_left = row.clamp_(0, (self._count - self._reach) * self.heads - 1)
        # All corners of a query and head together: (Q, HLN) -> (Q, H, 4, LN)
        one_head = self.heads, 1, -1
        indices = upper_left.unflatten(1, one_head) + self._corners
        right, down = (z.unflatten(1, one_head) for z in (x.sub_(column), y.sub_(line)))
        corner_weights = _corner_weights(weights.view(right.shape), right, down)
        # (R, D) -> (R * H, D / H)
        table = table.view(-1, table.shape[1] // self.heads)
        bag = -1, indices.shape[2] * indices.shape[3]
        sums = F.embedding_bag(
            indices.view(bag), table, mode="sum", per_sample_weights=corner_weights.view(bag)
        )
        return sums.view(len(x), -1)


def _corner_weights(weights: Tensor, right: Tensor, down: Tensor) -> Tensor:
    """Split weights among the four bilinear corners: (Q, H, 1, LN) each -> (Q, H, 4, LN).

    `right` and `down` are the distances from the upper left corner, 0-1. Corners are in the order
    upper left, upper right, lower left, lower right.
    """
    corners = weights.new_empty(*weights.shape[:2], 4, weights.shape[3])
    lower = weights * down
    for first, line in ((0, weights - lower), (2, lower)):
        left_part, right_part = (corners[:, :, k : k + 1] for k in (first, first + 1))
        torch.mul(line, right, out=right_part)
        torch.sub(line, right_part, out=left_part)
    return corners
