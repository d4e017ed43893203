"""Result files of a run, written beside its records."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aios.predictor import AiOSPredictor

from .bodies import Bodies
from .coco_boxes import SHIFT, write_coco_boxes
from .metrics import LicensedFileError, SmplConversion
from .plots import write_plots
from .run import EvaluationRun
from .run_summary import RunSummary, summarise_run
from .submission import SubmissionError
from .submission_files import write_submissions
from .tables import by_threshold, is_shown, markdown, rows_of, tables_of, write_tables
from .worst_images import WORST_COUNT, write_worst_images

METRICS_FILE = "figures.json"
_SHOWN = ("weights", "body", "pictures", "version", "seed")


@dataclass(frozen=True)
class ResultOptions:
    """Options of `write_results`."""

    thresholds: tuple[float, ...] = ()
    """Replace those of the benchmark or of the weights unless empty."""
    worst: int = WORST_COUNT
    """Images on the page of worst images; 0 writes no page."""
    box_shift: float = SHIFT
    lists: Path | None = None
    """Folder of the licensed files; None takes that of the body."""


def write_results(
    run: EvaluationRun,
    predictor: AiOSPredictor,
    bodies: Bodies,
    options: ResultOptions,
    about: dict[str, Any],
) -> tuple[RunSummary | None, str]:
    """Write metrics, tables, plots, boxes, submissions and the page of worst images.

    Args:
        run: to be written.
        predictor: poses the predicted bodies.
        bodies: locate the licensed files.
        options: see `ResultOptions`.
        about: stored beside the metrics and shown below the tables.

    Returns:
        The metrics (None if the ground truth is not public), and a message for the user.

    Raises:
        SubmissionError: the submission is the only result, and the leaderboard would refuse it.
    """
    folder = run.folder
    thresholds = options.thresholds or run.thresholds
    boxes = write_coco_boxes(folder / "boxes", run.predictions(), thresholds[0], options.box_shift)
    summary, messages = None, []
    if run.benchmark.protocols:
        summary = replace(summarise_run(run, about, options.thresholds), boxes=boxes)
        messages.append(write_metrics(summary, folder))
        write_plots(run, summary, folder)
        if options.worst:
            write_worst_images(run, predictor, thresholds[0], folder / "worst.html", options.worst)
    messages += _submissions(run, predictor, bodies, options, thresholds)
    return summary, "\n".join(messages)


def write_metrics(summary: RunSummary, folder: Path) -> str:
    """Write the metrics as JSON and as tables, the last table by score threshold.

    Returns:
        All tables but the last, as Markdown.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps(summary.to_json(), indent=1, allow_nan=False)
    (folder / METRICS_FILE).write_text(content + "\n")
    tables = [(table, rows_of(table, summary)) for table in tables_of(summary.benchmark)]
    tables = [(table, rows) for table, rows in tables if table.number or is_shown(table, rows)]
    write_tables(folder / "table", [*tables, by_threshold(summary)])
    shown = ", ".join(f"{name} {summary.about[name]}" for name in _SHOWN if name in summary.about)
    scores = ", ".join(f"{threshold:g}" for threshold in summary.thresholds)
    texts = [markdown(table, rows) for table, rows in tables]
    return "\n".join([*texts, f"Evaluated: {shown}, score threshold {scores}.\n"])


def _submissions(
    run: EvaluationRun,
    predictor: AiOSPredictor,
    bodies: Bodies,
    options: ResultOptions,
    thresholds: tuple[float, ...],
) -> list[str]:
    """Write the submissions; returns messages with their paths."""
    messages = []
    conversions: dict[str, SmplConversion] = {}
    if any(form.name == "agora-smpl" for form in run.benchmark.forms):
        try:
            conversions["agora-smpl"] = bodies.smpl_conversion(options.lists)
        except LicensedFileError as error:
            messages.append(f"No submission for the SMPL track: {error}")
    try:
        written = write_submissions(run, predictor, thresholds, conversions)
    except SubmissionError as error:
        if not run.benchmark.protocols:
            raise
        return [*messages, f"No submission: {error}"]
    messages += [f"Submission, checked: {path}" for path in written]
    if written and run.benchmark.upload:
        messages.append(f"Upload it at {run.benchmark.upload}.")
    return messages
