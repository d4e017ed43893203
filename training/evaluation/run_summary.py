"""All metrics of an evaluation run: by part, score threshold and mode."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .benchmarks import SWEEP
from .metrics import MODES, MetricValues, Mode, Outcome, Records, outcome, summarise
from .run import EvaluationRun

ALL = "all"
"""Name of the union of all parts of a benchmark."""
DEPTH_GAP_M = 0.3
"""Pairs of people with a smaller depth difference have no order."""


@dataclass(frozen=True)
class RunSummary:
    """Metrics of one run, the content of `figures.json`."""

    benchmark: str
    about: dict[str, Any]
    """Weights, body and other properties of the run."""
    thresholds: tuple[float, ...]
    """Score thresholds; tables with one row show the first."""
    figures: dict[str, dict[float, dict[Mode, MetricValues]]]
    """Part -> threshold -> mode -> metrics; the last part is `ALL`."""
    sweep: list[MetricValues]
    """`plain` metrics of all parts over `SWEEP`."""
    boxes: dict[str, MetricValues] = field(default_factory=dict)
    """Agreement of boxes with the annotated ones, see `write_coco_boxes`."""

    def to_json(self) -> dict[str, Any]:
        """Convert to plain values; NaN becomes None."""
        return {
            "benchmark": self.benchmark,
            "about": self.about,
            "thresholds": list(self.thresholds),
            "figures": {
                part: {
                    str(threshold): {mode: _nan_to_none(values) for mode, values in modes.items()}
                    for threshold, modes in by_threshold.items()
                }
                for part, by_threshold in self.figures.items()
            },
            "sweep": [_nan_to_none(values) for values in self.sweep],
            "boxes": {name: _nan_to_none(values) for name, values in self.boxes.items()},
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> RunSummary:
        """Parse the result of `to_json`.

        Raises:
            KeyError: a key is missing.
        """
        return cls(
            benchmark=content["benchmark"],
            about=content["about"],
            thresholds=tuple(content["thresholds"]),
            figures={
                part: {
                    float(threshold): {mode: _none_to_nan(modes[mode]) for mode in MODES}
                    for threshold, modes in by_threshold.items()
                }
                for part, by_threshold in content["figures"].items()
            },
            sweep=[_none_to_nan(values) for values in content["sweep"]],
            boxes={name: _none_to_nan(values) for name, values in content["boxes"].items()},
        )

    def main(self, part: str = ALL, mode: Mode = "plain") -> MetricValues:
        """Metrics of a part at the first threshold."""
        return self.figures[part][self.thresholds[0]][mode]

    def brief(self) -> dict[str, Any]:
        """`plain` metrics of each part, or of the whole benchmark, at the first threshold."""
        parts = [part for part in self.figures if part != ALL] or [ALL]
        return {
            part: {"threshold": self.thresholds[0], **_nan_to_none(self.main(part))}
            for part in parts
        }


def _nan_to_none(values: MetricValues) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def _none_to_nan(values: dict[str, float | None]) -> MetricValues:
    return {name: math.nan if value is None else value for name, value in values.items()}


def summarise_run(
    run: EvaluationRun, about: dict[str, Any], thresholds: tuple[float, ...]
) -> RunSummary:
    """Compute all metrics of a run.

    Args:
        run: to be summarised.
        about: stored beside the metrics.
        thresholds: replace those of the benchmark unless empty.
    """
    thresholds = thresholds or run.thresholds
    named = [group for group in run.groups if group]
    predictions = _PredictionMetrics(run)
    figures = {
        part: {
            threshold: _modes(run, predictions, None if part == ALL else part, threshold)
            for threshold in thresholds
        }
        for part in [*named, ALL]
    }
    sweep = [
        {"threshold": threshold} | _modes(run, predictions, None, threshold)["plain"]
        for threshold in SWEEP
    ]
    return RunSummary(run.benchmark.name, about, thresholds, figures, sweep)


def _modes(
    run: EvaluationRun, predictions: _PredictionMetrics, group: str | None, threshold: float
) -> dict[Mode, MetricValues]:
    """Metrics under all protocols; detection metrics are those of the headline."""
    metrics: dict[Mode, MetricValues] = {mode: {} for mode in MODES}
    for protocol in reversed(run.protocols):
        records = run.of_group(protocol, group)
        for mode, values in summarise(records, threshold).items():
            metrics[mode] |= _without_unavailable(values, run)
            if protocol is run.benchmark.headline:
                metrics[mode] |= predictions.metrics(records, threshold)
    return metrics


def _without_unavailable(values: MetricValues, run: EvaluationRun) -> MetricValues:
    """Drop metrics whose vertex lists the benchmark does not use."""
    unavailable = set() if "j14" in run.benchmark.parts else {"pa_mpjpe_body_mm"}
    return {name: value for name, value in values.items() if name not in unavailable}


class _PredictionMetrics:
    """PCK and depth order, which are computed from the prediction records."""

    def __init__(self, run: EvaluationRun) -> None:
        records = run.predictions(None if run.has_predictions else ())
        # Keep only these arrays: the records are large.
        self._keypoints, self._depths = {}, {}
        for record in records:
            self._keypoints[record.name] = record.keypoints_right, record.keypoints_shown
            self._depths[record.name] = record.depths_m, record.true_depths_m

    def metrics(self, records: Records, threshold: float) -> MetricValues:
        """`pck`, `depth_order` (both 0-1) and `depth_pairs`, if there are data for them.

        `pck` is PCK@0.1 over the annotated 2D keypoints inside the image; all keypoints of missed
        people are wrong.  `depth_order` is the share of pairs of people found in one image, with
        true depths more than `DEPTH_GAP_M` apart, whose predicted depths have the true order, and
        `depth_pairs` the number of these pairs.
        """
        if not self._keypoints:
            return {}
        result = outcome(records, threshold, "plain")
        return self._pck(result) | self._depth_order(result)

    def _pck(self, result: Outcome) -> MetricValues:
        right = shown = 0
        rows = zip(result.image_index, result.person, result.prediction, strict=True)
        for image, person, prediction in rows:
            right_by_pair, shown_by_person = self._keypoints[result.images[image]]
            shown += int(shown_by_person[person])
            if prediction >= 0:
                right += int(right_by_pair[prediction, person])
        return {"pck": right / shown} if shown else {}

    def _depth_order(self, result: Outcome) -> MetricValues:
        right = pairs = 0
        found = np.flatnonzero(result.found)
        for rows in np.split(found, np.flatnonzero(np.diff(result.image_index[found])) + 1):
            if len(rows) < 2:
                continue
            predicted, true = self._depths[result.images[result.image_index[rows[0]]]]
            predicted, true = predicted[result.prediction[rows]], true[result.person[rows]]
            nearer = true[:, None] < true - DEPTH_GAP_M
            pairs += int(nearer.sum())
            right += int((nearer & (predicted[:, None] < predicted)).sum())
        return {"depth_order": right / pairs, "depth_pairs": pairs} if pairs else {}


def by_property(
    records: Records, threshold: float, error: str, name: str, edges: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Histogram errors and recall over a property of people.

    Args:
        records: of the images.
        threshold: score threshold.
        error: one of the protocol's `error_names`.
        name: "occlusion" or "size_px".
        edges: (E + 1,) bin edges; the last bin includes its upper edge.

    Returns:
        Mean error in mm of people found (E,), NaN in empty bins; recall (E,); people (E,).
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
