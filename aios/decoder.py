"""The decoder: locate people, refine their bodies, refine the whole body (specification 7-9)."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .boxes import inverse_sigmoid
from .config import AiOSConfig
from .deformable_attention import DeformableAttention, Sampling, scale_to_levels
from .heads import Heads
from .layers import MLP
from .outputs import EncodedImage, LayerAttention, LayerOutput, PrefixQueries
from .positions import box_position_code
from .queries import (
    LOCATE,
    BodyExpansion,
    TokenLayout,
    WholeBodyExpansion,
    layer_layouts,
    select_queries,
)


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
        width = tokens.shape[-1]
        weight, bias = self.in_proj_weight, self.in_proj_bias
        query_key = F.linear(tokens + position, weight[: 2 * width], bias[: 2 * width])
        value = F.linear(tokens, weight[2 * width :], bias[2 * width :])
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

    def _among_people(self, q: Tensor, k: Tensor, v: Tensor, layout: TokenLayout) -> Tensor:
        """Each (B, H, P * T, C) -> (B, H, P * T, C)."""
        if layout is LOCATE or self.form == "full":
            return F.scaled_dot_product_attention(q, k, v)
        # (B, H, P * T, C) -> (B, H, P, T, C)
        q, k, v = (x.unflatten(2, (-1, layout.num_tokens)) for x in (q, k, v))
        boxes, points = list(layout.box_tokens), list(layout.point_tokens)
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


def _box_attention(q: Tensor, k: Tensor, v: Tensor, boxes: list[int]) -> Tensor:
    """Box rows: one softmax over all tokens of the own person and the other people's boxes.

    Args:
        q: (B, H, P, 4, C).
        k: (B, H, P, T, C).
        v: (B, H, P, T, C).
        boxes: which of the T tokens are boxes.

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
    ) -> tuple[Tensor, Sampling]:
        """Tokens and position (B, N + P * T, D), boxes on levels (B, N + P * T, L, 4)."""
        tokens = self.norm2(tokens + self.self_attn(tokens, position, layout, blocked))
        attn = self.cross_attn
        value = attn.value(encoded.memory, encoded.padding_mask)
        sampling = attn.around_boxes(tokens + position, boxes)
        seen = attn.gather(value, encoded.spatial_shapes, sampling)
        tokens = self.norm1(tokens + seen)
        tokens = self.norm3(tokens + self.linear2(F.relu(self.linear1(tokens))))
        return tokens, sampling


@dataclasses.dataclass
class _Queries:
    """What runs through the decoder: content and boxes of the prefix and of the people."""

    content: Tensor
    boxes: Tensor
    prefix_content: Tensor
    prefix_boxes: Tensor

    @property
    def prefix_count(self) -> int:
        return self.prefix_content.shape[1]

    def joined(self) -> tuple[Tensor, Tensor]:
        """Content (B, N + P * T, D) and boxes (B, N + P * T, 4)."""
        return (
            torch.cat([self.prefix_content, self.content.flatten(1, 2)], 1),
            torch.cat([self.prefix_boxes, self.boxes.flatten(1, 2)], 1),
        )


@dataclasses.dataclass(frozen=True)
class DecoderResult:
    """Outputs of the layers asked for, the last one always among them."""

    outputs: tuple[LayerOutput, ...]
    selected_queries: Tensor
    attention: tuple[LayerAttention, ...]


