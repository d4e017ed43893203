"""Attention of the decoder for each person, recorded from a forward pass.

Letters: n people kept, T tokens per person, C box tokens per person, H heads, L levels, N points.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .network.model import AiOS
from .network.outputs import AiOSOutput, LayerAttention
from .network.person_attention import person_mask
from .network.preprocessing import PhotoPlacement
from .network.queries import TokenLayout

KEPT_PEOPLE = 30
"""Maximum number of people with attention, best scores first."""

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
    """Attention of one decoder layer for n people.  Coordinates are 0-1 of the photo."""

    stage: str
    """Decoder stage, see `outputs.LayerOutput`."""
    tokens: tuple[str, ...]
    """Names of the T tokens of each person."""
    box_tokens: tuple[int, ...]
    """Indices of the C box tokens: body, then (if present) left hand, right hand, face."""
    boxes: np.ndarray
    """(n, T, 4) float32 cxcywh, reference boxes of the tokens."""
    locations: np.ndarray
    """(n, T, H, L, N, 2) float16 sampling locations; may lie outside the photo."""
    weights: np.ndarray
    """(n, T, H, L, N) float16 attention weights of the sampling points; sum to 1 per head."""
    own: np.ndarray
    """(n, T, T) float16, self-attention among the tokens of a person (row attends to column), mean
    over heads.  Rows sum to 1 minus the attention to other people."""
    others: np.ndarray
    """(n, C, n, C) float16, self-attention of box tokens (first two axes) to box tokens of other
    kept people; 0 within a person, see `own`."""


@dataclass(frozen=True)
class Attention:
    """Attention of all decoder layers for the people of one photo."""

    query_indices: np.ndarray
    """(n,) int64, as `People.query_indices`, best score first."""
    layers: tuple[KeptLayer, ...]

    def row(self, query_index: int) -> int | None:
        """Index among the n kept people, None if the person was not kept."""
        found = np.flatnonzero(self.query_indices == query_index)
        return int(found[0]) if len(found) else None

    @property
    def nbytes(self) -> int:
        """Memory of all arrays in bytes."""
        arrays = ("boxes", "locations", "weights", "own", "others")
        return sum(getattr(layer, name).nbytes for layer in self.layers for name in arrays)


def token_names(layout: TokenLayout) -> tuple[str, ...]:
    """Names of the tokens of each person, in order."""
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
    """Index of a token in a layer, or of the token that initialises it in a later stage."""
    part, colon, _ = name.partition(": ")
    for candidate in (name, f"{part} box" if colon else name, BOX_NAMES[0]):
        if candidate in layer.tokens:
            return layer.tokens.index(candidate)
    raise ValueError(f"no token {name!r} in stage {layer.stage!r}")


@dataclass(frozen=True)
class SelfAttentionInput:
    """Input of the self-attention of one layer.

    Attributes:
        attention: the self-attention module.
        tokens: (B, P * T, D).
        position: position embeddings, same shape.
        layout: token layout of a person.
    """

    attention: Any
    tokens: Tensor
    position: Tensor
    layout: TokenLayout


@contextmanager
def watch_self_attention(model: AiOS) -> Iterator[list[SelfAttentionInput]]:
    """Record the self-attention inputs of the next forward pass, one per decoder layer.

    The fused attention of the decoder does not return attention weights; `keep_attention` computes
    them from these inputs, for the wanted people only.
    """
    seen: list[SelfAttentionInput] = []

    def record(module: torch.nn.Module, arguments: tuple[Any, ...]) -> None:
        seen.append(SelfAttentionInput(module, *arguments[:3]))

    hooks = [
        layer.self_attn.register_forward_pre_hook(record)  # type: ignore[union-attr]
        for layer in model.decoder.layers
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


@torch.inference_mode()
def keep_attention(
    output: AiOSOutput,
    inputs: list[SelfAttentionInput],
    index: int,
    query_indices: np.ndarray,
    placement: PhotoPlacement | None = None,
) -> Attention:
    """Extract the attention of the wanted people from a forward pass.

    Args:
        output: output with `keep_attention=True`, without a prefix.
        inputs: of the same forward pass, see `watch_self_attention`.
        index: image of the batch.
        query_indices: (m,) people, best first; the first `KEPT_PEOPLE` are kept.
        placement: of the photo in the network input; None if it fills the input.
    """
    kept = np.asarray(query_indices[:KEPT_PEOPLE], np.int64)
    slots = torch.from_numpy(kept).to(output.selected_queries.device)
    # In stage "locate" the tokens are those of the proposals.
    first = output.selected_queries[index, slots]
    layers = []
    for layer, tokens in zip(output.attention, inputs, strict=True):
        people = first if layer.stage == "locate" else slots
        layers.append(_keep_layer(layer, tokens, index, people))
    if placement is not None:
        layers = [_in_photo(layer, placement) for layer in layers]
    return Attention(kept, tuple(layers))


def _keep_layer(
    layer: LayerAttention, seen: SelfAttentionInput, index: int, people: Tensor
) -> KeptLayer:
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


def _in_photo(layer: KeptLayer, placement: PhotoPlacement) -> KeptLayer:
    """Convert coordinates from 0-1 of the network input to 0-1 of the photo."""
    photo = np.array(placement.photo_wh, np.float64)
    scale, shift = np.array(placement.extent) / photo, np.array(placement.origin) / photo
    boxes = layer.boxes * np.tile(scale, 2)
    boxes[..., :2] += shift
    return replace(
        layer,
        boxes=boxes.astype(np.float32),
        locations=(layer.locations * scale + shift).astype(np.float16),
    )


def _self_attention(seen: SelfAttentionInput, index: int, people: Tensor) -> tuple[Tensor, Tensor]:
    """Attention (n, T, T) within and (n, C, n, C) between people, mean over heads."""
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
    for head in range(heads):  # all heads at once would need hundreds of megabytes
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
