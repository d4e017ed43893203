"""Where the network looked for each person, kept from the forward pass in a small form.

Letters: n people kept, T tokens a person, C box tokens a person, H heads, L levels, N points.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .network.model import AiOS
from .network.outputs import AiOSOutput, LayerAttention
from .network.person_attention import person_mask
from .network.queries import TokenLayout

KEPT_PEOPLE = 30
"""Attention is kept for at most this many people, best scores first."""

BODY_POINTS = (
    "nose",
    "left eye",
    "right eye",
    "left ear",
    "right ear",
    "left shoulder",
    "right shoulder",
    "left elbow",
    "right elbow",
    "left wrist",
    "right wrist",
    "left hip",
    "right hip",
    "left knee",
    "right knee",
    "left ankle",
    "right ankle",
)
"""COCO order, as `People.keypoints_2d_px`."""
HAND_POINTS = ("wrist", "thumb tip", "index tip", "middle tip", "ring tip", "pinky tip")
FACE_POINTS = ("nose", "upper lip", "jaw joint", "right contour", "chin", "left contour")
BOX_NAMES = ("body box", "left hand box", "right hand box", "face box")


@dataclass(frozen=True)
class KeptLayer:
    """What one decoder layer did for n people.  Coordinates are 0-1 of the photo."""

    stage: str
    """Decoder stage, see `outputs.LayerOutput`."""
    tokens: tuple[str, ...]
    """Names of the T tokens of a person."""
    box_tokens: tuple[int, ...]
    """Which of the T tokens are the C boxes: body, then (if there) left hand, right hand, face."""
    boxes: np.ndarray
    """(n, T, 4) float32 cxcywh, the reference point and box given to the layer."""
    locations: np.ndarray
    """(n, T, H, L, N, 2) float16, sampling points, which may lie outside the photo."""
    weights: np.ndarray
    """(n, T, H, L, N) float16, attention of the sampling points, 1 in all for each head."""
    own: np.ndarray
    """(n, T, T) float16, self-attention of a person's tokens (rows) to each other, mean over
    heads.  What is missing to 1 went to other people."""
    others: np.ndarray
    """(n, C, n, C) float16, self-attention of box tokens (first two axes) to those of other kept
    people; 0 between boxes of one person, which `own` has."""


@dataclass(frozen=True)
class Attention:
    """What all decoder layers did for the people of one photo."""

    query_indices: np.ndarray
    """(n,) int64, as `People.query_indices`, best score first."""
    layers: tuple[KeptLayer, ...]

    def row(self, query_index: int) -> int | None:
        """Place of a person among the n kept, None for one who was not kept."""
        found = np.flatnonzero(self.query_indices == query_index)
        return int(found[0]) if len(found) else None

    @property
    def nbytes(self) -> int:
        """Memory of all arrays."""
        arrays = ("boxes", "locations", "weights", "own", "others")
        return sum(getattr(layer, name).nbytes for layer in self.layers for name in arrays)


def token_names(layout: TokenLayout) -> tuple[str, ...]:
    """Names of the tokens of a person, in order."""
    names = dict(zip(layout.box_tokens, BOX_NAMES, strict=False))
    points = (
        (layout.joints, "", BODY_POINTS),
        (layout.left_hand_points, "left hand: ", HAND_POINTS),
        (layout.right_hand_points, "right hand: ", HAND_POINTS),
        (layout.face_points, "face: ", FACE_POINTS),
    )
    for where, prefix, words in points:
        if where is not None:
            tokens = range(where.start, where.stop)
            names |= {t: prefix + word for t, word in zip(tokens, words, strict=True)}
    return tuple(names[token] for token in range(layout.num_tokens))


def token_in_layer(name: str, layer: KeptLayer) -> int:
    """Number of a token in a layer, or of the token it grows from where it does not exist yet."""
    part, colon, _ = name.partition(": ")
    for candidate in (name, f"{part} box" if colon else name, BOX_NAMES[0]):
        if candidate in layer.tokens:
            return layer.tokens.index(candidate)
    raise ValueError(f"no token {name!r} in stage {layer.stage!r}")


@dataclass(frozen=True)
class SeenTokens:
    """What one layer's self-attention was given.

    Attributes:
        attention: the layer's self-attention.
        tokens: (B, P * T, D).
        position: the same shape.
        layout: of the tokens.
    """

    attention: Any
    tokens: Tensor
    position: Tensor
    layout: TokenLayout


@contextmanager
def watch_self_attention(model: AiOS) -> Iterator[list[SeenTokens]]:
    """Gives a list that the model's next forward pass fills, one entry a decoder layer.

    The fast path of the decoder never has self-attention's weights at hand; from its inputs they
    are computed afterwards, for the people wanted.
    """
    seen: list[SeenTokens] = []

    def note(module: torch.nn.Module, arguments: tuple[Any, ...]) -> None:
        seen.append(SeenTokens(module, *arguments[:3]))

    hooks = [
        layer.self_attn.register_forward_pre_hook(note)  # type: ignore[union-attr]
        for layer in model.decoder.layers
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


@torch.inference_mode()
def keep_attention(
    output: AiOSOutput, seen: list[SeenTokens], index: int, query_indices: np.ndarray
) -> Attention:
    """Reduce what the forward pass saw to the people wanted.

    Args:
        output: of a forward pass with `keep_attention=True`, without a prefix.
        seen: of the same forward pass, see `watch_self_attention`.
        index: which image of the batch.
        query_indices: (m,) people slots, best first; the first `KEPT_PEOPLE` are kept.
    """
    kept = np.asarray(query_indices[:KEPT_PEOPLE], np.int64)
    slots = torch.from_numpy(kept).to(output.selected_queries.device)
    # Before people are chosen, the tokens are those of the proposals.
    first = output.selected_queries[index, slots]
    layers = []
    for layer, tokens in zip(output.attention, seen, strict=True):
        people = first if layer.stage == "locate" else slots
        layers.append(_keep_layer(layer, tokens, index, people))
    return Attention(kept, tuple(layers))


def _keep_layer(layer: LayerAttention, seen: SeenTokens, index: int, people: Tensor) -> KeptLayer:
    layout = seen.layout

    def of_people(values: Tensor) -> Tensor:
        """(B, P * T, ...) -> (n, T, ...)."""
        return values[index].unflatten(0, (-1, layout.num_tokens))[people].cpu()

    own, others = _self_attention(seen, index, people)
    return KeptLayer(
        stage=layer.stage,
        tokens=token_names(layout),
        box_tokens=layout.box_tokens,
        boxes=of_people(layer.reference_points).float().numpy(),
        locations=of_people(layer.sampling_locations).half().numpy(),
        weights=of_people(layer.attention_weights).half().numpy(),
        own=own.cpu().half().numpy(),
        others=others.cpu().half().numpy(),
    )


def _self_attention(seen: SeenTokens, index: int, people: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (n, T, T) within and (n, C, n, C) between people, mean over heads."""
    layout, heads = seen.layout, seen.attention.heads
    count, size = len(people), layout.num_tokens
    tokens, width = (seen.tokens + seen.position)[index], seen.tokens.shape[-1]
    weight, bias = seen.attention.in_proj_weight, seen.attention.in_proj_bias
    rows = (people[:, None] * size + torch.arange(size, device=people.device)).flatten()
    query = F.linear(tokens[rows], weight[:width], bias[:width]).unflatten(-1, (heads, -1))
    key = F.linear(tokens, weight[width : 2 * width], bias[width : 2 * width])
    key = key.unflatten(-1, (heads, -1))
    visible = person_mask(layout, seen.attention.form, len(tokens) // size, tokens.device)
    blocked = ~visible[rows]
    mean = torch.zeros(len(rows), len(rows), device=tokens.device)
    for head in range(heads):  # all heads at once would take hundreds of megabytes
        logits = query[:, head] @ key[:, head].T * query.shape[-1] ** -0.5
        mean += logits.masked_fill_(blocked, -torch.inf).softmax(-1)[:, rows] / heads
    # (n * T, n * T) -> (n, T, n, T)
    among = mean.unflatten(1, (count, size)).unflatten(0, (count, size))
    everyone = torch.arange(count, device=people.device)
    own = among[everyone, :, everyone]
    boxes = list(layout.box_tokens)
    others = among[:, boxes][..., boxes].clone()
    others[everyone, :, everyone] = 0
    return own, others
