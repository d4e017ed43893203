"""The decoder: locate people, refine their bodies, refine their whole bodies."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from ..geometry.boxes import inverse_sigmoid
from ..geometry.positions import box_position_encoding
from .config import AiOSConfig
from .decoder_layer import DecoderLayer
from .heads import Heads
from .mlp import MLP
from .outputs import EncodedImage, LayerAttention, LayerOutput, PrefixQueries
from .queries import (
    BodyExpansion,
    TokenLayout,
    WholeBodyExpansion,
    layer_layouts,
    select_queries,
)
from .sampling import Sampling


@dataclasses.dataclass
class DecoderState:
    """Content and reference boxes of all tokens between two decoder layers."""

    content: Tensor
    """(B, P, T, D) of the people."""
    boxes: Tensor
    """(B, P, T, 4) cxcywh, 0-1 of the un-padded image."""
    prefix_content: Tensor
    """(B, N, D) of the prefix; N is 0 without one."""
    prefix_boxes: Tensor
    """(B, N, 4)"""
    selected: Tensor
    """(B, P) index of the proposal of each person; empty before people are selected."""

    @classmethod
    def start(cls, content: Tensor, boxes: Tensor, prefix: PrefixQueries | None) -> DecoderState:
        """One token for each proposal: content (B, Q, D), boxes (B, Q, 4)."""
        prefix_content, prefix_boxes = content[:, :0], boxes[:, :0]
        if prefix is not None:
            prefix_content, prefix_boxes = prefix.content, prefix.boxes
        selected = content.new_empty(0)
        return cls(content[:, :, None], boxes[:, :, None], prefix_content, prefix_boxes, selected)

    @property
    def prefix_count(self) -> int:
        """N."""
        return self.prefix_content.shape[1]

    def sequence(self) -> tuple[Tensor, Tensor]:
        """Content (B, N + P * T, D) and boxes (B, N + P * T, 4), prefix first."""
        return (
            torch.cat([self.prefix_content, self.content.flatten(1, 2)], 1),
            torch.cat([self.prefix_boxes, self.boxes.flatten(1, 2)], 1),
        )

    def set_content(self, content: Tensor, layout: TokenLayout) -> None:
        """Take new content (B, N + P * T, D)."""
        count = self.prefix_count
        self.prefix_content = content[:, :count]
        self.content = content[:, count:].unflatten(1, (-1, layout.num_tokens))


@dataclasses.dataclass(frozen=True)
class DecoderResult:
    """Outputs of the decoder layers; the last layer's output is always the last entry."""

    outputs: tuple[LayerOutput, ...]
    selected_queries: Tensor
    attention: tuple[LayerAttention, ...]


