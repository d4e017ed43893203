"""Alignment of predicted points to true ones, and distances between them.

All functions take any number of leading dimensions and compute in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_MIN_SPREAD = 1e-300
"""Lower bound of the squared spread: the scale of coinciding points is 0, not NaN."""


@dataclass(frozen=True)
class Similarity:
    """x -> scale * rotation @ x + translation.

    Attributes:
        scale: (...).
        rotation: (..., 3, 3), never a reflection.
        translation: (..., 3), unit of the points.
    """

    scale: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """(..., N, 3) -> (..., N, 3)."""
        rotated = points @ np.swapaxes(self.rotation, -1, -2)
        return self.scale[..., None, None] * rotated + self.translation[..., None, :]


def fit_similarity(predicted: np.ndarray, true: np.ndarray) -> Similarity:
    """Least-squares similarity from `predicted` to `true` (Procrustes, Umeyama 1991).

    The rotation is proper: for a mirror image the smallest singular value is negated.

    Args:
        predicted: (..., N, 3).
        true: (..., N, 3).
    """
    predicted, true = np.asarray(predicted, np.float64), np.asarray(true, np.float64)
    centroid, goal = _centroid(predicted), _centroid(true)
    centred, wanted = predicted - centroid[..., None, :], true - goal[..., None, :]
    u, singular, vt = np.linalg.svd(np.swapaxes(centred, -1, -2) @ wanted)
    sign = np.ones_like(singular)
    sign[..., 2] = np.where(np.linalg.det(u @ vt) < 0, -1.0, 1.0)
    rotation = np.swapaxes((u * sign[..., None, :]) @ vt, -1, -2)
    spread = np.maximum(np.einsum("...nc,...nc->...", centred, centred), _MIN_SPREAD)
    scale = (singular * sign).sum(-1) / spread
    moved = (rotation @ centroid[..., None])[..., 0]
    return Similarity(scale, rotation, goal - scale[..., None] * moved)


def _centroid(points: np.ndarray) -> np.ndarray:
    """Centroid, (..., N, 3) -> (..., 3); a matrix product is five times faster than `mean`."""
    return np.full(points.shape[-2], 1 / points.shape[-2]) @ points


def procrustes(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Align `predicted` (..., N, 3) to `true` (..., N, 3) by scale, rotation and translation."""
    predicted = np.asarray(predicted, np.float64)
    return fit_similarity(predicted, true)(predicted)


def root_aligned(
    predicted: np.ndarray, predicted_root: np.ndarray, true_root: np.ndarray
) -> np.ndarray:
    """Translate `predicted` (..., N, 3) from its root (..., 3) to the true root (..., 3)."""
    shift = np.asarray(true_root, np.float64) - predicted_root
    return predicted + shift[..., None, :]


def distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Euclidean distances of point pairs, (..., N, 3) and (..., N, 3) -> (..., N)."""
    gap = np.asarray(first, np.float64) - second
    return np.sqrt(np.einsum("...c,...c->...", gap, gap))
