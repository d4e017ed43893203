"""Everything that people read of a run, written beside its records."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aios.predictor import AiOSPredictor

from .bodies import Bodies
from .boxes import SHIFT, write_boxes
from .figures import Summary, summarise_run
from .metrics import LicensedFileError, SmplConversion
from .plots import write_plots
from .run import Measured
from .submission import SubmissionError
from .submit import write_submissions
from .tables import by_threshold, is_shown, markdown, rows_of, tables_of, write_tables
from .worst import WORST, write_worst_pictures

FIGURES = "figures.json"
_SHOWN = ("weights", "body", "pictures", "version")


@dataclass(frozen=True)
class ReportOptions:
    """What is written."""

    thresholds: tuple[float, ...] = ()
    """Instead of those of the benchmark or of the weights."""
    worst: int = WORST
    """Pictures on the page of the worst; 0 writes none."""
    box_shift: float = SHIFT
    lists: Path | None = None
    """Folder of the licensed files; None takes that of the body."""


def write_report(
    measured: Measured,
    predictor: AiOSPredictor,
    bodies: Bodies,
    options: ReportOptions,
    about: dict[str, Any],
) -> tuple[Summary | None, str]:
    """Write figures, tables, plots, boxes, submissions and the page of the worst pictures.

    Args:
        measured: the run.
        predictor: poses what was predicted.
        bodies: know where the licensed files are.
        options: see there.
        about: kept beside the figures, shown in tables.

    Returns:
        The figures (None where only a leaderboard knows the truth), and what to tell the user.

    Raises:
        SubmissionError: there is nothing but a submission, and it would not be taken.
    """
    folder = measured.folder
    thresholds = options.thresholds or measured.thresholds
    boxes = write_boxes(folder / "boxes", measured.answers(), thresholds[0], options.box_shift)
    summary, told = None, []
    if measured.benchmark.protocols:
        summary = replace(summarise_run(measured, about, options.thresholds), boxes=boxes)
        told.append(write_figures(summary, folder))
        write_plots(measured, summary, folder)
        if options.worst:
            write_worst_pictures(
                measured, predictor, thresholds[0], folder / "worst.html", options.worst
            )
    told += _submissions(measured, predictor, bodies, options, thresholds)
    return summary, "\n".join(told)


def write_figures(summary: Summary, folder: Path) -> str:
    """Write the figures and their tables, the last of them by score threshold.

    Returns:
        The tables but the last, as Markdown.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps(summary.to_json(), indent=1, allow_nan=False)
    (folder / FIGURES).write_text(content + "\n")
    tables = [(table, rows_of(table, summary)) for table in tables_of(summary.benchmark)]
    tables = [(table, rows) for table, rows in tables if table.number or is_shown(table, rows)]
    write_tables(folder / "table", [*tables, by_threshold(summary)])
    shown = ", ".join(f"{name} {summary.about[name]}" for name in _SHOWN if name in summary.about)
    scores = ", ".join(f"{threshold:g}" for threshold in summary.thresholds)
    texts = [markdown(table, rows) for table, rows in tables]
    return "\n".join([*texts, f"Measured: {shown}, score from {scores} on.\n"])


def _submissions(
    measured: Measured,
    predictor: AiOSPredictor,
    bodies: Bodies,
    options: ReportOptions,
    thresholds: tuple[float, ...],
) -> list[str]:
    """Write them, and say where they are."""
    told = []
    conversions: dict[str, SmplConversion] = {}
    if any(form.name == "agora-smpl" for form in measured.benchmark.forms):
        try:
            conversions["agora-smpl"] = bodies.smpl_conversion(options.lists)
        except LicensedFileError as error:
            told.append(f"No submission for the SMPL track: {error}")
    try:
        written = write_submissions(measured, predictor, thresholds, conversions)
    except SubmissionError as error:
        if not measured.benchmark.protocols:
            raise
        return [*told, f"No submission: {error}"]
    told += [f"Submission, checked: {path}" for path in written]
    if written and measured.benchmark.upload:
        told.append(f"Hand it in at {measured.benchmark.upload}.")
    return told
