"""Who was found at one score threshold: a row for every person, from which figures are summed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .matching import Mode, match_people
from .protocols import Protocol
from .records import PictureRecord, Records


@dataclass(frozen=True)
class Outcome:
    """R people to be found in N pictures."""

    protocol: Protocol
    mode: Mode
    threshold: float
    """0-1, lowest score that counted."""
    pictures: tuple[str, ...]
    """Names of the N pictures, sorted."""
    num_predictions: np.ndarray
    """(N,) int64"""
    num_false_positives: np.ndarray
    """(N,) int64"""
    picture: np.ndarray
    """(R,) int64 place of the person's picture in `pictures`."""
    person: np.ndarray
    """(R,) int64 number of the person in the annotation of the picture."""
    prediction: np.ndarray
    """(R,) int64 number of the prediction, -1 for somebody missed."""
    score: np.ndarray
    """(R,) 0-1, NaN for somebody missed."""
    occlusion: np.ndarray
    """(R,) percent, NaN where it is unknown."""
    kid: np.ndarray
    """(R,) bool"""
    size_px: np.ndarray
    """(R,) pixels, longer side of the box around the true joints."""
    errors: dict[str, np.ndarray]
    """(R,) metres under each of `protocol.error_names`, NaN for somebody missed."""

    @property
    def found(self) -> np.ndarray:
        """(R,) bool: not missed."""
        return self.prediction >= 0

    def rows(self) -> list[dict[str, Any]]:
        """Every person as a dictionary of plain values, for tables and plots; errors in mm."""
        plain = ("person", "prediction", "score", "occlusion", "kid", "size_px")
        columns: dict[str, list] = {name: getattr(self, name).tolist() for name in plain}
        columns["picture"] = [self.pictures[index] for index in self.picture]
        columns |= {f"{name}_mm": (1000 * v).tolist() for name, v in self.errors.items()}
        names = list(columns)
        return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def worst_pictures(self, error: str, count: int) -> list[tuple[str, float]]:
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
        size = len(self.pictures)
        people = np.bincount(self.picture, minlength=size)
        values = self.errors[error]
        known = ~np.isnan(values)
        total = np.bincount(self.picture[known], values[known], size)
        measured = np.bincount(self.picture[known], minlength=size)
        missed = np.bincount(self.picture[self.found], minlength=size) == 0
        mean = np.where(measured > 0, total / np.maximum(measured, 1), np.nan)
        rank = np.where(missed, people, 0), np.nan_to_num(mean)
        order = np.lexsort((-rank[1], -rank[0]))
        listed = [index for index in order if people[index] and (missed[index] or measured[index])]
        return [(self.pictures[index], 1000 * float(mean[index])) for index in listed[:count]]


def outcome(records: Records, threshold: float, mode: Mode) -> Outcome:
    """Match the predictions at or above a score.

    Args:
        records: of one benchmark.
        threshold: lowest score that counts, 0-1.  Where in mode `official` only the best person
            of a picture counts (`Protocol.one_person`) it is not asked.
        mode: `official` or `plain`.
    """
    pictures = records.pictures()
    one_person = records.protocol.one_person and mode == "official"
    tables = [_best_only(r) if one_person else _detected(r, threshold, mode) for r in pictures]
    width = len(records.protocol.error_names)
    table = np.concatenate([rows for rows, _, _ in tables] or [np.zeros((0, 6 + width))])
    place = np.repeat(np.arange(len(tables)), [len(rows) for rows, _, _ in tables])
    return Outcome(
        protocol=records.protocol,
        mode=mode,
        threshold=threshold,
        pictures=tuple(record.name for record in pictures),
        num_predictions=np.array([n for _, n, _ in tables], np.int64),
        num_false_positives=np.array([n for _, _, n in tables], np.int64),
        picture=place.astype(np.int64),
        person=table[:, 0].astype(np.int64),
        prediction=table[:, 1].astype(np.int64),
        score=table[:, 2],
        occlusion=table[:, 3],
        kid=table[:, 4].astype(bool),
        size_px=table[:, 5],
        errors={name: table[:, 6 + k] for k, name in enumerate(records.protocol.error_names)},
    )


def _detected(record: PictureRecord, threshold: float, mode: Mode) -> tuple[np.ndarray, int, int]:
    """Rows of one picture, numbers of predictions and of those that found nobody."""
    kept = np.argsort(-record.scores, kind="stable")
    kept = kept[record.scores[kept] >= threshold]
    matching = match_people(record.cost[kept], record.iou[kept], record.valid, mode)
    pairs = matching.pairs.copy()
    pairs[:, 0] = kept[pairs[:, 0]]
    rows = _rows(record, np.flatnonzero(record.valid), pairs)
    return rows, len(kept), len(matching.false_positives)


def _best_only(record: PictureRecord) -> tuple[np.ndarray, int, int]:
    """The same where one prediction is assigned to somebody and nobody else is asked."""
    rows = _rows(record, record.assigned[:, 1], record.assigned)
    return rows, len(record.assigned), 0


def _rows(record: PictureRecord, people: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """(R, 6 + E) person, prediction, score, occlusion, kid, size, errors."""
    partner = np.full(len(record.valid), -1, np.int64)
    partner[pairs[:, 1]] = pairs[:, 0]
    place = {(p, g): k for k, (p, g) in enumerate(record.pairs.tolist())}
    rows = np.full((len(people), 6 + record.errors.shape[1]), np.nan)
    for row, person in enumerate(people.tolist()):
        prediction = int(partner[person])
        about = (record.occlusion[person], record.kid[person], record.size_px[person])
        rows[row, [0, 1, 3, 4, 5]] = person, prediction, *about
        if prediction >= 0:
            rows[row, 2] = record.scores[prediction]
            rows[row, 6:] = record.errors[place[prediction, person]]
    return rows
