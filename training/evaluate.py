"""Measure weights on a benchmark: `python -m training.evaluate BENCHMARK --weights W --body B`.

`synthetic` needs nothing but the program; the others need licensed files, and an error says which
and where to get them. `tables` prints the paper's tables with our rows from earlier runs.
The same command again goes on where a killed one stopped; `torchrun --standalone --nproc-per-node N
-m training.evaluate ...` shares the work among processes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import cv2
import torch

from aios.body.model import BodyModelError
from aios.predictor import AiOSPredictor
from aios.resources import STANDIN_BODY
from aios.weights.checkpoint import CheckpointError

from .data import DataError
from .engine.distributed import process_group, rank
from .evaluation.answers import AnswerError
from .evaluation.benchmarks import BENCHMARKS, Benchmark
from .evaluation.bodies import Bodies, check_body
from .evaluation.boxes import SHIFT
from .evaluation.cases import Case
from .evaluation.figures import Summary, summarise_run
from .evaluation.metrics import LicensedFileError, PeopleError, RecordsError
from .evaluation.others import measure_submission
from .evaluation.report import FIGURES, ReportOptions, write_figures, write_report
from .evaluation.run import LOWEST_SCORE, Measured, RunError, RunOptions, measure
from .evaluation.sources import Places, open_cases
from .evaluation.submission import SubmissionError
from .evaluation.tables import all_tables, markdown, write_tables
from .evaluation.worst import WORST
from .synthetic import BENCHMARK_PARTS, BENCHMARK_VERSION, benchmark_scene

_RUNS = Path("runs/evaluation")
_ERRORS = (
    *(AnswerError, BodyModelError, CheckpointError, DataError, LicensedFileError),
    *(PeopleError, RecordsError, RunError, SubmissionError),
)
_TABLES = "tables"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("benchmark", choices=[*BENCHMARKS, _TABLES])
    add("--weights", default="builtin", help="builtin, official, a Hub repository or a file")
    add(
        "--body", help="SMPL-X file or folder; synthetic people are stand-ins whatever is said here"
    )
    add("--lists", type=Path, help="folder of the licensed vertex lists; default: the body's")
    add("--data", type=Path, help="folder of all data sets")
    add("--annotations", type=Path, help="annotations elsewhere than usual")
    add("--images", type=Path, help="pictures elsewhere than usual")
    add("--trust-pickle", action="store_true", help="annotations may run what they like")
    add("--interval", type=_count, default=0, help="every so many-th picture; default: the set's")
    add("--limit", type=_count, help="first so many pictures, of each part where there are parts")
    add("--threshold", type=_score, action="append", default=[], help="instead of the paper's")
    add("--batch", type=_count, default=4, help="pictures at once")
    add("--threads", type=_count, default=1, help="of each process; more processes are faster")
    add("--out", type=Path, help=f"folder of results; default: one in {_RUNS}")
    add("--fresh", action="store_true", help="begin anew though the folder has results")
    add("--json", type=Path, help="also write the figures here, by part where there are parts")
    add("--worst", type=int, default=WORST, help="pictures on the page of the worst")
    add("--box-shift", type=float, default=SHIFT, help="of the noise experiment, share of a box")
    add("--predictions", type=Path, metavar="ZIP", help="measure this submission, no network")
    add("--runs", type=Path, default=_RUNS, help=f"for {_TABLES}: folder of runs")
    add("--server", type=Path, metavar="JSON", help=f"for {_TABLES}: figures of leaderboards")
    return parser


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def _score(text: str) -> float:
    value = float(text)
    if not LOWEST_SCORE <= value <= 1:
        raise argparse.ArgumentTypeError(
            f"{text} is not between {LOWEST_SCORE} and 1: people below it are not kept"
        )
    return value


def main(arguments: list[str] | None = None) -> int:
    """Command line; the exit code is 1 if something is missing or went wrong."""
    options = _parser().parse_args(arguments)
    cv2.setNumThreads(1)
    # Sums of several threads are rounded otherwise, and torchrun starts processes of one.
    torch.set_num_threads(options.threads)
    try:
        if options.benchmark == _TABLES:
            return _print_tables(options)
        return _evaluate(BENCHMARKS[options.benchmark], options)
    except _ERRORS as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _evaluate(benchmark: Benchmark, options: argparse.Namespace) -> int:
    with process_group():
        body = STANDIN_BODY if benchmark.kind == "synthetic" else options.body
        predictor = AiOSPredictor.from_pretrained(options.weights, body)
        check_body(benchmark, predictor.body)
        bodies = Bodies(predictor.body, body)
        places = Places(
            root=options.data,
            annotations=options.annotations,
            images=options.images,
            interval=options.interval,
            limit=options.limit,
            trust_pickle=options.trust_pickle,
        )
        cases = open_cases(benchmark, places, bodies)
        identity: dict[str, Any] = {}
        if options.predictions:
            measured = _submission(benchmark, cases, bodies, options)
        else:
            identity = _identity(benchmark, predictor, options)
            folder = options.out or _usual_folder(benchmark, identity)
            run = RunOptions(folder, options.batch, options.fresh, options.lists)
            measured = measure(benchmark, cases, predictor, bodies, run, identity)
    # Processes that only helped are done; nobody waits for what follows.
    if measured is None:
        return 0
    thresholds = tuple(options.threshold)
    summary: Summary | None
    if options.predictions:
        about = {"weights": options.predictions.name, "pictures": len(cases)}
        summary = summarise_run(measured, about, thresholds)
        told = write_figures(summary, measured.folder)
    else:
        report = ReportOptions(thresholds, options.worst, options.box_shift, options.lists)
        about = identity | {"weights": _short_name(predictor), "pictures": len(cases)}
        summary, told = write_report(measured, predictor, bodies, report, about)
    if options.json and summary:
        options.json.write_text(json.dumps(summary.brief(), indent=1, allow_nan=False) + "\n")
    sys.stdout.write(f"{told}\nEverything is in {measured.folder}\n")
    return 0


def _submission(
    benchmark: Benchmark, cases: list[Case], bodies: Bodies, options: argparse.Namespace
) -> Measured | None:
    """Somebody else's predictions, measured by the first process alone."""
    if rank() > 0:
        return None
    path = options.predictions
    folder = options.out or _RUNS / f"{benchmark.name}-{path.stem}"
    return measure_submission(benchmark, cases, path, bodies, folder, options.lists)


