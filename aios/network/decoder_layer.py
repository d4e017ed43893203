"""One layer of the decoder: people see each other, then the image (specification 8 and 9)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import AiOSConfig
from .constants import index_tensor
from .deformable_attention import DeformableAttention
from .outputs import EncodedImage
from .queries import LOCATE, TokenLayout
from .sampling import TOKENS_AT_ONCE, Sampling, TokenRows


class PersonAttention(nn.Module):
    """Self-attention in which people meet only through their boxes (specification section 9).

    A point token sees the tokens of its own person; a box token sees those and the box tokens of
    everybody.  The dense mask is never built: points attend in blocks of one person, boxes by one
    softmax over their own person and the others' boxes.

    The paper's other two formats: "full", every token sees every other; "inter_human", boxes see
    the boxes of everybody and a point sees itself alone.
    """

    def __init__(self, width: int, heads: int, form: str = "aios") -> None:
        """`width` D, `heads` H, `form` as `AiOSConfig.self_attention`."""
        super().__init__()
        self.heads = heads
        self.form = form
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        self.faster: tuple[nn.Module, nn.Module] | None = None
        """Faster layers of `projections`, where somebody has made them."""
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self, tokens: Tensor, position: Tensor, layout: TokenLayout, blocked: Tensor | None
    ) -> Tensor:
        """Attend.

        Args:
            tokens: (B, N + P * T, D); N prefix tokens, then person after person.
            position: same shape, added for queries and keys.
            layout: says T and which tokens are boxes.
            blocked: (B, N, N) bool among the prefix, or None where there is none.

        Returns:
            Same shape as `tokens`.
        """
        for_query_key, for_value = self.faster or (
            partial(F.linear, weight=weight, bias=bias) for weight, bias in self.projections()
        )
        query_key, value = for_query_key(tokens + position), for_value(tokens)
        # (B, S, D) -> (B, H, S, C)
        q, k, v = (
            x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for x in (*query_key.chunk(2, -1), value)
        )
        count = 0 if blocked is None else blocked.shape[1]
        own = self._among_people(q[:, :, count:], k[:, :, count:], v[:, :, count:], layout)
        if blocked is not None:
            allowed = F.pad(~blocked, (0, k.shape[2] - count), value=True)[:, None]
            prefix = F.scaled_dot_product_attention(q[:, :, :count], k, v, allowed)
            own = torch.cat([prefix, own], 2)
        return self.out_proj(own.transpose(1, 2).flatten(2))

    def projections(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Weight and bias of the layers to queries and keys, D -> 2 D, and to values, D -> D."""
        width = self.in_proj_weight.shape[1]
        weight = self.in_proj_weight.split([2 * width, width])
        bias = self.in_proj_bias.split([2 * width, width])
        return (weight[0], bias[0]), (weight[1], bias[1])

    def _among_people(self, q: Tensor, k: Tensor, v: Tensor, layout: TokenLayout) -> Tensor:
        """Each (B, H, P * T, C) -> (B, H, P * T, C)."""
        if layout is LOCATE or self.form == "full":
            return F.scaled_dot_product_attention(q, k, v)
        # (B, H, P * T, C) -> (B, H, P, T, C)
        q, k, v = (x.unflatten(2, (-1, layout.num_tokens)) for x in (q, k, v))
        boxes = index_tensor(layout.box_tokens, q.device)
        points = index_tensor(layout.point_tokens, q.device)
        if self.form == "inter_human":
            mixed = v.clone()
            q, k, v = (x[:, :, :, boxes].flatten(2, 3) for x in (q, k, v))
            seen = F.scaled_dot_product_attention(q, k, v)
            mixed[:, :, :, boxes] = seen.unflatten(2, (-1, len(boxes)))
            return mixed.flatten(2, 3)
        mixed = torch.empty_like(q)
        mixed[:, :, :, points] = F.scaled_dot_product_attention(q[:, :, :, points], k, v)
        mixed[:, :, :, boxes] = _box_attention(q[:, :, :, boxes], k, v, boxes)
        return mixed.flatten(2, 3)


