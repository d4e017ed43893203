"""All figures of a measured benchmark: by part, score threshold and mode."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .benchmarks import SWEEP
from .metrics import MODES, Figures, Mode, Outcome, Records, outcome, summarise
from .run import Measured

ALL = "all"
"""Name of everything together, where a benchmark has parts."""
DEPTH_GAP_M = 0.3
"""Two people who stand nearer to each other than that, as the camera sees it, have no order."""


@dataclass(frozen=True)
class Summary:
    """What tables and plots show of one run."""

    benchmark: str
    about: dict[str, Any]
    """Weights, body and whatever else makes the run what it is."""
    thresholds: tuple[float, ...]
    """The first is the one of tables that show one row."""
    figures: dict[str, dict[float, dict[Mode, Figures]]]
    """Part -> threshold -> mode; the last part is `ALL`."""
    sweep: list[Figures]
    """`plain` figures of everything over `SWEEP`."""
    boxes: dict[str, Figures] = field(default_factory=dict)
    """How boxes agree with the annotated ones, see `write_boxes`."""

    def to_json(self) -> dict[str, Any]:
        """Plain values; what is not a number becomes null."""
        return {
            "benchmark": self.benchmark,
            "about": self.about,
            "thresholds": list(self.thresholds),
            "figures": {
                part: {
                    str(threshold): {mode: _no_nan(values) for mode, values in modes.items()}
                    for threshold, modes in by_threshold.items()
                }
                for part, by_threshold in self.figures.items()
            },
            "sweep": [_no_nan(values) for values in self.sweep],
            "boxes": {name: _no_nan(values) for name, values in self.boxes.items()},
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Summary:
        """What `to_json` gave.

        Raises:
            KeyError: the content is something else.
        """
        return cls(
            benchmark=content["benchmark"],
            about=content["about"],
            thresholds=tuple(content["thresholds"]),
            figures={
                part: {
                    float(threshold): {mode: _with_nan(modes[mode]) for mode in MODES}
                    for threshold, modes in by_threshold.items()
                }
                for part, by_threshold in content["figures"].items()
            },
            sweep=[_with_nan(values) for values in content["sweep"]],
            boxes={name: _with_nan(values) for name, values in content["boxes"].items()},
        )

    def main(self, part: str = ALL, mode: Mode = "plain") -> Figures:
        """The figures of a part at the first threshold."""
        return self.figures[part][self.thresholds[0]][mode]

    def brief(self) -> dict[str, Any]:
        """`plain` figures at the first threshold: of each part, or of everything."""
        parts = [part for part in self.figures if part != ALL] or [ALL]
        return {
            part: {"threshold": self.thresholds[0], **_no_nan(self.main(part))} for part in parts
        }


def _no_nan(values: Figures) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def _with_nan(values: dict[str, float | None]) -> Figures:
    return {name: math.nan if value is None else value for name, value in values.items()}


def summarise_run(measured: Measured, about: dict[str, Any], more: tuple[float, ...]) -> Summary:
    """Figures of everything that was measured.

    Args:
        measured: the run.
        about: kept beside the figures.
        more: thresholds to take instead of the usual ones.
    """
    thresholds = more or measured.thresholds
    named = [group for group in measured.groups if group]
    pictures = _Pictures(measured)
    figures = {
        part: {
            threshold: _modes(measured, pictures, None if part == ALL else part, threshold)
            for threshold in thresholds
        }
        for part in [*named, ALL]
    }
    sweep = [
        {"threshold": threshold} | _modes(measured, pictures, None, threshold)["plain"]
        for threshold in SWEEP
    ]
    return Summary(measured.benchmark.name, about, thresholds, figures, sweep)


def _modes(
    measured: Measured, pictures: _Pictures, group: str | None, threshold: float
) -> dict[Mode, Figures]:
    """Figures under all protocols; counts are those of the headline."""
    answer: dict[Mode, Figures] = {mode: {} for mode in MODES}
    for protocol in reversed(measured.protocols):
        records = measured.of_group(protocol, group)
        for mode, values in summarise(records, threshold).items():
            answer[mode] |= _known(values, measured)
            if protocol is measured.benchmark.headline:
                answer[mode] |= pictures.figures(records, threshold)
    return answer


def _known(values: Figures, measured: Measured) -> Figures:
    """Without what the benchmark has no list of vertices for."""
    left_out = set() if "j14" in measured.benchmark.parts else {"pa_mpjpe_body_mm"}
    return {name: value for name, value in values.items() if name not in left_out}


class _Pictures:
    """Figures of how people lie in their pictures and stand in them together."""

    def __init__(self, measured: Measured) -> None:
        answers = measured.answers(None if measured.answered else ())
        # Not the answers themselves: they are large.
        self._keypoints, self._depths = {}, {}
        for answer in answers:
            self._keypoints[answer.name] = answer.keypoints_right, answer.keypoints_shown
            self._depths[answer.name] = answer.depths_m, answer.true_depths_m

    def figures(self, records: Records, threshold: float) -> Figures:
        """What can be told of `pck` and `depth_order`, both 0-1; nothing if nothing is predicted.

        `pck` is PCK@0.1 of 2D keypoints, of those annotated in the picture: people who were missed
        have all of them wrong.  `depth_order`, of pairs of people found in one picture whose
        true depths differ by more than `DEPTH_GAP_M`, is the share of which the nearer one is
        nearer.
        """
        if not self._keypoints:
            return {}
        result = outcome(records, threshold, "plain")
        return self._pck(result) | self._depth_order(result)

    def _pck(self, result: Outcome) -> Figures:
        right = shown = 0
        rows = zip(result.picture, result.person, result.prediction, strict=True)
        for picture, person, prediction in rows:
            pairs, asked = self._keypoints[result.pictures[picture]]
            shown += int(asked[person])
            if prediction >= 0:
                right += int(pairs[prediction, person])
        return {"pck": right / shown} if shown else {}

    def _depth_order(self, result: Outcome) -> Figures:
        right = pairs = 0
        found = np.flatnonzero(result.found)
        for rows in np.split(found, np.flatnonzero(np.diff(result.picture[found])) + 1):
            if len(rows) < 2:
                continue
            said, true = self._depths[result.pictures[result.picture[rows[0]]]]
            said, true = said[result.prediction[rows]], true[result.person[rows]]
            nearer = true[:, None] < true - DEPTH_GAP_M
            pairs += int(nearer.sum())
            right += int((nearer & (said[:, None] < said)).sum())
        return {"depth_order": right / pairs} if pairs else {}


def by_property(
    records: Records, threshold: float, error: str, name: str, edges: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Errors and recall of people by one of their properties.

    Args:
        records: of the pictures.
        threshold: score.
        error: one of the protocol's `error_names`.
        name: "occlusion" or "size_px".
        edges: (E + 1,) borders of bins; the last bin holds its upper border.

    Returns:
        Mean error in mm of those found (E,), NaN in empty bins; share found (E,); people (E,).
    """
    result = outcome(records, threshold, "plain")
    values = getattr(result, name)
    bins = np.digitize(values, edges[1:-1])
    bins[(values < edges[0]) | (values > edges[-1]) | np.isnan(values)] = -1
    people = np.array([(bins == k).sum() for k in range(len(edges) - 1)])
    means, found = np.full((2, len(people)), np.nan)
    for k in np.flatnonzero(people):
        chosen = bins == k
        found[k] = result.found[chosen].mean()
        errors = result.errors[error][chosen & result.found]
        errors = errors[~np.isnan(errors)]
        if len(errors):
            means[k] = 1000 * errors.mean()
    return means, found, people
