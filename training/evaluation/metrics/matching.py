"""Who was found: pairs of predicted and annotated people of one picture.

Source: specification, EVAL 2 and 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from aios.geometry.boxes import pairwise_iou

Mode = Literal["official", "plain"]
"""`official` gives the numbers of the public tools, quirks included; `plain` what they define."""
MODES: tuple[Mode, ...] = ("official", "plain")
MATCHED_JOINTS = 24
LEAST_IOU = 0.1
_LAST_PIXEL = np.array([0.0, 0.0, 1.0, 1.0])


@dataclass(frozen=True)
class Matching:
    """Who was found in one picture.

    Attributes:
        pairs: (K, 2) int64 prediction and person, in the order in which they were made.
        false_positives: (F,) int64 predictions that found nobody.
    """

    pairs: np.ndarray
    false_positives: np.ndarray


def joint_costs(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """How far predictions are from people in the picture.

    Args:
        predicted: (m, 24 or more, 2) pixels; the first 24 joints count.
        true: (n, 24 or more, 2) pixels.

    Returns:
        (m, n) pixels, spectral norm of the 24 x 2 difference: its largest singular value.  The
        specification says Frobenius, but only this norm gives the order of the recorded pairs.
    """
    gap = predicted[:, None, :MATCHED_JOINTS] - true[None, :, :MATCHED_JOINTS].astype(np.float64)
    xx, yy = (gap**2).sum(-2).transpose(2, 0, 1)
    xy = gap.prod(-1).sum(-1)
    return np.sqrt((xx + yy) / 2 + np.hypot((xx - yy) / 2, xy))


def joint_boxes(joints_2d: np.ndarray) -> np.ndarray:
    """(P, J, 2) pixels -> (P, 4) x1, y1, x2, y2 around all of them."""
    return np.concatenate([joints_2d.min(1), joints_2d.max(1)], -1).astype(np.float64)


def pixel_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(m, 4) and (n, 4) boxes whose last pixel belongs to them -> (m, n)."""
    return pairwise_iou(first + _LAST_PIXEL, second + _LAST_PIXEL)


def match_people(cost: np.ndarray, iou: np.ndarray, valid: np.ndarray, mode: Mode) -> Matching:
    """Pairs by rising cost, each prediction and each person at most once.

    `plain`: whoever overlaps enough and is nearest is taken.  A prediction that takes a person
    who is not valid is neither right nor wrong.

    `official`, as AGORA's tool does it: a prediction never takes a person who is not valid, and
    stays free for another; and every pair that overlaps too little, free or not, is counted as an
    event: once matches and events are as many as the predictions, nobody is matched any more.
    (Whether pairs with people who are not valid are events is not known; here they are.)

    Args:
        cost: (m, n).
        iou: (m, n).
        valid: (n,) bool.
        mode: see above.
    """
    count, people = cost.shape
    order = np.argsort(cost, axis=None, kind="stable")
    prediction, person = np.divmod(order, max(people, 1))
    overlapping = iou.reshape(-1)[order] >= LEAST_IOU
    events = np.cumsum(~overlapping)
    legal = overlapping & valid[person] if mode == "official" else overlapping
    pairs: list[tuple[int, int]] = []
    used_predictions: set[int] = set()
    used_people: set[int] = set()
    for place in np.flatnonzero(legal).tolist():
        if mode == "official" and len(pairs) + events[place] >= count:
            break
        p, g = int(prediction[place]), int(person[place])
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
    """To whom the one prediction of a picture is assigned on the sets with one value a picture.

    Args:
        predicted: (K, 2) pixels.
        true: (n, K, 2) pixels.
        confidence: (n, K) how surely each point is annotated.
        valid: (n,) bool.

    Returns:
        The valid person with the smallest sum of |x| and |y| distances; None if there is nobody.
    """
    if not valid.any():
        return None
    gap = np.abs(true.astype(np.float64) - predicted).sum(-1)
    return int(np.where(valid, (gap * confidence).sum(-1), np.inf).argmin())


def score_prefixes(scores: np.ndarray) -> list[np.ndarray]:
    """Every set of predictions that some score threshold leaves, none left out but the empty one.

    Args:
        scores: (m,).

    Returns:
        Indices, best score first; each set is longer than the one before.
    """
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ends = [
        end
        for end in range(1, len(order) + 1)
        if end == len(order) or ordered[end] < ordered[end - 1]
    ]
    return [order[:end] for end in ends]
