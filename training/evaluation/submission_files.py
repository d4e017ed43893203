"""Submission files of a run, checked by the rules of the leaderboards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from aios.predictor import AiOSPredictor

from .metrics import PredictedPeople, SmplConversion
from .prediction_records import PredictionRecord
from .run import EvaluationRun
from .submission import (
    MAX_PEOPLE,
    SubmissionError,
    SubmissionForm,
    check_submission,
    kept_people,
    mesh_entries,
    parameter_entries,
    write_submission,
)
from .submission.forms import Entry

_FILE = "predictions.zip"


def write_submissions(
    run: EvaluationRun,
    predictor: AiOSPredictor,
    thresholds: Sequence[float],
    conversions: dict[str, SmplConversion],
) -> list[Path]:
    """Write a complete `predictions.zip` for each form and score threshold.

    Args:
        run: with prediction records.
        predictor: poses the bodies for forms that require meshes.
        thresholds: score thresholds.
        conversions: form name -> conversion from SMPL-X, for forms of another body.

    Returns:
        Paths of the files.  Forms with a missing conversion are skipped.

    Raises:
        SubmissionError: a leaderboard would refuse a file, or no predictions are left.
    """
    written = []
    names = [sample.name for sample in run.samples]
    for form in run.benchmark.forms:
        conversion = conversions.get(form.name)
        if form.name == "agora-smpl" and conversion is None:
            continue
        for threshold in thresholds:
            path = run.folder / "submission" / form.name / f"score_{threshold:g}" / _FILE
            path.parent.mkdir(parents=True, exist_ok=True)
            entries = _entries(run, predictor, form, threshold, conversion)
            write_submission(path, form, entries)
            faults = check_submission(path, form, {form.image_name(name) for name in names})
            if faults:
                raise SubmissionError(f"{path} would be refused: {faults[0]}")
            written.append(path)
    return written


def _entries(
    run: EvaluationRun,
    predictor: AiOSPredictor,
    form: SubmissionForm,
    threshold: float,
    conversion: SmplConversion | None,
) -> Iterator[tuple[str, list[Entry]]]:
    for record in run.predictions():
        people = record.people
        kept = kept_people(people.scores, threshold, MAX_PEOPLE)
        if form.parameters is not None and conversion is None:
            joints = _submitted_pixels(record, form)[kept]
            entries = parameter_entries(people.select(kept), joints)
        else:
            prediction = predictor.assemble(record.candidates, threshold, MAX_PEOPLE)
            entries = mesh_entries(
                PredictedPeople.from_prediction(prediction, form.resolution_wh, conversion)
            )
        yield form.image_name(record.name), entries


def _submitted_pixels(record: PredictionRecord, form: SubmissionForm) -> np.ndarray:
    """(m, 24, 2) joints, in pixels at the resolution of the form."""
    size = np.array([record.camera.width, record.camera.height])
    return record.joints_2d * (np.array(form.resolution_wh or size) / size)
