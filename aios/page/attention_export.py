"""Attention of one person as JSON and NPZ."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from ..attention import token_in_layer
from .attention_query import (
    AttentionQuery,
    SamplingPoints,
    find_attention,
    people_with_attention,
    rows_with_attention,
    sampling_points,
)
from .results import PhotoResult


def attention_to_json(result: PhotoResult, query: AttentionQuery) -> dict[str, Any]:
    """Convert the attention of one token to JSON values. People and layers count from 1.

    Returns:
        `box_cxcywh_px`, the reference box given to the layer; `points`, each sampling point in
        pixels of the photo with level, head and weight (sum 1 per head); `self_attention`, from
        this token to each token of the same person; `to_others`, the rest, to other people.

    Raises:
        AttentionMissingError: no attention is stored for this person.
    """
    attention, row = find_attention(result, query.person)
    layer = attention.layers[query.layer]
    token = token_in_layer(query.token, layer)
    size = _image_size(result)
    own = layer.own[row, token].astype(np.float64)
    return {
        "person": query.person + 1,
        "token": query.token,
        "token_in_layer": layer.tokens[token],
        "layer": query.layer + 1,
        "stage": layer.stage,
        "box_cxcywh_px": (layer.boxes[row, token] * np.tile(size, 2)).round(2).tolist(),
        "points": _points_to_json(sampling_points(layer, row, query), token, size),
        "self_attention": dict(zip(layer.tokens, own.round(5).tolist(), strict=True)),
        "to_others": round(max(0.0, 1 - float(own.sum())), 5),
    }


def attention_to_npz(result: PhotoResult, person: int) -> bytes:
    """Write all stored attention of one person as a NumPy archive that loads without pickle.

    For each decoder layer `k` from 1: `layer{k}_tokens` (T,) names, `layer{k}_boxes_cxcywh_px`
    (T, 4), `layer{k}_locations_px` (T, H, L, N, 2), `layer{k}_weights` (T, H, L, N),
    `layer{k}_self_attention` (T, T) and `layer{k}_to_others` (C, n, C) to the box tokens of the
    people `people` (n,), numbered from 1.  Pixels are those of the photo.

    Raises:
        AttentionMissingError: no attention is stored for this person.
    """
    attention, row = find_attention(result, person)
    size = _image_size(result).astype(np.float32)
    rows = rows_with_attention(result)
    arrays: dict[str, Any] = {
        "person": np.int64(person + 1),
        "people": np.array(people_with_attention(result), np.int64) + 1,
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


def _image_size(result: PhotoResult) -> np.ndarray:
    camera = result.prediction.camera
    return np.array([camera.width, camera.height], np.float64)


def _points_to_json(points: SamplingPoints, token: int, size: np.ndarray) -> list[dict[str, Any]]:
    locations = points.locations[token].astype(np.float64) * size  # (h, l, N, 2)
    weights = points.weights[token].astype(np.float64)  # (h, l, N)
    return [
        {
            "head": points.heads[head] + 1,
            "level": points.levels[level] + 1,
            "x_px": round(float(locations[head, level, point, 0]), 2),
            "y_px": round(float(locations[head, level, point, 1]), 2),
            "weight": round(float(weights[head, level, point]), 5),
        }
        for head, level, point in np.ndindex(*weights.shape)
    ]
