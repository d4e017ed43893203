"""Predict every picture of a benchmark once and keep what came out, on any number of processes.

Batches are cut the same way whoever works on them, so that one process, several, and a run that
was killed and continued end in the same records.
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
from .answers import Answer, cut_broken_line, read_answers, write_answers
from .benchmarks import Benchmark
from .bodies import Bodies
from .cases import Case
from .metrics import PictureRecord, Protocol, RecordLog, Records
from .ruler import Ruler

LOWEST_SCORE = 0.05
"""People below it are not kept: no threshold asks for them."""
MOST_PEOPLE = 50
"""Of one picture, as the released program submits."""


class RunError(ValueError):
    """A folder of results that cannot be continued; says what to do."""


@dataclass(frozen=True)
class RunOptions:
    """How a benchmark is gone through."""

    folder: Path
    """Records and answers are kept here."""
    batch: int = 4
    """Pictures that go through the network together."""
    fresh: bool = False
    """Begin anew though the folder has results."""
    lists: Path | None = None
    """Folder of the licensed lists of vertices; None takes that of the body."""


@dataclass(frozen=True)
class Measured:
    """A benchmark gone through.

    Attributes:
        benchmark: which.
        cases: all pictures.
        records: of each protocol, under its name.
        folder: where records and answers are.
        threshold: the one that the weights come with.
        answered: whether a network was asked, not a submission read.
    """

    benchmark: Benchmark
    cases: Sequence[Case]
    records: dict[str, Records]
    folder: Path
    threshold: float
    answered: bool = True

    def answers(self, names: Sequence[str] | None = None) -> Iterator[Answer]:
        """What was predicted in some pictures; None means all."""
        wanted = [case.name for case in self.cases] if names is None else names
        return read_answers(self.folder.glob("answers_*.jsonl"), wanted)

    @property
    def protocols(self) -> list[Protocol]:
        """What was measured, the headline first."""
        return [p for p in self.benchmark.protocols if p.name in self.records]

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The benchmark's, else that of the weights."""
        return self.benchmark.thresholds or (self.threshold,)

    @property
    def groups(self) -> list[str]:
        """Parts of the benchmark in their order."""
        return list(dict.fromkeys(case.group for case in self.cases))

    def of_group(self, protocol: Protocol, group: str | None) -> Records:
        """Records of one part; None means all."""
        names = {case.name for case in self.cases if group is None or case.group == group}
        return self.records[protocol.name].only(names.__contains__)


def measure(
    benchmark: Benchmark,
    cases: Sequence[Case],
    predictor: AiOSPredictor,
    bodies: Bodies,
    options: RunOptions,
    identity: dict[str, Any],
) -> Measured | None:
    """Predict and measure every picture that has not been yet.

    Args:
        benchmark: whose rules apply.
        cases: its pictures.
        predictor: whose predictions are measured.
        bodies: poses; gives the lists of vertices.
        options: see there.
        identity: what has to be the same for a run to be continued.

    Returns:
        Everything, to process 0; None to the others.

    Raises:
        RunError: the folder has results of something else.
        LicensedFileError: a list of vertices is missing.
    """
    ruler = Ruler(benchmark, bodies, options.lists)
    if rank() == 0:
        _claim(options, identity)
    gather({})  # nobody looks before the folder is ready
    finished = _finished(benchmark, options.folder)
    gather({})  # nobody writes before all have looked
    work = [b for b in batches(cases, options.batch) if any(c.name not in finished for c in b)]
    log = _Log(benchmark, options.folder)
    own = work[rank() :: world_size()]
    with tqdm(
        total=sum(map(len, own)), desc=benchmark.name, unit="picture", disable=rank() > 0
    ) as bar:
        for batch in own:
            loaded = [case.load() for case in batch]
            found = _predict(benchmark, predictor, [picture for picture, _ in loaded])
            for case, (_, truth), prediction in zip(batch, loaded, found, strict=True):
                if case.name not in finished:
                    log.add(*ruler.measure(case, prediction, truth))
            bar.update(len(batch))
    log.close()
    gather({})
    if rank() > 0:
        return None
    names = {case.name for case in cases}
    records = {
        protocol.name: _all_records(options.folder, protocol).only(names.__contains__)
        for protocol in benchmark.protocols
    }
    return Measured(benchmark, cases, records, options.folder, predictor.weights.threshold)


def batches(cases: Sequence[Case], size: int) -> list[list[Case]]:
    """Pictures that go through the network together: neighbours of one part."""
    answer = []
    for _, members in groupby(cases, key=lambda case: case.group):
        group = list(members)
        answer += [group[start : start + size] for start in range(0, len(group), size)]
    return answer


def _predict(
    benchmark: Benchmark, predictor: AiOSPredictor, pictures: list[np.ndarray]
) -> list[Prediction]:
    """Everyone above the lowest score; where one person counts, the best one whatever its score."""
    found = predictor.predict_batch(pictures, LOWEST_SCORE, MOST_PEOPLE)
    if not any(protocol.one_person for protocol in benchmark.protocols):
        return found
    return [
        prediction if len(prediction) else predictor.predict(picture, 0.0, 1)
        for picture, prediction in zip(pictures, found, strict=True)
    ]


# --- the folder


class _Log:
    """Files of this process: answers first, so that no record is without one."""

    def __init__(self, benchmark: Benchmark, folder: Path) -> None:
        self._answers = folder / f"answers_{rank()}.jsonl"
        cut_broken_line(self._answers)
        self._records = [
            RecordLog(folder / f"records_{protocol.name}_{rank()}.jsonl", protocol)
            for protocol in benchmark.protocols
        ]

    def add(self, answer: Answer, records: list[PictureRecord]) -> None:
        write_answers(self._answers, [answer])
        for log, record in zip(self._records, records, strict=True):
            if record.name not in log.records:
                log.add(record)

    def close(self) -> None:
        for log in self._records:
            log.close()


def _claim(options: RunOptions, identity: dict[str, Any]) -> None:
    """Make the folder ready: empty, or with results of the same thing."""
    about = options.folder / "run.json"
    if options.fresh and about.exists():
        for pattern in ("answers_*.jsonl", "records_*.jsonl"):
            for file in options.folder.glob(pattern):
                file.unlink()
        about.unlink()
    options.folder.mkdir(parents=True, exist_ok=True)
    wanted = identity | {"lowest_score": LOWEST_SCORE, "most_people": MOST_PEOPLE}
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
            "another folder with --out, or begin anew with --fresh."
        )


def _all_records(folder: Path, protocol: Protocol) -> Records:
    files = sorted(folder.glob(f"records_{protocol.name}_*.jsonl"))
    return Records.load(*files) if files else Records(protocol)


def _finished(benchmark: Benchmark, folder: Path) -> set[str]:
    """Pictures that have an answer and all their records."""
    answered: set[str] = set()
    for file in folder.glob("answers_*.jsonl"):
        with file.open("rb") as stream:
            answered |= {json.loads(line)["name"] for line in stream if line.endswith(b"\n")}
    for protocol in benchmark.protocols:
        records = _all_records(folder, protocol)
        answered = {name for name in answered if name in records}
    return answered
