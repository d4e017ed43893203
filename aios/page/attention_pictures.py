"""Pictures of the attention of one token, and of self-attention between people."""

from __future__ import annotations

from dataclasses import dataclass

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
from .attention_query import (
    AttentionQuery,
    find_attention,
    people_with_attention,
    rows_with_attention,
    sampling_points,
)
from .results import PhotoResult

_CROP_MARGIN, _MIN_CROP, _CROP_SIDE_PX = 0.3, 0.16, 1000


@dataclass(frozen=True)
class _Crop:
    """A rectangle of the photo; corners are 0-1 of the photo."""

    low: np.ndarray
    high: np.ndarray

    def transform(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2), 0-1 of the photo -> 0-1 of the crop."""
        return (points - self.low) / (self.high - self.low)


def token_pictures(
    result: PhotoResult, query: AttentionQuery
) -> tuple[np.ndarray, np.ndarray, str]:
    """Return the sampling points of the token, a heat map of all tokens, and a description.

    Raises:
        AttentionMissingError: no attention is stored for this person.
    """
    attention, row = find_attention(result, query.person)
    layer = attention.layers[query.layer]
    token = token_in_layer(query.token, layer)
    locations, weights = _flat_points(layer, row, query)
    box = layer.boxes[row, token]
    whole = _Crop(np.zeros(2), np.ones(2))
    crop = _close_up(result.photo, box, locations[token]) if query.close_up else whole
    photo = _cut(result.photo, crop)
    box_in_crop = np.concatenate([crop.transform(box[:2]), box[2:] / (crop.high - crop.low)])
    sampling = draw_sampling_points(
        photo, box_in_crop, crop.transform(locations[token]), weights[token]
    )
    heat = draw_heatmap(photo, crop.transform(locations.reshape(-1, 2)), weights.ravel())
    return sampling, heat, _description(layer, row, token, query, locations, weights)


def matrix_pictures(result: PhotoResult, query: AttentionQuery) -> tuple[np.ndarray, np.ndarray]:
    """Return self-attention between all people, and between the tokens of the person.

    Raises:
        AttentionMissingError: no attention is stored for this person.
    """
    attention, row = find_attention(result, query.person)
    layer = attention.layers[query.layer]
    people, rows = people_with_attention(result), rows_with_attention(result)
    colors = person_colors(len(result.prediction))[people]
    numbers = [str(index + 1) for index in people]
    others = layer.others[rows][:, :, rows]
    between = draw_people_matrix(layer.own[rows], others, layer.box_tokens, numbers, colors)
    return between, draw_token_matrix(layer.own[row], layer.tokens)


def attention_figure(result: PhotoResult, query: AttentionQuery) -> np.ndarray:
    """Return all four pictures on one sheet, (h, w, 3) uint8 RGB."""
    sampling, heat, _ = token_pictures(result, query)
    between, among = matrix_pictures(result, query)
    name = person_name(query.person)
    title = f"{name}, {query.token}, decoder layer {query.layer + 1}"
    return image_grid(
        [
            (f"Sampling points: {title}", sampling),
            (f"Sampling density of all tokens of {name.lower()}", heat),
            ("Self-attention between people (box tokens)", between),
            (f"Self-attention between the tokens of {name.lower()}", among),
        ]
    )


def _flat_points(
    layer: KeptLayer, row: int, query: AttentionQuery
) -> tuple[np.ndarray, np.ndarray]:
    """Sampling points (T, K, 2) and weights (T, K); weights of all heads and levels sum to 1."""
    points = sampling_points(layer, row, query)
    count = len(points.weights)
    num_heads = layer.weights.shape[2]
    return points.locations.reshape(count, -1, 2), points.weights.reshape(count, -1) / num_heads


def _close_up(photo: np.ndarray, box: np.ndarray, locations: np.ndarray) -> _Crop:
    """Nearly square crop (in pixels) that contains the box and the points inside the photo."""
    inside = locations[((locations >= 0) & (locations <= 1)).all(1)]
    corners = np.stack([box[:2] - box[2:] / 2, box[:2] + box[2:] / 2])
    points = np.clip(np.concatenate([inside, corners]), 0.0, 1.0)
    low, high = points.min(0), points.max(0)
    aspect = np.array(photo.shape[1::-1]) / max(photo.shape[:2])
    side = max(float(((high - low) * aspect).max()) * (1 + _CROP_MARGIN), _MIN_CROP)
    half = np.minimum(side / aspect, 1.0) / 2
    center = np.clip((low + high) / 2, half, 1 - half)
    return _Crop(center - half, center + half)


def _cut(photo: np.ndarray, crop: _Crop) -> np.ndarray:
    height, width = photo.shape[:2]
    x0, y0 = np.floor(crop.low * (width, height)).astype(int)
    x1, y1 = np.ceil(crop.high * (width, height)).astype(int)
    cut = photo[max(y0, 0) : max(y1, y0 + 1), max(x0, 0) : max(x1, x0 + 1)]
    scale = _CROP_SIDE_PX / max(cut.shape[:2])
    if scale <= 1:
        return cut
    size = (round(cut.shape[1] * scale), round(cut.shape[0] * scale))
    return cv2.resize(cut, (max(size[0], 1), max(size[1], 1)), interpolation=cv2.INTER_CUBIC)


def _description(
    layer: KeptLayer,
    row: int,
    token: int,
    query: AttentionQuery,
    locations: np.ndarray,
    weights: np.ndarray,
) -> str:
    """Describe the pictures with numbers, for screen readers too."""
    name = layer.tokens[token]
    origin = ""
    if name != query.token:
        origin = f" (*{query.token}* does not exist yet; it is initialised from this token)"
    box = layer.boxes[row, layer.tokens.index("body box")]
    inside = (np.abs(locations[token] - box[:2]) <= box[2:] / 2).all(1)
    total = float(weights[token].sum())
    share = float(weights[token][inside].sum()) / max(total, 1e-9)
    to_self = float(layer.own[row, token].sum())
    return (
        f"**{person_name(query.person)}, {name}**{origin}, decoder layer {query.layer + 1}, "
        f"stage *{layer.stage.replace('_', ' ')}*: {locations.shape[1]} sampling points; "
        f"{share:.0%} of their attention lies inside the person’s box. In self-attention, "
        f"{to_self:.0%} stays with this person and {1 - to_self:.0%} goes to others."
    )