class Decoder(nn.Module):
    """All layers, the growth of the queries between them, and the heads."""

    def __init__(self, config: AiOSConfig) -> None:
        """Sizes from `config`."""
        super().__init__()
        width = config.hidden_dim
        self.num_people = config.num_people
        self.layouts = layer_layouts(config)
        self.first_body = config.locate_layers
        self.first_whole_body = config.locate_layers + config.refine_body_layers
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in self.layouts)
        self.norm = nn.LayerNorm(width)
        self.position_mlp = MLP(2 * width, width, width, num_layers=2)
        self.body_expansion = BodyExpansion(config)
        self.whole_body_expansion = WholeBodyExpansion(config) if config.point_tokens else None
        self.heads = Heads(config)

    def forward(
        self,
        encoded: EncodedImage,
        content: Tensor,
        boxes: Tensor,
        prefix: PrefixQueries | None,
        *,
        aux_outputs: bool,
        keep_attention: bool,
    ) -> DecoderResult:
        """Decode queries (B, Q, D) that start from boxes (B, Q, 4)."""
        queries = _start(content, boxes, prefix)
        blocked = None if prefix is None else prefix.blocked
        outputs: list[LayerOutput] = []
        attention: list[LayerAttention] = []
        selected = torch.empty(0)
        last = len(self.layers) - 1
        for index, layout in enumerate(self.layouts):
            if index == self.first_body:
                selected = self._keep_best(index - 1, queries)
                grown = self.body_expansion(queries.content, queries.boxes)
                queries.content, queries.boxes = grown
            elif index == self.first_whole_body and self.whole_body_expansion is not None:
                grown = self.whole_body_expansion(queries.content, queries.boxes)
                queries.content, queries.boxes = grown
            given = queries.boxes, queries.prefix_boxes
            sampling = self._run_layer(index, queries, encoded, blocked)
            if index == last or aux_outputs:
                outputs.append(self._predict(index, queries, *given))
            if keep_attention:
                attention.append(_kept(layout, sampling, given[0], encoded, queries.prefix_count))
            if index < last:
                self._refine(index, queries)
        return DecoderResult(tuple(outputs), selected, tuple(attention))

    def _run_layer(
        self, index: int, queries: _Queries, encoded: EncodedImage, blocked: Tensor | None
    ) -> Sampling:
        content, boxes = queries.joined()
        scaled = scale_to_levels(boxes, encoded)
        position = self.position_mlp(box_position_code(scaled[:, :, 0], content.shape[-1]))
        layout = self.layouts[index]
        content, sampling = self.layers[index](content, position, scaled, encoded, layout, blocked)
        count = queries.prefix_count
        queries.prefix_content = content[:, :count]
        queries.content = content[:, count:].unflatten(1, (-1, layout.num_tokens))
        return sampling

    def _keep_best(self, index: int, queries: _Queries) -> Tensor:
        logits = self.heads.layer(index).class_logits(queries.content[:, :, 0])
        content, boxes, selected = select_queries(
            queries.content[:, :, 0], queries.boxes[:, :, 0], logits, self.num_people
        )
        queries.content, queries.boxes = content[:, :, None], boxes[:, :, None]
        return selected

    def _refine(self, index: int, queries: _Queries) -> None:
        """Boxes for the next layer, from the tokens without the decoder's norm; no gradient."""
        queries.boxes = self.heads.refine(index, queries.content, queries.boxes).detach()
        if queries.prefix_count:
            queries.prefix_boxes = self._prefix_boxes(
                index, queries.prefix_content, queries.prefix_boxes
            ).detach()

    def _prefix_boxes(self, index: int, content: Tensor, boxes: Tensor) -> Tensor:
        delta = self.heads.layer(index).body_box(content)
        return (inverse_sigmoid(boxes) + delta).sigmoid()

    def _predict(
        self, index: int, queries: _Queries, boxes: Tensor, prefix_boxes: Tensor
    ) -> LayerOutput:
        """Outputs use the tokens after the decoder's norm and the boxes the layer was given."""
        output = self.heads.predict(index, self.norm(queries.content), boxes)
        if not queries.prefix_count:
            return output
        prefix = self.norm(queries.prefix_content)
        return dataclasses.replace(
            output,
            prefix_class_logits=self.heads.layer(index).class_logits(prefix),
            prefix_boxes=self._prefix_boxes(index, prefix, prefix_boxes),
        )


def _start(content: Tensor, boxes: Tensor, prefix: PrefixQueries | None) -> _Queries:
    if prefix is None:
        nothing = content.new_zeros(len(content), 0, content.shape[-1])
        prefix_content, prefix_boxes = nothing, boxes.new_zeros(len(boxes), 0, 4)
    else:
        prefix_content, prefix_boxes = prefix.content, prefix.boxes
    return _Queries(content[:, :, None], boxes[:, :, None], prefix_content, prefix_boxes)


def _kept(
    layout: TokenLayout, sampling: Sampling, boxes: Tensor, encoded: EncodedImage, skip: int
) -> LayerAttention:
    """Places of the network's own tokens, turned from the padded to the un-padded image."""
    ratios = encoded.valid_ratios[:, None, None, :, None]
    return LayerAttention(
        stage=layout.stage,
        reference_points=boxes.flatten(1, 2),
        sampling_locations=sampling.locations[:, skip:] / ratios,
        attention_weights=sampling.weights[:, skip:],
    )
