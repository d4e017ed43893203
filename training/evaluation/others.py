"""Figures of somebody else's predictions: a submission read back and measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .benchmarks import Benchmark
from .bodies import Bodies
from .cases import Case
from .metrics import AGORA_SMPL, Records, measure_picture
from .run import Measured, RunError
from .submission import Submission


def measure_submission(
    benchmark: Benchmark,
    cases: Sequence[Case],
    path: Path,
    bodies: Bodies,
    folder: Path,
    lists: Path | None = None,
) -> Measured:
    """Measure a `predictions.zip` as if a network had answered; every score is 1.

    Args:
        benchmark: with annotations and a form of submission.
        cases: its pictures.
        path: of the zip file.
        bodies: pose people who are given by parameters.
        folder: of the results.
        lists: folder of the licensed lists; None takes that of the body.

    Raises:
        RunError: the benchmark takes no submissions, or the file has none of its pictures.
        SubmissionError: the file is not as the form asks.
        LicensedFileError: a list of vertices is missing.
    """
    if not benchmark.forms or not benchmark.protocols:
        raise RunError(
            f"{benchmark.name} cannot measure a submission: agora-val, agora-smpl and bedlam-val "
            f"can."
        )
    form = benchmark.forms[0]
    smpl = AGORA_SMPL in benchmark.protocols
    parts = bodies.smpl(lists)[0] if smpl else bodies.parts(benchmark.parts, lists)
    # Scores and keypoints are unknown: only what knows detected people makes sense.
    protocol = benchmark.headline
    records = Records(protocol)
    with Submission(path, form, bodies.neutral) as submission:
        known = {form.picture_name(case.name) for case in cases}
        if not known & set(submission.pictures):
            raise RunError(f"{path} has nobody in any picture of {benchmark.name}.")
        for case in cases:
            _, truth = case.load()
            assert truth is not None
            predicted = submission.people(form.picture_name(case.name))
            records.add(measure_picture(case.name, predicted, truth.people, protocol, parts))
    return Measured(benchmark, cases, {protocol.name: records}, folder, 0.0, answered=False)
