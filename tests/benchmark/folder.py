"""Photos a second of a folder one by one and by processes: `python -m tests.benchmark.folder`.

Copies of the example photos are worked on with all files, as by `python -m aios`: by a plain loop
in one process (read, predict, write), and by the folder pipeline with one and with several
processes; then without files, as by `python -m aios.cluster`: by one process and by Ray workers.
The ways of each kind take turns, so that the load of the machine is the same for all of them; the
ratio is the median of those of each turn. The start of processes is left out: time counts from a
tenth of the photos on.

`--weights paper` stands for random weights of the paper's network at its size, with which five
people are kept in each photo; it takes seconds a photo: `--weights paper --photos 12`.
"""

import argparse
import contextlib
import filecmp
import itertools
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from aios.cli import configure_threads_and_malloc, positive_integer

PAPER = "paper"
_PEOPLE = 5


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    configure_threads_and_malloc()
    from aios.pipelines.batches import PeopleLimits
    from tests.benchmark.parts import save_official_layout

    ways = {"files": _ways_with_files, "tables": _ways_with_tables}
    with tempfile.TemporaryDirectory() as folder:
        photos = copies_of_examples(Path(folder) / "photos", options.photos)
        options.limits = PeopleLimits()
        if options.weights == PAPER:  # no score tells people from others
            options.limits = PeopleLimits(0.0, _PEOPLE)
            options.weights = str(Path(folder) / "paper.safetensors")
            save_official_layout(Path(options.weights))
        for kind in options.results:
            with ways[kind](photos, Path(folder), options) as found:
                sys.stdout.write(report(kind, in_turns(found, options.turns)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark.folder", description=__doc__)
    parser.add_argument("--weights", default="builtin")
    parser.add_argument(
        "--results", nargs="+", choices=("files", "tables"), default=["files", "tables"]
    )
    parser.add_argument("--photos", type=positive_integer, default=120)
    parser.add_argument("--processes", type=positive_integer, default=2)
    parser.add_argument("--turns", type=positive_integer, default=3)
    return parser


def copies_of_examples(folder: Path, count: int) -> list[Path]:
    """Write `count` copies of the example photos and return their paths."""
    from aios.resources import EXAMPLES

    folder.mkdir(parents=True)
    examples = sorted(EXAMPLES.glob("*.jpg"))
    paths = [folder / f"{index:06d}.jpg" for index in range(count)]
    for index, path in enumerate(paths):
        shutil.copyfile(examples[index % len(examples)], path)
    return paths


class Clock:
    """Rate of the photos after the first tenth."""

    def __init__(self, count: int) -> None:
        self._skipped, self._times = max(1, count // 10), []

    def __call__(self, *_) -> None:
        """Note that a photo is finished."""
        self._times.append(time.perf_counter())

    @property
    def rate(self) -> float:
        counted = self._times[self._skipped - 1 :]
        return (len(counted) - 1) / (counted[-1] - counted[0])


Ways = dict[str, Callable[[], float]]


@contextlib.contextmanager
def _ways_with_files(photos: list[Path], folder: Path, options: argparse.Namespace):
    """Ways to write all files of all photos, each with its photos a second.

    At the end, files are compared to those of a loop with as many threads, since the number of
    threads changes the last bits of a product of large matrices.
    """
    from aios.export.photo_files import write_results
    from aios.media.photo import read_photo
    from aios.media.photo_sources import items_from_paths
    from aios.pipelines.export_settings import DEFAULT_EXPORT
    from aios.pipelines.folder import FolderSettings, reconstruct_folder
    from aios.pipelines.machine import plan_processes, threads_of, torch_threads
    from aios.pipelines.sinks import folder_sink
    from aios.predictor import AiOSPredictor

    predictor = AiOSPredictor.from_pretrained(options.weights, device="cpu")
    limits = options.limits
    outs = {name: folder / name for name in ("loop", "one", "several")}

    def loop() -> float:
        out, clock = _empty(outs["loop"]), Clock(len(photos))
        settings = DEFAULT_EXPORT.settings(predictor)
        for path in photos:
            photo = read_photo(path)
            prediction = predictor.predict(photo, limits.threshold, limits.max_people)
            write_results(prediction, photo, path.stem, out, settings, path.name)
            clock()
        return clock.rate

    def pipeline(name: str, processes: int) -> float:
        out, clock = _empty(outs[name]), Clock(len(photos))
        threads = threads_of(predictor, processes)
        side_by_side = plan_processes(predictor, processes, options.weights, None)
        items, settings = items_from_paths(photos), FolderSettings(**vars(limits))
        with torch_threads(threads):
            reconstruct_folder(
                predictor,
                items,
                folder_sink(out),
                settings,
                lambda progress: clock() if progress.done else None,
                side_by_side=side_by_side,
            )
        return clock.rate

    yield {
        "loop in one process": loop,
        "pipeline in one process": partial(pipeline, "one", 1),
        f"{options.processes} processes": partial(pipeline, "several", options.processes),
    }
    for name, processes in (("one", 1), ("several", options.processes)):
        with torch_threads(threads_of(predictor, processes)):
            loop()
        same = all(
            filecmp.cmp(path, outs[name] / path.name, shallow=False)
            for path in outs["loop"].iterdir()
        )
        sys.stdout.write(
            f"{processes} process{'es' * (processes > 1)}: files equal to the bit to those of a"
            f" loop with as many threads: {'yes' if same else 'NO'}\n"
        )


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


@contextlib.contextmanager
def _ways_with_tables(photos: list[Path], folder: Path, options: argparse.Namespace):
    """Ways to write the tables of all photos, each with its photos a second."""
    from aios.cluster.parts import build_parts
    from aios.cluster.run import Resources, ray_cluster, run_parts
    from aios.cluster.sources import find_sources
    from aios.cluster.worker import PartWorker, WorkerSettings

    parts = build_parts(find_sources([str(photos[0].parent)]), max(1, len(photos) // 24))
    worker, numbers = PartWorker(), itertools.count()

    def settings() -> WorkerSettings:
        out = str(folder / f"tables{next(numbers)}")
        return WorkerSettings(out, options.weights, limits=options.limits)

    def one_process() -> float:
        own, clock = settings().to_bytes(), Clock(len(parts))
        for part in parts:
            worker({"part": part.to_json(), "settings": own})
            clock()
        return clock.rate * len(photos) / len(parts)

    def ray(workers: int) -> float:
        clock = Clock(len(parts))
        run_parts(parts, settings(), Resources(workers), clock)
        return clock.rate * len(photos) / len(parts)

    with ray_cluster("local", Resources(options.processes)):
        yield {
            "one process": one_process,
            "Ray, 1 worker": partial(ray, 1),
            f"Ray, {options.processes} workers": partial(ray, options.processes),
        }


def in_turns(ways: Ways, turns: int) -> dict[str, list[float]]:
    """Photos a second of each way in each turn."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, way in ways.items():
            found[name].append(way())
    return found


def report(title: str, found: dict[str, list[float]]) -> str:
    """A Markdown table of median rates and of ratios to the first way."""
    first = next(iter(found.values()))
    lines = [f"| {title} | photos/s | ratio | lowest and highest |", "|---|---|---|---|"]
    for name, rates in found.items():
        ratios = [rate / other for rate, other in zip(rates, first, strict=True)]
        middle = statistics.median(ratios)
        spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
        lines.append(f"| {name} | {statistics.median(rates):.2f} | {middle:.2f} | {spread} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
