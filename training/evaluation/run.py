"""Prediction of every image of a benchmark, on any number of processes, with records on disk.

Batches do not depend on the number of processes, so that one process, several processes, and a
resumed run give the same records.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from aios.prediction import Prediction
from aios.predictor import AiOSPredictor

from ..engine.distributed import gather, rank, world_size
from .baselines import with_mean_hands
from .benchmarks import Benchmark
from .bodies import Bodies
from .evaluator import Evaluator
from .metrics import ImageRecord, Protocol, RecordLog, Records
from .prediction_records import (
    PredictionRecord,
    append_prediction_records,
    read_prediction_records,
    truncate_partial_line,
)
from .samples import EvaluationSample

MIN_SCORE = 0.05
"""Predictions below it are not stored; no score threshold may be lower."""
MAX_PEOPLE = 50
"""Per image, as in the submissions of the released AiOS."""


class RunError(ValueError):
    """A run cannot be started or resumed."""


@dataclass(frozen=True)
class RunOptions:
    """Options of `evaluate`."""

    folder: Path
    """Folder of the records."""
    batch: int = 4
    """Images in a batch of the network."""
    fresh: bool = False
    """Delete the results in the folder first."""
    lists: Path | None = None
    """Folder of the licensed vertex lists; None takes that of the body."""
    mean_hands: bool = False
    """Measure the baseline `with_mean_hands` instead of the predicted hands."""


@dataclass(frozen=True)
class EvaluationRun:
    """A finished pass over a benchmark.

    Attributes:
        benchmark: that was evaluated.
        samples: all images.
        records: by protocol name.
        folder: of the records.
        threshold: default score threshold of the weights.
        has_predictions: False for a submission, which has no prediction records.
    """

    benchmark: Benchmark
    samples: Sequence[EvaluationSample]
    records: dict[str, Records]
    folder: Path
    threshold: float
    has_predictions: bool = True

    def predictions(self, names: Sequence[str] | None = None) -> Iterator[PredictionRecord]:
        """Read the prediction records of some images; None reads all."""
        wanted = [sample.name for sample in self.samples] if names is None else names
        return read_prediction_records(self.folder.glob("answers_*.jsonl"), wanted)

    @property
    def protocols(self) -> list[Protocol]:
        """Evaluated protocols, the headline first."""
        return [p for p in self.benchmark.protocols if p.name in self.records]

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Score thresholds of the benchmark, or that of the weights if it has none."""
        return self.benchmark.thresholds or (self.threshold,)

    @property
    def groups(self) -> list[str]:
        """Parts of the benchmark in order."""
        return list(dict.fromkeys(sample.group for sample in self.samples))

    def of_group(self, protocol: Protocol, group: str | None) -> Records:
        """Records of one part; None returns all."""
        names = {sample.name for sample in self.samples if group is None or sample.group == group}
        return self.records[protocol.name].only(names.__contains__)


def evaluate(
    benchmark: Benchmark,
    samples: Sequence[EvaluationSample],
    predictor: AiOSPredictor,
    bodies: Bodies,
    options: RunOptions,
    identity: dict[str, Any],
) -> EvaluationRun | None:
    """Predict and compare every image that has no record yet.

    Args:
        benchmark: to be evaluated.
        samples: of the benchmark.
        predictor: to be evaluated.
        bodies: pose the ground truth and provide the vertex lists.
        options: folder, batch size, resume or start fresh.
        identity: values that must be equal for a run to be resumed.

    Returns:
        The run in process 0, None in the others.

    Raises:
        RunError: the folder has results of another run.
        LicensedFileError: a vertex list is missing.
    """
    evaluator = Evaluator(benchmark, bodies, options.lists)
    if rank() == 0:
        _prepare_folder(options, identity)
    gather({})  # barrier: the folder is ready
    finished = _finished(benchmark, options.folder)
    gather({})  # barrier: all processes have read the records before any writes
    pending = [b for b in batches(samples, options.batch) if any(s.name not in finished for s in b)]
    log = _Log(benchmark, options.folder)
    own = pending[rank() :: world_size()]
    with tqdm(
        total=sum(map(len, own)), desc=benchmark.name, unit="image", disable=rank() > 0
    ) as bar:
        for batch in own:
            loaded = [sample.load() for sample in batch]
            predictions = _predict(benchmark, predictor, [image for image, _ in loaded])
            if options.mean_hands:
                predictions = [with_mean_hands(each, predictor.body) for each in predictions]
            for sample, (_, truth), prediction in zip(batch, loaded, predictions, strict=True):
                if sample.name not in finished:
                    log.add(*evaluator.compare(sample, prediction, truth))
            bar.update(len(batch))
    log.close()
    gather({})
    if rank() > 0:
        return None
    names = {sample.name for sample in samples}
    records = {
        protocol.name: _all_records(options.folder, protocol).only(names.__contains__)
        for protocol in benchmark.protocols
    }
    return EvaluationRun(benchmark, samples, records, options.folder, predictor.weights.threshold)