def _identity(
    benchmark: Benchmark, predictor: AiOSPredictor, options: argparse.Namespace
) -> dict[str, Any]:
    """What makes two runs the same measurement."""
    answer: dict[str, Any] = {
        "benchmark": benchmark.name,
        "weights_sha256": _checksum(predictor.weights.path),
        "body": predictor.body.name,
    }
    if benchmark.kind == "synthetic":
        answer["version"] = BENCHMARK_VERSION
        scenes = (benchmark_scene(part, 0).image.tobytes() for part in BENCHMARK_PARTS)
        answer["scenes"] = hashlib.sha256(b"".join(scenes)).hexdigest()[:16]
    else:
        answer["data"] = str(options.annotations or options.data)
        answer["interval"] = options.interval
    return answer


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _short_name(predictor: AiOSPredictor) -> str:
    """Of the weights, for tables and folders."""
    named = predictor.weights.name
    return predictor.weights.path.stem if named in ("file", "hub") else named


def _usual_folder(benchmark: Benchmark, identity: dict[str, Any]) -> Path:
    """A folder of its own for everything that is another measurement."""
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return _RUNS / f"{benchmark.name}-{digest[:10]}"


def _print_tables(options: argparse.Namespace) -> int:
    """Tables 1 to 10 as Markdown, and both forms as files in the folder of runs."""
    try:
        files = sorted(options.runs.glob(f"*/{FIGURES}"))
        summaries = [Summary.from_json(json.loads(file.read_text())) for file in files]
        server = json.loads(options.server.read_text()) if options.server else {}
        tables = all_tables(summaries, server)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"The figures in {options.runs} or those of the leaderboard cannot be read ({error}): "
            f"measure again."
        ) from error
    sys.stdout.write("\n".join(markdown(table, rows) for table, rows in tables))
    if options.runs.is_dir():
        write_tables(options.runs / "tables", tables)
    return 0


if __name__ == "__main__":
    sys.exit(main())
