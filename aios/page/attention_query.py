"""Selection of the attention of one token of one person in one decoder layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..attention import KEPT_PEOPLE, Attention, KeptLayer
from .results import PhotoResult


class AttentionMissingError(LookupError):
    """No attention is stored for this person. The message is one sentence for a visitor."""


@dataclass(frozen=True)
class AttentionQuery:
    """Selection of a token, a layer and part of its attention.

    Attributes:
        person: index among the people of the result.
        token: one of `attention.token_names` of the last layer.
        layer: decoder layer, from 0.
        level: feature level, from 0, finest first; None for all.
        head: attention head, from 0; None for all.
        close_up: crop the photo to the sampling points.
    """

    person: int
    token: str
    layer: int
    level: int | None = None
    head: int | None = None
    close_up: bool = False


@dataclass(frozen=True)
class SamplingPoints:
    """Sampling points of the selected heads and levels for all T tokens of one person.

    Attributes:
        locations: (T, h, l, N, 2) float32, 0-1 of the photo.
        weights: (T, h, l, N) float32; they sum to 1 per head over all levels.
        heads: h numbers of the heads, from 0.
        levels: l numbers of the levels, from 0.
    """

    locations: np.ndarray
    weights: np.ndarray
    heads: list[int]
    levels: list[int]


def people_with_attention(result: PhotoResult) -> list[int]:
    """Return the indices of people whose attention is stored."""
    attention = result.candidates.attention
    if attention is None:
        return []
    queries = result.prediction.people.query_indices
    return [index for index in result.prediction if attention.row(queries[index]) is not None]


def rows_with_attention(result: PhotoResult) -> list[int]:
    """Return the row in the attention arrays for each of `people_with_attention`."""
    attention = result.candidates.attention
    if attention is None:
        return []
    rows = (attention.row(query) for query in result.prediction.people.query_indices)
    return [row for row in rows if row is not None]


def find_attention(result: PhotoResult, person: int) -> tuple[Attention, int]:
    """Return the attention of a photo and the row of a person in its arrays.

    Raises:
        AttentionMissingError: there is no such person, or nothing is stored for them.
    """
    count = len(result.prediction)
    if not 0 <= person < count:
        raise AttentionMissingError(f"There is no person {person + 1}: {count} found.")
    attention = result.candidates.attention
    row = (
        None if attention is None else attention.row(result.prediction.people.query_indices[person])
    )
    if attention is None or row is None:
        raise AttentionMissingError(
            f"Attention is stored only for the {KEPT_PEOPLE} people with the highest scores, and"
            " not for panoramas."
        )
    return attention, row


def sampling_points(layer: KeptLayer, row: int, query: AttentionQuery) -> SamplingPoints:
    """Select the sampling points of the heads and levels of a query."""
    _, num_heads, num_levels, _ = layer.weights[row].shape
    heads = list(range(num_heads)) if query.head is None else [query.head]
    levels = list(range(num_levels)) if query.level is None else [query.level]
    part = np.ix_(range(len(layer.tokens)), heads, levels)
    return SamplingPoints(
        layer.locations[row][part].astype(np.float32),
        layer.weights[row][part].astype(np.float32),
        heads,
        levels,
    )
