"""Submission files of what was predicted, checked as the judges check them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from aios.predictor import AiOSPredictor

from .answers import Answer
from .metrics import PredictedPeople, SmplConversion
from .run import Measured
from .submission import (
    MOST_PEOPLE,
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
    measured: Measured,
    predictor: AiOSPredictor,
    thresholds: Sequence[float],
    conversions: dict[str, SmplConversion],
) -> list[Path]:
    """Write `predictions.zip` for each form and threshold, always the whole file anew.

    Args:
        measured: a run with answers.
        predictor: poses the bodies of forms that take meshes.
        thresholds: lowest scores.
        conversions: form name -> way to its body, for the forms that are not of SMPL-X.

    Returns:
        The files.  A form whose conversion is missing has none.

    Raises:
        SubmissionError: the judges would not take a file, or nobody is to be submitted.
    """
    written = []
    names = [case.name for case in measured.cases]
    for form in measured.benchmark.forms:
        conversion = conversions.get(form.name)
        if form.name == "agora-smpl" and conversion is None:
            continue
        for threshold in thresholds:
            path = measured.folder / "submission" / form.name / f"score_{threshold:g}" / _FILE
            path.parent.mkdir(parents=True, exist_ok=True)
            entries = _entries(measured, predictor, form, threshold, conversion)
            write_submission(path, form, entries)
            faults = check_submission(path, form, {form.picture_name(name) for name in names})
            if faults:
                raise SubmissionError(f"{path} would not be taken: {faults[0]}")
            written.append(path)
    return written


def _entries(
    measured: Measured,
    predictor: AiOSPredictor,
    form: SubmissionForm,
    threshold: float,
    conversion: SmplConversion | None,
) -> Iterator[tuple[str, list[Entry]]]:
    for answer in measured.answers():
        people = answer.people
        kept = kept_people(people.scores, threshold, MOST_PEOPLE)
        if form.parameters is not None and conversion is None:
            joints = _submitted_pixels(answer, form)[kept]
            entries = parameter_entries(people.select(kept), joints)
        else:
            prediction = predictor.assemble(answer.candidates, threshold, MOST_PEOPLE)
            entries = mesh_entries(
                PredictedPeople.from_prediction(prediction, form.resolution_wh, conversion)
            )
        yield form.picture_name(answer.name), entries


def _submitted_pixels(answer: Answer, form: SubmissionForm) -> np.ndarray:
    """(m, 24, 2) joints in the pixels that the form asks for."""
    size = np.array([answer.camera.width, answer.camera.height])
    return answer.joints_2d * (np.array(form.resolution_wh or size) / size)
