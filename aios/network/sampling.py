"""Where deformable attention looks, and reading image tokens there (specification section 4).

Two ways to the same numbers: `sample_by_grid` is differentiable and runs anywhere;
`sample_by_bag` reads every bilinear corner as one row of a weighted `embedding_bag`, which is
several times as fast on a CPU and is used there when no gradient is wanted.  `TokenRows` does the
latter for one image with what does not change between layers worked out once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .constants import SpatialShapes

TOKENS_AT_ONCE = 1024
"""On a CPU in inference: what is in work stays in the cache, and no memory is fresh."""


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
    # Values may be of half precision, places never are.
    value = value.to(sampling.locations.dtype)
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
    rows = TokenRows(spatial_shapes, value.shape[2], sampling.weights.shape[-1], value.dtype)
    tables = [rows.tables(torch.Tensor.clone, image.flatten(1), None)[0] for image in value]
    # In cells, 0 the middle of the first one; (B, Q, H, L, N, 2) -> (B, Q, HLN) each.
    sizes = torch.tensor([(w, h) for h, w in spatial_shapes], dtype=value.dtype)
    cells = sampling.locations.to(value.dtype) * sizes[:, None] - 0.5
    x, y, weights = (z.flatten(2) for z in (cells[..., 0], cells[..., 1], sampling.weights))
    images = [
        rows.sample(table, *places) for table, *places in zip(tables, x, y, weights, strict=True)
    ]
    return torch.stack(images)


class TokenRows:
    """Image tokens as a table in which every level has a border of zero rows.

    A corner just outside a level is then a row of zeros like any other row, and nothing needs to
    be asked of places but to lie within the border.  A level of h x w tokens takes h + 2 lines of
    w + 1 rows: the last row of a line is also the border before the next line.  Each row is cut
    into one row a head.  Letters beyond the legend: HLN = H * L * N, in that order.
    """

    def __init__(
        self, spatial_shapes: SpatialShapes, heads: int, points: int, dtype: torch.dtype
    ) -> None:
        """Tables for images of these levels; `dtype` is that of places, weights and values."""
        self.shapes, self.heads, self.points = spatial_shapes, heads, points
        firsts, places = [], []
        count = 1
        for h, w in spatial_shapes:
            firsts.append(count + w + 1)
            lines = torch.arange(h)[:, None] * (w + 1) + firsts[-1]
            places.append((lines + torch.arange(w)).flatten())
            count += (h + 2) * (w + 1)
        self._places = torch.cat(places)
        # Behind the last line as many rows as the lower right corner may lie below the place.
        self._reach = max(w for _, w in spatial_shapes) + 2
        self._count = count + self._reach
        self._head = torch.arange(heads, dtype=dtype).repeat_interleave(len(firsts) * points)
        self._line = self.per_place([w + 1.0 for _, w in spatial_shapes], dtype) * heads
        self._first = self.per_place([float(first) for first in firsts], dtype) * heads + self._head
        self._right = self.per_place([float(w) for _, w in spatial_shapes], dtype)
        self._bottom = self.per_place([float(h) for h, _ in spatial_shapes], dtype)
        below = self._line.int().view(heads, 1, -1)
        right = torch.full_like(below, heads)
        self._corners = torch.cat([torch.zeros_like(below), right, below, below + right], 1)

    def per_place(self, levels: Sequence[float] | Tensor, dtype: torch.dtype) -> Tensor:
        """One number a level (..., L) -> the same for every head and point (..., HLN)."""
        numbers = torch.as_tensor(levels, dtype=dtype).repeat_interleave(self.points, -1)
        return numbers.repeat(*[1] * (numbers.ndim - 1), self.heads)

    def boxes_in_cells(self, boxes: Tensor) -> list[Tensor]:
        """Boxes (Q, L, 4) 0-1 of each level -> four times (Q, HLN): x, y, width, height."""
        sizes = boxes.new_tensor([(w, h, w, h) for h, w in self.shapes])
        cells = boxes * sizes
        cells[..., :2] -= 0.5
        return [self.per_place(part, boxes.dtype) for part in cells.unbind(-1)]

    def sampling(self, x: Tensor, y: Tensor, weights: Tensor) -> Sampling:
        """What `sample` takes of one image in the other form, with a batch of 1."""
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
        """Tables of values, all of them made by one product.

        Args:
            project: D -> count * D.
            tokens: (S, D) of one image.
            padding_mask: (S,) True where values shall be 0, or None.
            count: of tables, one after the other in what `project` gives.

        Returns:
            `count` times (any, D).
        """
        tables = [tokens.new_zeros(self._count, tokens.shape[1]) for _ in range(count)]
        for start in range(0, len(tokens), TOKENS_AT_ONCE):
            part = slice(start, start + TOKENS_AT_ONCE)
            values = project(tokens[part])
            if padding_mask is not None:
                values.masked_fill_(padding_mask[part, None], 0.0)
            for table, value in zip(tables, values.chunk(count, -1), strict=True):
                table.index_copy_(0, self._places[part], value)
        return tables

    def sample(self, table: Tensor, x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
        """Weighted bilinear samples.

        Args:
            table: (any, D) of one image.
            x: (Q, HLN) columns of places, in cells of their level, 0 the middle of the first.
            y: (Q, HLN) lines of places.
            weights: (Q, HLN) or (Q, H, LN).

        Returns:
            (Q, D).
        """
        x = torch.minimum(x, self._right).clamp_min_(-1)
        y = torch.minimum(y, self._bottom).clamp_min_(-1)
        column, line = x.floor(), y.floor()
        # Whole numbers of a float are exact up to 2 ** 24, a hundred times the largest table.
        row = torch.addcmul(self._first, line, self._line).add_(column, alpha=self.heads).int()
        # A place that is no number becomes any integer: it must not lead out of the table.
        upper_left = row.clamp_(0, (self._count - self._reach) * self.heads - 1)
        # All corners of a query and head together: (Q, HLN) -> (Q, H, 4, LN)
        one_head = self.heads, 1, -1
        indices = upper_left.unflatten(1, one_head) + self._corners
        right, down = (z.unflatten(1, one_head) for z in (x.sub_(column), y.sub_(line)))
        shares = _corner_shares(weights.view(right.shape), right, down)
        # (any, D) -> (any * H, D / H)
        table = table.view(-1, table.shape[1] // self.heads)
        bag = -1, indices.shape[2] * indices.shape[3]
        sums = F.embedding_bag(
            indices.view(bag), table, mode="sum", per_sample_weights=shares.view(bag)
        )
        return sums.view(len(x), -1)


def _corner_shares(weights: Tensor, right: Tensor, down: Tensor) -> Tensor:
    """Split weights among the corners around places: (Q, H, 1, LN) each -> (Q, H, 4, LN).

    `right` and `down` are how far the places lie from the upper left corner, 0-1.  Corners are in
    the order upper left, upper right, lower left, lower right.
    """
    shares = weights.new_empty(*weights.shape[:2], 4, weights.shape[3])
    lower = weights * down
    for first, line in ((0, weights - lower), (2, lower)):
        left_share, right_share = (shares[:, :, k : k + 1] for k in (first, first + 1))
        torch.mul(line, right, out=right_share)
        torch.sub(line, right_share, out=left_share)
    return shares
