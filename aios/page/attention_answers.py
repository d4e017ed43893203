"""What a visitor may ask about attention in one photo, answered from what was kept."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from ..attention import KeptLayer, token_in_layer
from ..descriptions import person_name
from ..render.attention import (
    draw_heatmap,
    draw_people_matrix,
    draw_sampling_points,
    draw_token_matrix,
    image_grid,
)
from ..render.colors import person_colors
from .sessions import Result

_CLOSE_UP_MARGIN, _LEAST_CLOSE_UP, _CLOSE_UP_SIDE_PX = 0.3, 0.16, 1000


class NotKeptError(LookupError):
    """Nothing was kept for this person; the message says why."""


@dataclass(frozen=True)
class Question:
    """What to look at.

    Attributes:
        person: index among the people of the result.
        token: one of `attention.token_names` of the last layer.
        layer: of the decoder, from 0.
        level: of the image tokens, from 0; None for all.
        head: of the attention, from 0; None for all.
        close_up: cut the photo down to where this token looks.
    """

    person: int
    token: str
    layer: int
    level: int | None = None
    head: int | None = None
    close_up: bool = False


@dataclass(frozen=True)
class _Part:
    """A cut-out of the photo, in 0-1 of it."""

    low: np.ndarray
    high: np.ndarray

    def of(self, points: np.ndarray) -> np.ndarray:
        """Places (..., 2) of the photo in the cut-out, 0-1."""
        return (points - self.low) / (self.high - self.low)


def people_with_attention(result: Result) -> list[int]:
    """Indices of the people for whom attention was kept."""
    attention = result.candidates.attention
    if attention is None:
        return []
    queries = result.prediction.people.query_indices
    return [index for index in result.prediction if attention.row(queries[index]) is not None]


def token_pictures(result: Result, question: Question) -> tuple[np.ndarray, np.ndarray, str]:
    """Where the token looks, where all tokens of the person look, and a sentence on it.

    Raises:
        NotKeptError: the person is not among those kept.
    """
    layer, row = _layer_and_row(result, question)
    token = token_in_layer(question.token, layer)
    places, amounts = _points(layer, row, question)
    box = layer.boxes[row, token]
    part = _close_up(result.photo, box, places[token]) if question.close_up else _whole()
    photo = _cut(result.photo, part)
    size = part.high - part.low
    own_box = np.concatenate([part.of(box[:2]), box[2:] / size])
    sampling = draw_sampling_points(photo, own_box, part.of(places[token]), amounts[token])
    everywhere = part.of(places.reshape(-1, 2))
    heat = draw_heatmap(photo, everywhere, amounts.ravel())
    return sampling, heat, _sentence(layer, row, token, question, places, amounts)


def matrix_pictures(result: Result, question: Question) -> tuple[np.ndarray, np.ndarray]:
    """Self-attention between all people, and among the tokens of the person.

    Raises:
        NotKeptError: the person is not among those kept.
    """
    layer, row = _layer_and_row(result, question)
    people, rows = _rows(result)
    colors = person_colors(len(result.prediction))[people]
    names = [str(index + 1) for index in people]
    others = layer.others[rows][:, :, rows]
    between = draw_people_matrix(layer.own[rows], others, layer.box_tokens, names, colors)
    return between, draw_token_matrix(layer.own[row], layer.tokens)


def attention_figure(result: Result, question: Question) -> np.ndarray:
    """All four pictures on one sheet, (h, w, 3) uint8 RGB."""
    sampling, heat, _ = token_pictures(result, question)
    between, among = matrix_pictures(result, question)
    name = person_name(question.person)
    title = f"{name}, {question.token}, decoder layer {question.layer + 1}"
    return image_grid(
        [
            (f"Where this token looks: {title}", sampling),
            (f"Where all tokens of {name.lower()} look", heat),
            ("Who attends to whom: boxes of all people", between),
            (f"Tokens of {name.lower()} among each other", among),
        ]
    )


def attention_npz(result: Result, person: int) -> bytes:
    """Everything kept for one person as a NumPy archive that loads without pickle.

    For each decoder layer `k` from 1: `layer{k}_tokens` (T,) names, `layer{k}_boxes_cxcywh_px`
    (T, 4), `layer{k}_locations_px` (T, H, L, N, 2), `layer{k}_weights` (T, H, L, N),
    `layer{k}_self_attention` (T, T) and `layer{k}_to_others` (C, n, C) to the box tokens of the
    people `people` (n,), whose names count from 1.  Pixels are those of the photo.

    Raises:
        NotKeptError: the person is not among those kept.
    """
    row = _layer_and_row(result, Question(person, "body box", 0))[1]
    attention = result.candidates.attention
    assert attention is not None
    camera = result.prediction.camera
    size = np.array([camera.width, camera.height], np.float32)
    people, rows = _rows(result)
    arrays: dict[str, Any] = {
        "person": np.int64(person + 1),
        "people": np.array(people, np.int64) + 1,
        "image_size": size.astype(np.int64),
        "stages": np.array([layer.stage for layer in attention.layers]),
    }
    for number, layer in enumerate(attention.layers, start=1):
        arrays |= {
            f"layer{number}_tokens": np.array(layer.tokens),
            f"layer{number}_boxes_cxcywh_px": layer.boxes[row] * np.tile(size, 2),
            f"layer{number}_locations_px": layer.locations[row].astype(np.float32) * size,
            f"layer{number}_weights": layer.weights[row].astype(np.float32),
            f"layer{number}_self_attention": layer.own[row].astype(np.float32),
            f"layer{number}_to_others": layer.others[row][:, rows].astype(np.float32),
        }
    archive = io.BytesIO()
    np.savez_compressed(archive, allow_pickle=False, **arrays)
    return archive.getvalue()


def _layer_and_row(result: Result, question: Question) -> tuple[KeptLayer, int]:
    attention = result.candidates.attention
    row = None
    if attention is not None and 0 <= question.person < len(result.prediction):
        row = attention.row(result.prediction.people.query_indices[question.person])
    if attention is None or row is None:
        raise NotKeptError(
            "Attention is kept for the people of best scores only, and this is none of them."
        )
    return attention.layers[question.layer], row


def _rows(result: Result) -> tuple[list[int], list[int]]:
    """Indices of the people kept, and their places in the arrays of attention."""
    attention = result.candidates.attention
    assert attention is not None
    people = people_with_attention(result)
    queries = result.prediction.people.query_indices
    found = (attention.row(queries[index]) for index in people)
    return people, [row for row in found if row is not None]


def _points(layer: KeptLayer, row: int, question: Question) -> tuple[np.ndarray, np.ndarray]:
    """Sampling points (T, K, 2) and their weights (T, K) of the heads and levels asked for."""
    heads = slice(None) if question.head is None else slice(question.head, question.head + 1)
    levels = slice(None) if question.level is None else slice(question.level, question.level + 1)
    places = layer.locations[row][:, heads, levels].astype(np.float32)
    amounts = layer.weights[row][:, heads, levels].astype(np.float32)
    count = len(places)
    # Each head gives 1 in all; together they are one attention.
    return places.reshape(count, -1, 2), amounts.reshape(count, -1) / layer.weights.shape[2]


def _whole() -> _Part:
    return _Part(np.zeros(2), np.ones(2))


def _close_up(photo: np.ndarray, box: np.ndarray, places: np.ndarray) -> _Part:
    """The part of the photo with the box and the points, in pixels nearly square."""
    inside = places[((places >= 0) & (places <= 1)).all(1)]
    corners = np.stack([box[:2] - box[2:] / 2, box[:2] + box[2:] / 2])
    points = np.clip(np.concatenate([inside, corners]), 0.0, 1.0)
    low, high = points.min(0), points.max(0)
    aspect = np.array(photo.shape[1::-1]) / max(photo.shape[:2])
    side = max(float(((high - low) * aspect).max()) * (1 + _CLOSE_UP_MARGIN), _LEAST_CLOSE_UP)
    half = np.minimum(side / aspect, 1.0) / 2
    middle = np.clip((low + high) / 2, half, 1 - half)
    return _Part(middle - half, middle + half)


def _cut(photo: np.ndarray, part: _Part) -> np.ndarray:
    height, width = photo.shape[:2]
    x0, y0 = np.floor(part.low * (width, height)).astype(int)
    x1, y1 = np.ceil(part.high * (width, height)).astype(int)
    cut = photo[max(y0, 0) : max(y1, y0 + 1), max(x0, 0) : max(x1, x0 + 1)]
    scale = _CLOSE_UP_SIDE_PX / max(cut.shape[:2])
    if scale <= 1:
        return cut
    size = (round(cut.shape[1] * scale), round(cut.shape[0] * scale))
    return cv2.resize(cut, (max(size[0], 1), max(size[1], 1)), interpolation=cv2.INTER_CUBIC)


def _sentence(
    layer: KeptLayer,
    row: int,
    token: int,
    question: Question,
    places: np.ndarray,
    amounts: np.ndarray,
) -> str:
    """What the picture shows, with numbers, for those who cannot see it."""
    name = layer.tokens[token]
    grown = ""
    if name != question.token:
        grown = f" (in this layer *{question.token}* does not exist yet: it grows from this one)"
    box = layer.boxes[row, layer.tokens.index("body box")]
    near = (np.abs(places[token] - box[:2]) <= box[2:] / 2).all(1)
    total = float(amounts[token].sum())
    share = float(amounts[token][near].sum()) / max(total, 1e-9)
    to_self = float(layer.own[row, token].sum())
    return (
        f"**{person_name(question.person)}, {name}**{grown}, decoder layer {question.layer + 1}, "
        f"stage *{layer.stage.replace('_', ' ')}*: {places.shape[1]} sampling points, of whose "
        f"attention {share:.0%} lies inside the person’s box. Among tokens, {to_self:.0%} of its "
        f"attention stays with the person and {1 - to_self:.0%} goes to others."
    )