def batches(samples: Sequence[EvaluationSample], size: int) -> list[list[EvaluationSample]]:
    """Split the samples into batches of consecutive images of one part."""
    result = []
    for _, members in groupby(samples, key=lambda sample: sample.group):
        group = list(members)
        result += [group[start : start + size] for start in range(0, len(group), size)]
    return result


def _predict(
    benchmark: Benchmark, predictor: AiOSPredictor, images: list[np.ndarray]
) -> list[Prediction]:
    """Predict people above `MIN_SCORE`; for one-person protocols at least the best one."""
    predictions = predictor.predict_batch(images, MIN_SCORE, MAX_PEOPLE)
    if not any(protocol.one_person for protocol in benchmark.protocols):
        return predictions
    return [
        prediction if len(prediction) else predictor.predict(image, 0.0, 1)
        for image, prediction in zip(images, predictions, strict=True)
    ]


# --- record files


class _Log:
    """Record files of this process.  The prediction is written first: every record has one."""

    def __init__(self, benchmark: Benchmark, folder: Path) -> None:
        self._predictions = folder / f"answers_{rank()}.jsonl"
        truncate_partial_line(self._predictions)
        self._records = [
            RecordLog(folder / f"records_{protocol.name}_{rank()}.jsonl", protocol)
            for protocol in benchmark.protocols
        ]

    def add(self, prediction: PredictionRecord, records: list[ImageRecord]) -> None:
        append_prediction_records(self._predictions, [prediction])
        for log, record in zip(self._records, records, strict=True):
            if record.name not in log.records:
                log.add(record)

    def close(self) -> None:
        for log in self._records:
            log.close()


def _prepare_folder(options: RunOptions, identity: dict[str, Any]) -> None:
    """Create the folder, or check that its results belong to the same run."""
    about = options.folder / "run.json"
    if options.fresh and about.exists():
        for pattern in ("answers_*.jsonl", "records_*.jsonl"):
            for file in options.folder.glob(pattern):
                file.unlink()
        about.unlink()
    options.folder.mkdir(parents=True, exist_ok=True)
    wanted = identity | {"lowest_score": MIN_SCORE, "most_people": MAX_PEOPLE}
    if not about.exists():
        about.write_text(json.dumps(wanted, indent=1) + "\n")
        return
    try:
        known = json.loads(about.read_text())
    except ValueError:
        known = {}
    differs = sorted(key for key in wanted if known.get(key) != wanted[key])
    if differs:
        raise RunError(
            f"{options.folder} has results of another run ({', '.join(differs)} differ): choose "
            "another folder with --out, or start again with --fresh."
        )


def _all_records(folder: Path, protocol: Protocol) -> Records:
    files = sorted(folder.glob(f"records_{protocol.name}_*.jsonl"))
    return Records.load(*files) if files else Records(protocol)


def _finished(benchmark: Benchmark, folder: Path) -> set[str]:
    """Names of images with a prediction and a record of every protocol."""
    predicted: set[str] = set()
    for file in folder.glob("answers_*.jsonl"):
        with file.open("rb") as stream:
            predicted |= {json.loads(line)["name"] for line in stream if line.endswith(b"\n")}
    for protocol in benchmark.protocols:
        records = _all_records(folder, protocol)
        predicted = {name for name in predicted if name in records}
    return predicted