def _box_attention(q: Tensor, k: Tensor, v: Tensor, boxes: Tensor) -> Tensor:
    """Box rows: one softmax over all tokens of the own person and the other people's boxes.

    Args:
        q: (B, H, P, 4, C).
        k: (B, H, P, T, C).
        v: (B, H, P, T, C).
        boxes: (4,) int64, which of the T tokens are boxes.

    Returns:
        (B, H, P, 4, C).
    """
    people, tokens = k.shape[2:4]
    q = q * q.shape[-1] ** -0.5
    own = q @ k.transpose(-1, -2)
    # (B, H, P, 4, C) -> (B, H, P * 4, C)
    key, value = k[:, :, :, boxes].flatten(2, 3), v[:, :, :, boxes].flatten(2, 3)
    others = (q.flatten(2, 3) @ key.transpose(-1, -2)).unflatten(2, (people, len(boxes)))
    same = torch.eye(people, dtype=torch.bool, device=q.device).repeat_interleave(len(boxes), 1)
    others = others.masked_fill(same[:, None], -torch.inf)
    weights = torch.cat([own, others], -1).softmax(-1)
    own, others = weights.split([tokens, others.shape[-1]], -1)
    return own @ v + (others.flatten(2, 3) @ value).unflatten(2, (people, len(boxes)))


@dataclass(frozen=True)
class LayerValues:
    """What one layer may read of the image, ready for a CPU in inference."""

    rows: TokenRows
    tables: list[Tensor]
    """One (any, D) an image."""


class DecoderLayer(nn.Module):
    """Self-attention, deformable attention to the image, feed-forward; post-norm."""

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
        values: LayerValues | None,
        keep_places: bool,
    ) -> tuple[Tensor, Sampling | None]:
        """Run on N prefix tokens and T tokens of each of P people.

        Args:
            tokens: (B, N + P * T, D).
            position: the same shape.
            boxes: (B, N + P * T, L, 4), on levels.
            encoded: the image.
            layout: says T and which tokens are boxes.
            blocked: see `PersonAttention`.
            values: of this layer, on a CPU in inference.
            keep_places: also give where the layer looked; without `values` it is always given.

        Returns:
            New tokens, and where the layer looked.
        """
        tokens = self.mix(tokens, position, layout, blocked)
        if values is not None:
            places: list[list[Sampling]] | None = [[] for _ in tokens] if keep_places else None
            return self.look(tokens, position, boxes, values, places), _joined(places)
        attn = self.cross_attn
        value = attn.value(encoded.memory, encoded.padding_mask)
        sampling = attn.around_boxes(tokens + position, boxes)
        seen = attn.gather(value, encoded.spatial_shapes, sampling)
        tokens = self.norm1(tokens + seen)
        tokens = self.norm3(tokens + self.linear2(F.relu(self.linear1(tokens))))
        return tokens, sampling

    def mix(
        self, tokens: Tensor, position: Tensor, layout: TokenLayout, blocked: Tensor | None
    ) -> Tensor:
        """The first part, in which tokens see each other."""
        return self.norm2(tokens + self.self_attn(tokens, position, layout, blocked))

    def look(
        self,
        tokens: Tensor,
        position: Tensor,
        boxes: Tensor,
        values: LayerValues,
        places: list[list[Sampling]] | None = None,
    ) -> Tensor:
        """The rest, in which each token is on its own: any choice of them (B, Q, ...) will do.

        `places`, if given, gets where they looked: for each image one entry after the other.
        """
        attn, rows = self.cross_attn, values.rows
        result = torch.empty_like(tokens)
        for image in range(len(tokens)):
            for start in range(0, tokens.shape[1], TOKENS_AT_ONCE):
                part = image, slice(start, start + TOKENS_AT_ONCE)
                # (Q, L, 4) -> four times (Q, HLN), in cells
                x, y, width, height = rows.boxes_in_cells(boxes[part])
                half_step = 0.5 / attn.points
                steps = width.mul_(half_step), height.mul_(half_step)
                given = tokens[part]
                record = places[image] if places is not None else None
                seen = attn.look(
                    given + position[part], values.tables[image], rows, (x, y), steps, record
                )
                given = self.norm1(seen.add_(given))
                hidden = F.relu_(self.linear1(given))
                result[part] = self.norm3(self.linear2(hidden).add_(given))
        return result


def _joined(places: list[list[Sampling]] | None) -> Sampling | None:
    if places is None:
        return None
    parts = [
        (
            torch.cat([part.locations for part in image], 1),
            torch.cat([part.weights for part in image], 1),
        )
        for image in places
    ]
    locations, weights = (torch.cat(values) for values in zip(*parts, strict=True))
    return Sampling(locations, weights)
