"""Joint errors of many samples thrown together, and the error of acceleration.

A mask says which joints are counted; what is fitted before is fitted on all of them.
Source: specification, EVAL 7.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from .alignment import distances, procrustes, scaled

Alignment = Literal["none", "scale", "procrustes"]
PCK_LIMIT_M = 0.15
AUC_LIMITS_M = tuple(round(0.005 * step, 3) for step in range(31))
"""0, 5, ..., 150 mm."""


def _as_it_is(predicted: np.ndarray, _true: np.ndarray) -> np.ndarray:
    return predicted


_ALIGN: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "none": _as_it_is,
    "scale": scaled,
    "procrustes": procrustes,
}


def pooled_distances(
    predicted: np.ndarray,
    true: np.ndarray,
    mask: np.ndarray | None = None,
    alignment: Alignment = "none",
) -> np.ndarray:
    """Distances of all counted points of all samples.

    Args:
        predicted: (n, K, 3) metres.
        true: (n, K, 3) metres.
        mask: (n, K) bool, True on points that count; None counts all.
        alignment: what is done to each sample before.

    Returns:
        (number of counted points,) metres.
    """
    gaps = distances(_ALIGN[alignment](predicted, true), true)
    return gaps.reshape(-1) if mask is None else gaps[mask]


def pooled_mean(
    predicted: np.ndarray,
    true: np.ndarray,
    mask: np.ndarray | None = None,
    alignment: Alignment = "none",
) -> float:
    """MPJPE of joints, PVE of vertices: the mean of `pooled_distances`, metres."""
    return float(pooled_distances(predicted, true, mask, alignment).mean())


def pck(found_m: np.ndarray, limit_m: float = PCK_LIMIT_M) -> float:
    """Percentage of distances (N,) in metres that are at most `limit_m`."""
    return float(100 * (found_m <= limit_m).mean())


def auc(found_m: np.ndarray) -> float:
    """Mean of `pck` over the 31 limits `AUC_LIMITS_M`, percent."""
    return float(np.mean([pck(found_m, limit) for limit in AUC_LIMITS_M]))


def acceleration_error(
    predicted: np.ndarray, true: np.ndarray, visible: np.ndarray | None = None
) -> np.ndarray:
    """How much accelerations differ, a value per three frames that follow each other.

    Args:
        predicted: (n, K, 3) metres, n frames.
        true: (n, K, 3) metres.
        visible: (n,) bool; three frames count if all of them are visible.

    Returns:
        (n - 2,) or fewer: the mean over joints, metres per frame squared.
    """

    def acceleration(track: np.ndarray) -> np.ndarray:
        return track[:-2] - 2 * track[1:-1] + track[2:]

    errors = distances(acceleration(predicted), acceleration(true)).mean(-1)
    if visible is None:
        return errors
    return errors[visible[:-2] & visible[1:-1] & visible[2:]]
