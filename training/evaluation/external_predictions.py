"""Evaluation of predictions of another method, read from a submission file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .benchmarks import Benchmark
from .bodies import Bodies
from .metrics import AGORA_SMPL, Records, measure_image
from .run import EvaluationRun, RunError
from .samples import EvaluationSample
from .submission import Submission


def evaluate_submission(
    benchmark: Benchmark,
    samples: Sequence[EvaluationSample],
    path: Path,
    bodies: Bodies,
    folder: Path,
    lists: Path | None = None,
) -> EvaluationRun:
    """Evaluate a `predictions.zip`; every prediction has the score 1.

    Args:
        benchmark: with annotations and a submission form.
        samples: of the benchmark.
        path: of the zip file.
        bodies: pose people that are given by parameters.
        folder: of the results.
        lists: folder of the licensed lists; None takes that of the body.

    Raises:
        RunError: the benchmark takes no submissions, or the file has none of its images.
        SubmissionError: the file does not have the required form.
        LicensedFileError: a vertex list is missing.
    """
    if not benchmark.forms or not benchmark.protocols:
        raise RunError(
            f"{benchmark.name} cannot evaluate a submission; use agora-val, agora-smpl or "
            f"bedlam-val."
        )
    form = benchmark.forms[0]
    smpl = AGORA_SMPL in benchmark.protocols
    parts = bodies.smpl(lists)[0] if smpl else bodies.parts(benchmark.parts, lists)
    # Submissions have no scores and no keypoints, so only the headline protocol applies.
    protocol = benchmark.headline
    records = Records(protocol)
    with Submission(path, form, bodies.neutral) as submission:
        names = {form.image_name(sample.name) for sample in samples}
        if not names & set(submission.images):
            raise RunError(f"{path} has no people in any image of {benchmark.name}.")
        for sample in samples:
            _, truth = sample.load()
            assert truth is not None
            predicted = submission.people(form.image_name(sample.name))
            records.add(measure_image(sample.name, predicted, truth.people, protocol, parts))
    return EvaluationRun(
        benchmark, samples, {protocol.name: records}, folder, 0.0, has_predictions=False
    )
