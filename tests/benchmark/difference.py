"""Differences between the predictions of two predictors, in millimetres."""

import statistics

import numpy as np
import torch

from aios.media.photo import read_photo
from aios.network.preprocessing import batch_images, prepare_photo
from aios.predictor import AiOSPredictor

_AT_THRESHOLD = 0.01


def difference(exact: AiOSPredictor, other: AiOSPredictor, photos) -> dict:
    """Differences of the people that both find and of the image tokens.

    People are matched by box IoU.  Millimetres are mean vertex distances per person with aligned
    pelvis.  A person with a score up to 0.01 below the threshold in one predictor counts as found,
    so rounding at the threshold gives neither missed nor extra people.
    """
    threshold = exact.weights.threshold
    least = max(threshold - _AT_THRESHOLD, 0.0)
    millimetres, found, missed, extra, change = [], 0, 0, 0, []
    for path in photos:
        ours, theirs = other.predict(path, least), exact.predict(path, least)
        pairs = _pairs(theirs.people.boxes_xyxy_px, ours.people.boxes_xyxy_px)
        wanted, given = (one.people.scores >= threshold for one in (theirs, ours))
        found += int(wanted.sum())
        missed += int(wanted.sum()) - sum(bool(wanted[a]) for a, _ in pairs)
        extra += int(given.sum()) - sum(bool(given[b]) for _, b in pairs)
        for a, b in pairs:
            if not wanted[a]:
                continue
            apart = theirs.vertices[a] - theirs.joints_3d[a, 0]
            apart = apart - (ours.vertices[b] - ours.joints_3d[b, 0])
            millimetres.append(float(np.linalg.norm(apart, axis=-1).mean() * 1000))
        change.append(_change_of_tokens(exact, other, read_photo(path)))
    return {
        "people": found,
        "missed": missed,
        "extra": extra,
        "mean_mm": statistics.mean(millimetres) if millimetres else None,
        "median_mm": statistics.median(millimetres) if millimetres else None,
        "greatest_mm": max(millimetres, default=None),
        "change_of_tokens": statistics.mean(change),
    }


def _pairs(first: np.ndarray, second: np.ndarray, least: float = 0.5) -> list[tuple[int, int]]:
    """Greedy one-to-one matches of boxes (N, 4) and (M, 4) by IoU, above `least`."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (first, second)]
    overlap = shared / (areas[0][:, None] + areas[1] - shared)
    pairs = []
    while overlap.size and overlap.max() > least:
        a, b = np.unravel_index(overlap.argmax(), overlap.shape)
        pairs.append((int(a), int(b)))
        overlap[a], overlap[:, b] = 0, 0
    return pairs


def _change_of_tokens(exact: AiOSPredictor, other: AiOSPredictor, photo: np.ndarray) -> float:
    images = batch_images([prepare_photo(photo, exact.model.config.image)])
    with torch.inference_mode():
        wanted, found = (p.model(images.to(p.device)).encoded.memory.cpu() for p in (exact, other))
    return float((found - wanted).norm() / wanted.norm())
