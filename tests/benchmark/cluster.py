"""Proof of the cluster on this machine: `python -m tests.benchmark.cluster`.

Copies of the example photos are processed by one process without Ray, by one Ray worker, by two,
and by two of which one is killed with SIGKILL in the middle of a part. Prints whether the rows are
those of one process, none lost or doubled, the memory of a worker and the rates as ratios.
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aios.cli import configure_threads_and_malloc, positive_integer
from tests.benchmark.folder import Clock, copies_of_examples

TABLES = ("people", "photos", "failed")
_SHARE_BEFORE_KILL, _SECONDS_IN_PART = 0.4, 0.5


@dataclass
class Kill:
    """Which worker was killed.

    Attributes:
        pid: of the process.
        part: key of the part that it was processing.
        finished: number of parts that were finished before.
    """

    pid: int
    part: str
    finished: int


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    configure_threads_and_malloc()
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(prove(Path(folder), options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark.cluster", description=__doc__)
    parser.add_argument("--weights", default="builtin")
    parser.add_argument("--photos", type=positive_integer, default=500)
    parser.add_argument("--photos-per-part", type=positive_integer, default=20)
    parser.add_argument("--turns", type=positive_integer, default=1)
    return parser


def prove(folder: Path, options: argparse.Namespace) -> str:
    """Run everything; returns the report."""
    from aios.cluster.parts import build_parts
    from aios.cluster.run import Resources, ray_cluster, run_parts
    from aios.cluster.sources import find_sources
    from aios.cluster.worker import PartWorker, WorkerSettings

    copies_of_examples(folder / "photos", options.photos)
    (folder / "photos" / "broken.jpg").write_bytes(b"no photo")
    parts = build_parts(find_sources([str(folder / "photos")]), options.photos_per_part)
    per_part = options.photos / len(parts)
    worker, lines, memory = PartWorker(), [], {}
    rates: dict[str, list[float]] = {}

    def settings(name: str) -> WorkerSettings:
        return WorkerSettings(str(folder / name), options.weights)

    def alone(name: str) -> float:
        own, clock = settings(name).to_bytes(), Clock(len(parts))
        for part in parts:
            worker({"part": part.to_json(), "settings": own})
            clock()
        return clock.rate * per_part

    def with_ray(workers: int, name: str) -> float:
        clock = Clock(len(parts))
        job = run_parts(parts, settings(name), Resources(workers), clock)
        memory[workers] = max(memory.get(workers, 0.0), job.peak_mb)
        return clock.rate * per_part

    def killed(name: str) -> str:
        own, kills = settings(name), list[Kill]()
        watching = threading.Thread(
            target=kill_in_the_middle, args=(Path(own.out), len(parts), kills), daemon=True
        )
        watching.start()
        job = run_parts(parts, own, Resources(2))
        [kill] = kills
        return (
            f"worker {kill.pid} was killed in part {kill.part} after {kill.finished} of"
            f" {len(parts)} parts; a lost part was repeated {job.lost_workers} times,"
            f" {job.parts} of {len(parts)} parts have results, errors: {job.errors}"
        )

    with ray_cluster("local", Resources(2)):
        for turn in range(options.turns):
            for name, way in {
                "one process": alone,
                "Ray, 1 worker": partial(with_ray, 1),
                "Ray, 2 workers": partial(with_ray, 2),
            }.items():
                rates.setdefault(name, []).append(way(f"{name} {turn}"))
        lines.append(killed("killed"))
    wanted = rows(folder / "one process 0")
    for name in ("Ray, 2 workers 0", "killed"):
        lines.append(f"{name}: {compare(wanted, rows(folder / name))}")
    lines.append(f"largest memory of a worker: {max(memory.values()):.0f} MB")
    for name, found in rates.items():
        ratio = statistics.median(
            rate / first for rate, first in zip(found, rates["one process"], strict=True)
        )
        lines.append(f"{name}: {statistics.median(found):.2f} photos/s, ratio {ratio:.2f}")
    return "\n".join(lines) + "\n"


def kill_in_the_middle(out: Path, parts: int, kills: list[Kill]) -> None:
    """Kill a worker in the middle of a part, after some parts are finished.

    The note on an attempt exists as long as its part is in progress. That the part has a second
    attempt afterwards shows that the worker had not finished it.
    """
    while not kills:
        time.sleep(0.02)
        finished = len(list((out / "photos").glob("*.parquet")))
        if finished < parts * _SHARE_BEFORE_KILL:
            continue
        for path in (out / "attempts").glob("*.json"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _SECONDS_IN_PART:
                    kills.append(Kill(json.loads(path.read_text())["process"], path.stem, finished))
                    os.kill(kills[0].pid, signal.SIGKILL)
                    return


def rows(out: Path) -> dict[str, list[str]]:
    """Rows of each table as text, in an order that does not depend on its files."""
    import pyarrow.parquet as pq

    return {
        table: sorted(
            json.dumps(row)
            for path in (out / table).glob("*.parquet")
            for row in pq.read_table(path).to_pylist()
        )
        for table in TABLES
    }


def compare(wanted: dict[str, list[str]], found: dict[str, list[str]]) -> str:
    """Number of rows that are lost, doubled or different from those of one process."""
    words = []
    for table in TABLES:
        lost, extra = Counter(wanted[table]), Counter(found[table])
        lost.subtract(found[table])
        extra.subtract(wanted[table])
        counts = [sum(value for value in each.values() if value > 0) for each in (lost, extra)]
        words.append(
            f"{len(found[table])} {table}: {counts[0]} lost, {counts[1]} more or different"
        )
    return "; ".join(words)


if __name__ == "__main__":
    main()