class Decoder(nn.Module):
    """The layers of all three stages, the expansion of queries between stages, and the heads."""

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
        prefix: PrefixQueries | None = None,
        *,
        aux_outputs: bool = False,
        keep_attention: bool = False,
    ) -> DecoderResult:
        """Decode proposals.

        Args:
            encoded: the image.
            content: (B, Q, D).
            boxes: (B, Q, 4) cxcywh, 0-1 of the un-padded image.
            prefix: extra queries in front of the proposals, or None.
            aux_outputs: also return the outputs of the layers before the last.
            keep_attention: also return the sampling points of every layer.
        """
        state = DecoderState.start(content, boxes, prefix)
        blocked = None if prefix is None else prefix.blocked
        outputs: list[LayerOutput] = []
        attention: list[LayerAttention] = []
        last = len(self.layers) - 1
        for index in range(len(self.layers)):
            self.expand(index, state)
            references = state.boxes, state.prefix_boxes
            sampling = self.run_layer(index, state, encoded, blocked)
            if index == last or aux_outputs:
                outputs.append(self.predict(index, state, *references))
            if keep_attention:
                attention.append(self.attention(index, state, sampling, references[0], encoded))
            if index < last:
                self.refine(index, state)
        return DecoderResult(tuple(outputs), state.selected, tuple(attention))

    def expand(self, index: int, state: DecoderState) -> None:
        """Before the first layer of a stage: select the people, or add tokens to each."""
        if index == self.first_body:
            self._select_people(index - 1, state)
            state.content, state.boxes = self.body_expansion(state.content, state.boxes)
        elif index == self.first_whole_body and self.whole_body_expansion is not None:
            state.content, state.boxes = self.whole_body_expansion(state.content, state.boxes)

    def run_layer(
        self, index: int, state: DecoderState, encoded: EncodedImage, blocked: Tensor | None = None
    ) -> Sampling:
        """Update the content of all tokens; returns the sampling points of the layer."""
        layout = self.layouts[index]
        content, sampling = self.layers[index](
            *self.layer_inputs(state, encoded), encoded, layout, blocked
        )
        state.set_content(content, layout)
        return sampling

    def layer_inputs(
        self, state: DecoderState, encoded: EncodedImage
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Content and position encoding (B, N + P * T, D), boxes on levels (B, N + P * T, L, 4)."""
        content, boxes = state.sequence()
        on_levels = boxes_on_levels(boxes, encoded)
        position = self.position_mlp(box_position_encoding(on_levels[:, :, 0], content.shape[-1]))
        return content, position, on_levels

    def refine(self, index: int, state: DecoderState) -> None:
        """Set the reference boxes of the next layer, without gradient.

        They come from the content before `norm`; the reported boxes come from after it.
        """
        state.boxes = self.heads.refine(index, state.content, state.boxes).detach()
        if state.prefix_count:
            state.prefix_boxes = self._prefix_boxes(
                index, state.prefix_content, state.prefix_boxes
            ).detach()

    def predict(
        self, index: int, state: DecoderState, boxes: Tensor, prefix_boxes: Tensor
    ) -> LayerOutput:
        """Outputs of layer `index`, whose reference boxes were `boxes` and `prefix_boxes`."""
        output = self.heads.predict(index, self.norm(state.content), boxes)
        if not state.prefix_count:
            return output
        content = self.norm(state.prefix_content)
        return dataclasses.replace(
            output,
            prefix_class_logits=self.heads.layer(index).class_logits(content),
            prefix_boxes=self._prefix_boxes(index, content, prefix_boxes),
        )

    def attention(
        self,
        index: int,
        state: DecoderState,
        sampling: Sampling,
        boxes: Tensor,
        encoded: EncodedImage,
    ) -> LayerAttention:
        """Sampling points of the people's tokens, converted to the un-padded image."""
        ratios = encoded.valid_ratios[:, None, None, :, None]
        return LayerAttention(
            stage=self.layouts[index].stage,
            reference_points=boxes.flatten(1, 2),
            sampling_locations=sampling.locations[:, state.prefix_count :] / ratios,
            attention_weights=sampling.weights[:, state.prefix_count :],
        )

    def _select_people(self, index: int, state: DecoderState) -> None:
        logits = self.heads.layer(index).class_logits(state.content[:, :, 0])
        content, boxes, state.selected = select_queries(
            state.content[:, :, 0], state.boxes[:, :, 0], logits, self.num_people
        )
        state.content, state.boxes = content[:, :, None], boxes[:, :, None]

    def _prefix_boxes(self, index: int, content: Tensor, boxes: Tensor) -> Tensor:
        delta = self.heads.layer(index).body_box(content)
        return (inverse_sigmoid(boxes) + delta).sigmoid()


def boxes_on_levels(boxes: Tensor, encoded: EncodedImage) -> Tensor:
    """Boxes (B, Q, 4) of the un-padded image -> (B, Q, L, 4), 0-1 of each padded level."""
    ratios = encoded.valid_ratios
    return boxes[:, :, None] * torch.cat([ratios, ratios], -1)[:, None]
