"""The decoder: locate people, refine their bodies, refine the whole body (specification 7-9)."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..geometry.boxes import inverse_sigmoid
from ..geometry.positions import box_position_code
from .config import AiOSConfig
from .decoder_layer import DecoderLayer, LayerValues
from .deformable_attention import scale_to_levels
from .heads import Heads
from .mlp import MLP
from .outputs import (
    PERSON_CLASS,
    EncodedImage,
    LayerAttention,
    LayerOutput,
    PrefixQueries,
    SmplxOutput,
)
from .queries import (
    BodyExpansion,
    TokenLayout,
    WholeBodyExpansion,
    layer_layouts,
    select_queries,
)
from .sampling import Sampling, TokenRows


@dataclasses.dataclass
class _Queries:
    """What runs through the decoder: content and boxes of the prefix and of the people."""

    content: Tensor
    boxes: Tensor
    prefix_content: Tensor
    prefix_boxes: Tensor
    selected: Tensor
    """(B, P) which queries of the first stage the people come from, once they are chosen."""

    @property
    def prefix_count(self) -> int:
        return self.prefix_content.shape[1]

    def joined(self) -> tuple[Tensor, Tensor]:
        """Content (B, N + P * T, D) and boxes (B, N + P * T, 4)."""
        return (
            torch.cat([self.prefix_content, self.content.flatten(1, 2)], 1),
            torch.cat([self.prefix_boxes, self.boxes.flatten(1, 2)], 1),
        )

    def replace(self, content: Tensor, layout: TokenLayout) -> None:
        """Take new content (B, N + P * T, D)."""
        count = self.prefix_count
        self.prefix_content = content[:, :count]
        self.content = content[:, count:].unflatten(1, (-1, layout.num_tokens))


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
        self.joint_values: nn.Module | None = None
        """A faster layer of `joint_value_weights`, where somebody has made one."""

    def forward(
        self,
        encoded: EncodedImage,
        content: Tensor,
        boxes: Tensor,
        prefix: PrefixQueries | None,
        *,
        aux_outputs: bool,
        keep_attention: bool,
        min_score: float = 0.0,
    ) -> DecoderResult:
        """Decode queries (B, Q, D) that start from boxes (B, Q, 4)."""
        queries = _start(content, boxes, prefix)
        values: list[LayerValues] | None = None
        if not torch.is_grad_enabled() and content.device.type == "cpu":
            values = self._values(encoded)
        if prefix is not None or aux_outputs or keep_attention:
            min_score = 0.0
        blocked = None if prefix is None else prefix.blocked
        outputs: list[LayerOutput] = []
        attention: list[LayerAttention] = []
        last = len(self.layers) - 1
        for index, layout in enumerate(self.layouts):
            self._grow(index, queries)
            if index == last and values is not None and min_score > 0:
                outputs.append(self._finish(queries, encoded, values[index], min_score))
                break
            given = queries.boxes, queries.prefix_boxes
            content, sampling = self.layers[index](
                *self._placed(queries, encoded),
                encoded,
                layout,
                blocked,
                None if values is None else values[index],
                keep_attention,
            )
            queries.replace(content, layout)
            if index == last or aux_outputs:
                outputs.append(self._predict(index, queries, *given))
            if keep_attention:
                attention.append(_kept(layout, sampling, given[0], encoded, queries.prefix_count))
            if index < last:
                self._refine(index, queries)
        return DecoderResult(tuple(outputs), queries.selected, tuple(attention))

    def _grow(self, index: int, queries: _Queries) -> None:
        """Choose people, or give them more tokens, where layer `index` is the first of a stage."""
        if index == self.first_body:
            queries.selected = self._keep_best(index - 1, queries)
            grown = self.body_expansion(queries.content, queries.boxes)
            queries.content, queries.boxes = grown
        elif index == self.first_whole_body and self.whole_body_expansion is not None:
            grown = self.whole_body_expansion(queries.content, queries.boxes)
            queries.content, queries.boxes = grown

    def _values(self, encoded: EncodedImage) -> list[LayerValues]:
        """Values of all layers in one product, some tokens at a time."""
        attn = self._layer(0).cross_attn
        memory, mask = encoded.memory, encoded.padding_mask
        rows = TokenRows(encoded.spatial_shapes, attn.heads, attn.points, memory.dtype)
        weight, bias = self.joint_value_weights()
        project = self.joint_values or partial(F.linear, weight=weight, bias=bias)
        images = [
            rows.tables(project, tokens, None if mask is None else mask[image], len(self.layers))
            for image, tokens in enumerate(memory)
        ]
        return [LayerValues(rows, list(tables)) for tables in zip(*images, strict=True)]

    def joint_value_weights(self) -> tuple[Tensor, Tensor]:
        """The value projections of all layers as one: D -> layers * D."""
        layers = [self._layer(index) for index in range(len(self.layers))]
        projections = [layer.cross_attn.value_proj for layer in layers]
        return torch.cat([p.weight for p in projections]), torch.cat([p.bias for p in projections])

    def _placed(self, queries: _Queries, encoded: EncodedImage) -> tuple[Tensor, Tensor, Tensor]:
        """Content and position code (B, N + P * T, D), boxes on levels (B, N + P * T, L, 4)."""
        content, boxes = queries.joined()
        scaled = scale_to_levels(boxes, encoded)
        position = self.position_mlp(box_position_code(scaled[:, :, 0], content.shape[-1]))
        return content, position, scaled

    def _finish(
        self, queries: _Queries, encoded: EncodedImage, values: LayerValues, min_score: float
    ) -> LayerOutput:
        """The last layer, for people of a lower score no further than their score.

        All numbers of these people but their class logits are 0.
        """
        layer, layout, heads = self._layer(-1), self.layouts[-1], self.heads.layer(-1)
        content, position, boxes = self._placed(queries, encoded)
        content = layer.mix(content, position, layout, None)
        # (B, P * T, ...) -> (B, P, T, ...)
        tokens, position, boxes = (
            x.unflatten(1, (-1, layout.num_tokens)) for x in (content, position, boxes)
        )
        body = layer.look(tokens[:, :, 0], position[:, :, 0], boxes[:, :, 0], values)
        class_logits = heads.class_logits(self.norm(body))
        scores = class_logits[..., PERSON_CLASS].sigmoid()
        count = int((scores >= min_score).sum(1).max())
        kept = scores.topk(count, 1).indices
        images = torch.arange(len(kept))[:, None]
        tokens, position, boxes = (x[images, kept].flatten(1, 2) for x in (tokens, position, boxes))
        tokens = layer.look(tokens, position, boxes, values)
        tokens = self.norm(tokens.unflatten(1, (count, layout.num_tokens)))
        output = self.heads.predict(len(self.layers) - 1, tokens, queries.boxes[images, kept])
        whole = _spread(output, kept, scores.shape[1])
        return dataclasses.replace(whole, class_logits=class_logits)

    def _layer(self, index: int) -> DecoderLayer:
        layer = self.layers[index]
        assert isinstance(layer, DecoderLayer)
        return layer

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


def _spread(output: Any, kept: Tensor, people: int) -> Any:  # noqa: ANN401 - any of its parts
    """What is said of the people `kept` (B, k), at their places among all, zeros elsewhere."""
    if isinstance(output, Tensor):
        whole = output.new_zeros(len(output), people, *output.shape[2:])
        whole[torch.arange(len(kept))[:, None], kept] = output
        return whole
    if not isinstance(output, LayerOutput | SmplxOutput):
        return output
    parts = {field.name: getattr(output, field.name) for field in dataclasses.fields(output)}
    return type(output)(**{name: _spread(part, kept, people) for name, part in parts.items()})


def _start(content: Tensor, boxes: Tensor, prefix: PrefixQueries | None) -> _Queries:
    if prefix is None:
        nothing = content.new_zeros(len(content), 0, content.shape[-1])
        prefix_content, prefix_boxes = nothing, boxes.new_zeros(len(boxes), 0, 4)
    else:
        prefix_content, prefix_boxes = prefix.content, prefix.boxes
    selected = content.new_empty(0)
    return _Queries(content[:, :, None], boxes[:, :, None], prefix_content, prefix_boxes, selected)


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
