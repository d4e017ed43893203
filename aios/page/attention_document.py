"""Where a token of a person looked, as plain values for programs."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..attention import KeptLayer, token_in_layer
from .attention_answers import NotKeptError, Question
from .sessions import Result


def attention_document(result: Result, question: Question) -> dict[str, Any]:
    """The answer to a question, ready for JSON.  Numbers of people and layers count from 1.

    Returns:
        `box_cxcywh_px`, the reference box that the layer was given; `points`, each sampling point
        in pixels of the photo with its level, head and weight (1 in all for each head);
        `self_attention`, from this token to each token of the same person; `to_others`, what went
        to other people.

    Raises:
        NotKeptError: the person is not among those kept.
    """
    attention = result.candidates.attention
    people = result.prediction.people
    row = None
    if attention is not None and 0 <= question.person < len(result.prediction):
        row = attention.row(people.query_indices[question.person])
    if attention is None or row is None:
        raise NotKeptError(
            f"There is no person {question.person + 1} of whom attention was kept: "
            f"{len(result.prediction)} found."
        )
    layer = attention.layers[question.layer]
    token = token_in_layer(question.token, layer)
    camera = result.prediction.camera
    size = np.array([camera.width, camera.height], np.float64)
    own = layer.own[row, token].astype(np.float64)
    return {
        "person": question.person + 1,
        "token": question.token,
        "token_in_layer": layer.tokens[token],
        "layer": question.layer + 1,
        "stage": layer.stage,
        "box_cxcywh_px": (layer.boxes[row, token] * np.tile(size, 2)).round(2).tolist(),
        "points": _points(layer, row, token, question, size),
        "self_attention": dict(zip(layer.tokens, own.round(5).tolist(), strict=True)),
        "to_others": round(max(0.0, 1 - float(own.sum())), 5),
    }


def _points(
    layer: KeptLayer, row: int, token: int, question: Question, size: np.ndarray
) -> list[dict[str, Any]]:
    weights = layer.weights[row, token].astype(np.float64)  # (H, L, N)
    places = layer.locations[row, token].astype(np.float64) * size  # (H, L, N, 2)
    wanted = np.ones(weights.shape, bool)
    if question.head is not None:
        wanted &= np.arange(weights.shape[0])[:, None, None] == question.head
    if question.level is not None:
        wanted &= np.arange(weights.shape[1])[:, None] == question.level
    return [
        {
            "head": int(head) + 1,
            "level": int(level) + 1,
            "x_px": round(float(places[head, level, point, 0]), 2),
            "y_px": round(float(places[head, level, point, 1]), 2),
            "weight": round(float(weights[head, level, point]), 5),
        }
        for head, level, point in np.argwhere(wanted)
    ]
