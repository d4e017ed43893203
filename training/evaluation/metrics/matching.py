"""Matching of predicted to annotated people in one image.

The rules are those of the AGORA evaluation program (pixelite1201/agora_evaluation) and, for one
person per image, of the SMPLer-X evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from aios.geometry.boxes import pairwise_iou

Mode = Literal["official", "plain"]
"""`official` reproduces the public programs with their quirks; `plain` applies the definitions."""
MODES: tuple[Mode, ...] = ("official", "plain")
MATCHED_JOINTS = 24
MIN_IOU = 0.1
_LAST_PIXEL = np.array([0.0, 0.0, 1.0, 1.0])


@dataclass(frozen=True)
class Matching:
    """Result of matching one image.

    Attributes:
        pairs: (K, 2) int64 indices of prediction and person, in matching order.
        false_positives: (F,) int64 indices of unmatched predictions.
    """

    pairs: np.ndarray
    false_positives: np.ndarray


def joint_costs(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """2D joint distance between each prediction and each person.

    Args:
        predicted: (m, 24 or more, 2) pixels; the first 24 joints are compared.
        true: (n, 24 or more, 2) pixels.

    Returns:
        (m, n) pixels, spectral norm (largest singular value) of the 24 x 2 difference.  The
        AGORA program orders its pairs by this norm, not by the Frobenius norm.
    """
    gap = predicted[:, None, :MATCHED_JOINTS] - true[None, :, :MATCHED_JOINTS].astype(np.float64)
    xx, yy = (gap**2).sum(-2).transpose(2, 0, 1)
    xy = gap.prod(-1).sum(-1)
    return np.sqrt((xx + yy) / 2 + np.hypot((xx - yy) / 2, xy))


def joint_boxes(joints_2d: np.ndarray) -> np.ndarray:
    """Bounding boxes of joints, (P, J, 2) pixels -> (P, 4) x1, y1, x2, y2."""
    return np.concatenate([joints_2d.min(1), joints_2d.max(1)], -1).astype(np.float64)


def pixel_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """IoU of (m, 4) and (n, 4) inclusive pixel boxes, with the + 1 of AGORA's program -> (m, n)."""
    return pairwise_iou(first + _LAST_PIXEL, second + _LAST_PIXEL)


def match_people(cost: np.ndarray, iou: np.ndarray, valid: np.ndarray, mode: Mode) -> Matching:
    """Greedy one-to-one matching by ascending cost; a pair needs an IoU of at least `MIN_IOU`.

    `plain`: a prediction matched to an invalid person is neither a true nor a false positive.

    `official`, as in AGORA's program: invalid people are never matched and leave the prediction
    free; and every pair below the IoU limit, free or not, is an event: matching stops when matches
    and events together are as many as the predictions.  (Pairs with invalid people are counted as
    events here; the program's behaviour is unknown.)

    Args:
        cost: (m, n), see `joint_costs`.
        iou: (m, n), 0-1.
        valid: (n,) bool, False for people excluded from the evaluation.
        mode: see above.
    """
    count, people = cost.shape
    order = np.argsort(cost, axis=None, kind="stable")
    prediction, person = np.divmod(order, max(people, 1))
    overlapping = iou.reshape(-1)[order] >= MIN_IOU
    events = np.cumsum(~overlapping)
    legal = overlapping & valid[person] if mode == "official" else overlapping
    pairs: list[tuple[int, int]] = []
    used_predictions: set[int] = set()
    used_people: set[int] = set()
    for rank in np.flatnonzero(legal).tolist():
        if mode == "official" and len(pairs) + events[rank] >= count:
            break
        p, g = int(prediction[rank]), int(person[rank])
        if p in used_predictions or g in used_people:
            continue
        used_predictions.add(p)
        used_people.add(g)
        if valid[g]:
            pairs.append((p, g))
    wrong = [p for p in range(count) if p not in used_predictions]
    return Matching(np.array(pairs, np.int64).reshape(-1, 2), np.array(wrong, np.int64))


def nearest_person(
    predicted: np.ndarray, true: np.ndarray, confidence: np.ndarray, valid: np.ndarray
) -> int | None:
    """Person assigned to the single prediction of an image, on sets evaluated that way.

    Args:
        predicted: (K, 2) pixels.
        true: (n, K, 2) pixels.
        confidence: (n, K) annotation confidence of each point.
        valid: (n,) bool.

    Returns:
        Index of the valid person with the smallest L1 distance; None if there is none.
    """
    if not valid.any():
        return None
    gap = np.abs(true.astype(np.float64) - predicted).sum(-1)
    return int(np.where(valid, (gap * confidence).sum(-1), np.inf).argmin())


def score_prefixes(scores: np.ndarray) -> list[np.ndarray]:
    """All non-empty sets of predictions that a score threshold can keep.

    Args:
        scores: (m,).

    Returns:
        Index arrays, best score first, in ascending length.
    """
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ends = [
        end
        for end in range(1, len(order) + 1)
        if end == len(order) or ordered[end] < ordered[end - 1]
    ]
    return [order[:end] for end in ends]
