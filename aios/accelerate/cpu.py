"""Fast inference on a CPU: `install_cpu` replaces encoder and decoder.

Same arithmetic as the plain modules up to rounding, without gradient:

* deformable attention reads a padded table by `embedding_bag` (`padded_levels`);
* sampling offsets and attention weights come from one product, the values of all decoder layers
  from another;
* attention to the image and the feed-forward network run on `TOKENS_AT_ONCE` tokens at a time;
* person attention runs in blocks (`person_attention`);
* the last decoder layer may skip people below a minimum score.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..network.decoder import Decoder, DecoderResult, DecoderState
from ..network.decoder_layer import DecoderLayer
from ..network.deformable_attention import DeformableAttention
from ..network.encoder import Encoder, EncoderLayer, LevelContext
from ..network.model import AiOS
from ..network.outputs import (
    PERSON_CLASS,
    EncodedImage,
    LayerOutput,
    PrefixQueries,
    SmplxOutput,
)
from ..network.queries import TokenLayout
from ..network.sampling import Sampling
from .padded_levels import TOKENS_AT_ONCE, PaddedLevels
from .person_attention import BlockwisePersonAttention


def install_cpu(network: AiOS) -> None:
    """Replace encoder and decoder of a plain network for inference on a CPU, in place."""
    network.encoder = CpuEncoder(network.encoder)
    network.decoder = CpuDecoder(network.decoder)


def joined_linear(weights: list[Tensor], biases: list[Tensor]) -> nn.Linear:
    """Several linear layers (O, I) of one input as one layer; outputs are concatenated."""
    weight, bias = torch.cat(weights).detach(), torch.cat(biases).detach()
    linear = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    linear.weight = nn.Parameter(weight, requires_grad=False)
    linear.bias = nn.Parameter(bias, requires_grad=False)
    return linear


class CpuDeformableAttention(nn.Module):
    """Deformable attention of one image to a table of values.

    Attributes:
        projection: queries -> offsets in x, offsets in y and logits of the weights, D -> 3 HLN.
        output_proj: D -> D.
    """

    def __init__(self, plain: DeformableAttention) -> None:
        """Take over the parameters of `plain`, except its `value_proj`."""
        super().__init__()
        self.heads, self.points = plain.heads, plain.points
        offsets, logits = plain.sampling_offsets, plain.attention_weights
        self.projection = joined_linear(
            [offsets.weight[0::2], offsets.weight[1::2], logits.weight],
            [offsets.bias[0::2], offsets.bias[1::2], logits.bias],
        )
        self.output_proj = plain.output_proj

    def forward(
        self,
        queries: Tensor,
        table: Tensor,
        levels: PaddedLevels,
        centres: tuple[Tensor, Tensor],
        steps: tuple[Tensor, Tensor] | None = None,
        record: list[Sampling] | None = None,
    ) -> Tensor:
        """Attend.

        Args:
            queries: (Q, D) of one image, position encoding added.
            table: (R, D) values of the image.
            levels: layout of the table.
            centres: x and y (Q, HLN) of the references, in cells.
            steps: length in cells of an offset of 1 in x and y (Q, HLN); None: one cell.
            record: list to append the sampling points to (batch of 1), or None.

        Returns:
            (Q, D).
        """
        x, y, logits = self.projection(queries).chunk(3, -1)
        weights = logits.unflatten(-1, (self.heads, -1)).softmax(-1)
        if steps is None:
            locations = centres[0] + x, centres[1] + y
        else:
            locations = (
                torch.addcmul(centres[0], x, steps[0]),
                torch.addcmul(centres[1], y, steps[1]),
            )
        if record is not None:
            record.append(levels.sampling(*locations, weights))
        return self.output_proj(levels.sample(table, *locations, weights))


@dataclass(frozen=True)
class CpuLevelContext(LevelContext):
    """Geometry of the image tokens in cells, as `PaddedLevels.sample` reads it."""

    levels: PaddedLevels
    centres_x: Tensor
    """(B, S, HLN) reference points."""
    centres_y: Tensor
    """(B, S, HLN)"""


class CpuEncoderLayer(EncoderLayer):
    """Encoder layer that runs on `TOKENS_AT_ONCE` tokens at a time once the values are there."""

    def __init__(self, plain: EncoderLayer) -> None:
        """Take over the parameters of `plain`."""
        nn.Module.__init__(self)
        self.value_proj = plain.self_attn.value_proj
        self.attention = CpuDeformableAttention(plain.self_attn)
        self.norm1, self.norm2 = plain.norm1, plain.norm2
        self.linear1, self.linear2 = plain.linear1, plain.linear2

    def forward(self, tokens: Tensor, position: Tensor, context: LevelContext) -> Tensor:
        """As the plain layer."""
        assert isinstance(context, CpuLevelContext)
        result = torch.empty_like(tokens)
        for image in range(len(tokens)):
            mask = None if context.padding_mask is None else context.padding_mask[image]
            (table,) = context.levels.tables(self.value_proj, tokens[image], mask)
            for start in range(0, tokens.shape[1], TOKENS_AT_ONCE):
                part = image, slice(start, start + TOKENS_AT_ONCE)
                before = tokens[part]
                centres = context.centres_x[part], context.centres_y[part]
                queries = before + position[part]
                attended = self.attention(queries, table, context.levels, centres)
                hidden = self.norm1(attended.add_(before))
                update = self.linear2(F.relu_(self.linear1(hidden)))
                result[part] = self.norm2(update.add_(hidden))
        return result


class CpuEncoder(Encoder):
    """Encoder whose layers read padded tables."""

    def __init__(self, plain: Encoder) -> None:
        """Take over the parameters of `plain`."""
        nn.Module.__init__(self)
        self.level_embed = plain.level_embed
        layers = [layer for layer in plain.layers if isinstance(layer, EncoderLayer)]
        self.heads, self.points = layers[0].self_attn.heads, layers[0].self_attn.points
        self.layers = nn.ModuleList(CpuEncoderLayer(layer) for layer in layers)

    def flatten(
        self, levels: list[Tensor], padding_mask: Tensor | None
    ) -> tuple[Tensor, Tensor, CpuLevelContext]:
        """As the plain encoder, with the reference points in cells."""
        tokens, position, context = super().flatten(levels, padding_mask)
        references = context.reference_points
        batch = len(references)
        if padding_mask is None:  # the same for every image
            references = references[:1]
        table = PaddedLevels(context.spatial_shapes, self.heads, self.points, references.dtype)
        x, y = (part.expand(batch, -1, -1) for part in table.points_in_cells(references))
        return (
            tokens,
            position,
            CpuLevelContext(**vars(context), levels=table, centres_x=x, centres_y=y),
        )


@dataclass(frozen=True)
class CpuEncodedImage(EncodedImage):
    """Image tokens as tables of values, ready for every decoder layer."""

    levels: PaddedLevels
    tables: tuple[tuple[Tensor, ...], ...]
    """For each decoder layer and image a table (R, D)."""
    record_sampling: bool
    """Whether decoder layers return their sampling points."""


class CpuDecoderLayer(DecoderLayer):
    """Decoder layer number `index` that reads its table of values."""

    def __init__(self, plain: DecoderLayer, index: int) -> None:
        """Take over the parameters of `plain`, except the value projection."""
        nn.Module.__init__(self)
        self.index = index
        self.self_attn = BlockwisePersonAttention(plain.self_attn)
        self.attention = CpuDeformableAttention(plain.cross_attn)
        self.norm1, self.norm2, self.norm3 = plain.norm1, plain.norm2, plain.norm3
        self.linear1, self.linear2 = plain.linear1, plain.linear2

    def forward(
        self,
        tokens: Tensor,
        position: Tensor,
        boxes: Tensor,
        encoded: EncodedImage,
        layout: TokenLayout,
        blocked: Tensor | None,
    ) -> tuple[Tensor, Sampling]:
        """As the plain layer; the sampling is empty unless `encoded.record_sampling`."""
        assert isinstance(encoded, CpuEncodedImage)
        record: list[list[Sampling]] | None = None
        if encoded.record_sampling:
            record = [[] for _ in tokens]
        tokens = self.attend_to_people(tokens, position, layout, blocked)
        return self.attend_to_image(tokens, position, boxes, encoded, record), _joined(record)

    def attend_to_people(
        self, tokens: Tensor, position: Tensor, layout: TokenLayout, blocked: Tensor | None
    ) -> Tensor:
        """Self-attention and its norm."""
        return self.norm2(tokens + self.self_attn(tokens, position, layout, blocked))

    def attend_to_image(
        self,
        tokens: Tensor,
        position: Tensor,
        boxes: Tensor,
        encoded: CpuEncodedImage,
        record: list[list[Sampling]] | None = None,
    ) -> Tensor:
        """Cross-attention and feed-forward network, for any subset of the tokens (B, Q, D).

        Args:
            tokens: (B, Q, D).
            position: (B, Q, D).
            boxes: (B, Q, L, 4).
            encoded: the image.
            record: one list per image to append the sampling points to, or None.
        """
        levels, result = encoded.levels, torch.empty_like(tokens)
        for image in range(len(tokens)):
            for start in range(0, tokens.shape[1], TOKENS_AT_ONCE):
                part = image, slice(start, start + TOKENS_AT_ONCE)
                # (Q, L, 4) -> four times (Q, HLN), in cells
                x, y, width, height = levels.boxes_in_cells(boxes[part])
                half_step = 0.5 / self.attention.points
                steps = width.mul_(half_step), height.mul_(half_step)
                before = tokens[part]
                attended = self.attention(
                    before + position[part],
                    encoded.tables[self.index][image],
                    levels,
                    (x, y),
                    steps,
                    None if record is None else record[image],
                )
                hidden = self.norm1(attended.add_(before))
                update = self.linear2(F.relu_(self.linear1(hidden)))
                result[part] = self.norm3(update.add_(hidden))
        return result


class CpuDecoder(Decoder):
    """Decoder over tables of values.

    Attributes:
        value_proj: values of all layers, D -> layers * D.
    """

    def __init__(self, plain: Decoder) -> None:
        """Take over the parameters of `plain`."""
        nn.Module.__init__(self)
        self.num_people, self.layouts = plain.num_people, plain.layouts
        self.first_body, self.first_whole_body = plain.first_body, plain.first_whole_body
        layers = [layer for layer in plain.layers if isinstance(layer, DecoderLayer)]
        projections = [layer.cross_attn.value_proj for layer in layers]
        self.points = layers[0].cross_attn.points
        self.num_heads = layers[0].cross_attn.heads
        self.value_proj = joined_linear(
            [projection.weight for projection in projections],
            [projection.bias for projection in projections],
        )
        self.layers = nn.ModuleList(
            CpuDecoderLayer(layer, index) for index, layer in enumerate(layers)
        )
        self.norm, self.position_mlp, self.heads = plain.norm, plain.position_mlp, plain.heads
        self.body_expansion = plain.body_expansion
        self.whole_body_expansion = plain.whole_body_expansion

    def forward(
        self,
        encoded: EncodedImage,
        content: Tensor,
        boxes: Tensor,
        prefix: PrefixQueries | None = None,
        *,
        aux_outputs: bool = False,
        keep_attention: bool = False,
        min_score: float = 0.0,
    ) -> DecoderResult:
        """As the plain decoder.

        With `min_score` above 0 and nothing else asked for, all outputs but the class logits of
        people with a lower score are 0.
        """
        tables = self._tables(encoded, keep_attention)
        if min_score <= 0 or prefix is not None or aux_outputs or keep_attention:
            return super().forward(
                tables,
                content,
                boxes,
                prefix,
                aux_outputs=aux_outputs,
                keep_attention=keep_attention,
            )
        state = DecoderState.start(content, boxes, None)
        last = len(self.layers) - 1
        for index in range(last):
            self.expand(index, state)
            self.run_layer(index, state, tables)
            self.refine(index, state)
        self.expand(last, state)
        return DecoderResult((self._last_layer(state, tables, min_score),), state.selected, ())

    def _tables(self, encoded: EncodedImage, record_sampling: bool) -> CpuEncodedImage:
        memory, mask = encoded.memory, encoded.padding_mask
        levels = PaddedLevels(encoded.spatial_shapes, self.num_heads, self.points, memory.dtype)
        count = len(self.layers)
        per_image = [
            levels.tables(self.value_proj, tokens, None if mask is None else mask[image], count)
            for image, tokens in enumerate(memory)
        ]
        tables = tuple(zip(*per_image, strict=True))
        return CpuEncodedImage(
            **vars(encoded), levels=levels, tables=tables, record_sampling=record_sampling
        )

    def _last_layer(
        self, state: DecoderState, encoded: CpuEncodedImage, min_score: float
    ) -> LayerOutput:
        """Score all people by their body tokens, then finish those of at least `min_score`."""
        layer, layout, heads = self.layers[-1], self.layouts[-1], self.heads.layer(-1)
        assert isinstance(layer, CpuDecoderLayer)
        content, position, boxes = self.layer_inputs(state, encoded)
        content = layer.attend_to_people(content, position, layout, None)
        # (B, P * T, ...) -> (B, P, T, ...)
        tokens, position, boxes = (
            x.unflatten(1, (-1, layout.num_tokens)) for x in (content, position, boxes)
        )
        body = layer.attend_to_image(tokens[:, :, 0], position[:, :, 0], boxes[:, :, 0], encoded)
        class_logits = heads.class_logits(self.norm(body))
        scores = class_logits[..., PERSON_CLASS].sigmoid()
        count = int((scores >= min_score).sum(1).max())
        kept = scores.topk(count, 1).indices
        images = torch.arange(len(kept))[:, None]
        tokens, position, boxes = (x[images, kept].flatten(1, 2) for x in (tokens, position, boxes))
        tokens = layer.attend_to_image(tokens, position, boxes, encoded)
        tokens = self.norm(tokens.unflatten(1, (count, layout.num_tokens)))
        output = self.heads.predict(len(self.layers) - 1, tokens, state.boxes[images, kept])
        scattered = _scatter(output, kept, scores.shape[1])
        return dataclasses.replace(scattered, class_logits=class_logits)


def _scatter(output: Any, kept: Tensor, people: int) -> Any:  # noqa: ANN401 - any nested output
    """Outputs of the people `kept` (B, K) at their slots among `people`, zeros elsewhere."""
    if isinstance(output, Tensor):
        full = output.new_zeros(len(output), people, *output.shape[2:])
        full[torch.arange(len(kept))[:, None], kept] = output
        return full
    if not isinstance(output, LayerOutput | SmplxOutput):
        return output
    parts = {field.name: getattr(output, field.name) for field in dataclasses.fields(output)}
    return type(output)(**{name: _scatter(part, kept, people) for name, part in parts.items()})


def _joined(record: list[list[Sampling]] | None) -> Sampling:
    """Sampling points of all images, each recorded in parts; empty without a record."""
    if record is None:
        return Sampling(torch.empty(0), torch.empty(0))
    locations = [torch.cat([part.locations for part in image], 1) for image in record]
    weights = [torch.cat([part.weights for part in image], 1) for image in record]
    return Sampling(torch.cat(locations), torch.cat(weights))
