"""Photos a second one by one, in batches and with Ray: `python -m tests.benchmark.folder`.

Copies of the example photos are predicted by one process one by one, by the batches of the folder
pipeline, and by two Ray workers that write tables; each figure is the fastest of several runs. The
three ways take turns, so that the load of the machine is the same for all of them. Files and
overlays are left out.
"""

import argparse
import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from aios.cli import configure_threads_and_malloc, positive_integer

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    options = _parser().parse_args()
    configure_threads_and_malloc()
    with tempfile.TemporaryDirectory() as folder:
        photos = copies_of_examples(Path(folder) / "photos", options.photos)
        sys.stdout.write(report(measure(photos, Path(folder), options)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark.folder", description=__doc__)
    parser.add_argument("--weights", default="builtin")
    parser.add_argument("--photos", type=positive_integer, default=48)
    parser.add_argument("--workers", type=positive_integer, default=2)
    parser.add_argument("--repeats", type=positive_integer, default=2)
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


def measure(photos: list[Path], folder: Path, options: argparse.Namespace) -> dict[str, dict]:
    """Photos a second and largest memory by way."""
    from aios.cluster.parts import build_parts
    from aios.cluster.run import Resources, ray_cluster, run_parts
    from aios.cluster.sources import find_sources
    from aios.cluster.worker import WorkerSettings
    from aios.media.photo_sources import items_from_paths
    from aios.pipelines.batches import PeopleLimits, predicted
    from aios.predictor import AiOSPredictor

    predictor = AiOSPredictor.from_pretrained(options.weights, device="cpu")
    predictor.predict(photos[0])
    resources = Resources(options.workers)
    parts = build_parts(find_sources([str(photos[0].parent)]), -(-len(photos) // 8))
    memory: list[float] = []

    def one_by_one() -> float:
        return _seconds(lambda: [predictor.predict(photo) for photo in photos])

    def batches() -> float:
        items = items_from_paths(photos)
        return _seconds(lambda: list(predicted(predictor, items, PeopleLimits())))

    def ray() -> float:
        out = tempfile.mkdtemp(dir=folder)
        job = run_parts(parts, WorkerSettings(out, options.weights), resources)
        memory.append(job.peak_mb)
        return job.seconds

    ways: dict[str, Callable[[], float]] = {"one by one": one_by_one, "batches": batches}
    seconds: dict[str, list[float]] = {}
    with contextlib.ExitStack() as stack:
        stack.enter_context(ray_cluster("local", resources))
        ways[f"Ray, {options.workers} workers"] = ray
        for _ in range(options.repeats):
            for name, way in ways.items():
                seconds.setdefault(name, []).append(way())
    found = {name: {"rate": len(photos) / min(values)} for name, values in seconds.items()}
    found[f"Ray, {options.workers} workers"]["peak_mb"] = max(memory)
    return found


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def report(found: dict[str, dict]) -> str:
    """A Markdown table with the ratios to the first way."""
    first = next(iter(found.values()))["rate"]
    lines = ["| way | photos/s | ratio | memory of a worker |", "|---|---|---|---|"]
    for name, values in found.items():
        memory = f"{values['peak_mb']:.0f} MB" if "peak_mb" in values else ""
        ratio = values["rate"] / first
        lines.append(f"| {name} | {values['rate']:.2f} | {ratio:.2f} | {memory} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
