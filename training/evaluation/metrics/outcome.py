"""Matching at one score threshold, one row per annotated person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .matching import Mode, match_people
from .protocols import Protocol
from .records import ImageRecord, Records


@dataclass(frozen=True)
class Outcome:
    """Matching of R valid people in N images at one score threshold."""

    protocol: Protocol
    mode: Mode
    threshold: float
    """0-1; predictions below it are left out."""
    images: tuple[str, ...]
    """Names of the N images, sorted."""
    num_predictions: np.ndarray
    """(N,) int64"""
    num_false_positives: np.ndarray
    """(N,) int64"""
    image_index: np.ndarray
    """(R,) int64 index of the person's image in `images`."""
    person: np.ndarray
    """(R,) int64 index of the person in the annotation of the image."""
    prediction: np.ndarray
    """(R,) int64 index of the matched prediction, -1 for a missed person."""
    score: np.ndarray
    """(R,) 0-1, NaN for a missed person."""
    occlusion: np.ndarray
    """(R,) percent, NaN where unknown."""
    kid: np.ndarray
    """(R,) bool"""
    size_px: np.ndarray
    """(R,) pixels, longer side of the bounding box of the true joints."""
    errors: dict[str, np.ndarray]
    """(R,) metres for each of `protocol.error_names`, NaN for a missed person."""

    @property
    def found(self) -> np.ndarray:
        """(R,) bool, True where a prediction is matched."""
        return self.prediction >= 0

    def worst_images(self, error: str, count: int) -> list[tuple[str, float]]:
        """Images with the worst predictions, worst first.

        Images in which every person was missed come first, the most people missed first; the
        others follow by the mean error of the people found.  Images without valid people are
        left out.

        Args:
            error: one of `protocol.error_names`.
            count: maximum number of images.

        Returns:
            Names with the mean error in mm, NaN where every person was missed.
        """
        size = len(self.images)
        people = np.bincount(self.image_index, minlength=size)
        values = self.errors[error]
        known = ~np.isnan(values)
        total = np.bincount(self.image_index[known], values[known], size)
        measured = np.bincount(self.image_index[known], minlength=size)
        missed = np.bincount(self.image_index[self.found], minlength=size) == 0
        mean = np.where(measured > 0, total / np.maximum(measured, 1), np.nan)
        rank = np.where(missed, people, 0), np.nan_to_num(mean)
        order = np.lexsort((-rank[1], -rank[0]))
        listed = [index for index in order if people[index] and (missed[index] or measured[index])]
        return [(self.images[index], 1000 * float(mean[index])) for index in listed[:count]]


def outcome(records: Records, threshold: float, mode: Mode) -> Outcome:
    """Match the predictions at or above a score threshold.

    Args:
        records: of one benchmark.
        threshold: 0-1.  It has no effect in mode `official` of a protocol that evaluates one
            person per image (`Protocol.one_person`).
        mode: `official` or `plain`.
    """
    images = records.images()
    one_person = records.protocol.one_person and mode == "official"
    tables = [_best_only(r) if one_person else _detected(r, threshold, mode) for r in images]
    width = len(records.protocol.error_names)
    table = np.concatenate([rows for rows, _, _ in tables] or [np.zeros((0, 6 + width))])
    image_index = np.repeat(np.arange(len(tables)), [len(rows) for rows, _, _ in tables])
    return Outcome(
        protocol=records.protocol,
        mode=mode,
        threshold=threshold,
        images=tuple(record.name for record in images),
        num_predictions=np.array([n for _, n, _ in tables], np.int64),
        num_false_positives=np.array([n for _, _, n in tables], np.int64),
        image_index=image_index.astype(np.int64),
        person=table[:, 0].astype(np.int64),
        prediction=table[:, 1].astype(np.int64),
        score=table[:, 2],
        occlusion=table[:, 3],
        kid=table[:, 4].astype(bool),
        size_px=table[:, 5],
        errors={name: table[:, 6 + k] for k, name in enumerate(records.protocol.error_names)},
    )


def _detected(record: ImageRecord, threshold: float, mode: Mode) -> tuple[np.ndarray, int, int]:
    """Rows of one image, number of predictions, number of false positives."""
    kept = np.argsort(-record.scores, kind="stable")
    kept = kept[record.scores[kept] >= threshold]
    matching = match_people(record.cost[kept], record.iou[kept], record.valid, mode)
    pairs = matching.pairs.copy()
    pairs[:, 0] = kept[pairs[:, 0]]
    rows = _rows(record, np.flatnonzero(record.valid), pairs)
    return rows, len(kept), len(matching.false_positives)


def _best_only(record: ImageRecord) -> tuple[np.ndarray, int, int]:
    """As `_detected`, for protocols that evaluate one assigned prediction per image."""
    rows = _rows(record, record.assigned[:, 1], record.assigned)
    return rows, len(record.assigned), 0


def _rows(record: ImageRecord, people: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """(R, 6 + E) person, prediction, score, occlusion, kid, size and errors."""
    partner = np.full(len(record.valid), -1, np.int64)
    partner[pairs[:, 1]] = pairs[:, 0]
    pair_index = {(p, g): k for k, (p, g) in enumerate(record.pairs.tolist())}
    rows = np.full((len(people), 6 + record.errors.shape[1]), np.nan)
    for row, person in enumerate(people.tolist()):
        prediction = int(partner[person])
        properties = (record.occlusion[person], record.kid[person], record.size_px[person])
        rows[row, [0, 1, 3, 4, 5]] = person, prediction, *properties
        if prediction >= 0:
            rows[row, 2] = record.scores[prediction]
            rows[row, 6:] = record.errors[pair_index[prediction, person]]
    return rows
