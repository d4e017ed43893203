"""Evaluate weights on a benchmark: `python -m training.evaluate BENCHMARK --weights W --body B`.

`synthetic` needs no data.  `photos --truth JSON` evaluates photos with your own 2D annotation.
The other benchmarks need licensed files; an error message names missing ones and their source.
`tables` prints the paper's tables with our rows from earlier runs.

Repeating a command resumes an interrupted run.  `torchrun --standalone --nproc-per-node N
-m training.evaluate ...` distributes the work over processes.
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
from aios.media.photo import PhotoError
from aios.predictor import AiOSPredictor
from aios.resources import STANDIN_BODY
from aios.weights.checkpoint import CheckpointError

from .data import DataError
from .engine.distributed import process_group, rank
from .evaluation.annotated_photos import evaluate_photos, read_photo_annotations
from .evaluation.benchmark_samples import BenchmarkFiles, open_samples
from .evaluation.benchmarks import BENCHMARKS, Benchmark
from .evaluation.bodies import Bodies, check_body
from .evaluation.coco_boxes import SHIFT
from .evaluation.external_predictions import evaluate_submission
from .evaluation.metrics import LicensedFileError, PeopleError, RecordsError
from .evaluation.prediction_records import PredictionRecordError
from .evaluation.published import PHOTO_TABLE, Row
from .evaluation.results import METRICS_FILE, ResultOptions, write_metrics, write_results
from .evaluation.run import MIN_SCORE, EvaluationRun, RunError, RunOptions, evaluate
from .evaluation.run_summary import RunSummary, summarise_run
from .evaluation.samples import EvaluationSample
from .evaluation.submission import SubmissionError
from .evaluation.tables import all_tables, markdown, write_tables
from .evaluation.worst_images import WORST_COUNT
from .synthetic import BENCHMARK_PARTS, BENCHMARK_VERSION, benchmark_scene

_RUNS = Path("runs/evaluation")
_ERRORS = (
    *(BodyModelError, CheckpointError, DataError, LicensedFileError, PeopleError, PhotoError),
    *(PredictionRecordError, RecordsError, RunError, SubmissionError),
)
_PHOTOS, _TABLES = "photos", "tables"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("benchmark", choices=[*BENCHMARKS, _PHOTOS, _TABLES])
    add("--weights", default="builtin", help="builtin, official, a Hub repository or a file")
    add("--body", help="SMPL-X file or folder; synthetic always uses the stand-in body")
    add(
        "--refine",
        action=argparse.BooleanOptionalAction,
        help="refine poses to keypoints; default: that of the weights",
    )
    add(
        "--mean-hands",
        action="store_true",
        help="baseline for errors of hands: replace the predicted hand poses by the mean hand",
    )
    add("--lists", type=Path, help="folder of the licensed vertex lists; default: that of the body")
    add("--data", type=Path, help="root folder of all data sets")
    add("--annotations", type=Path, help="path of the annotations, if not the default")
    add("--images", type=Path, help="folder of the images, if not the default")
    add("--truth", type=Path, metavar="JSON", help=f"for {_PHOTOS}: annotation of the photos")
    add("--trust-pickle", action="store_true", help="allow unpickling (can execute code)")
    add("--interval", type=_count, default=0, help="every N-th image; default: that of the set")
    add("--limit", type=_count, help="first N images, of each part if the benchmark has parts")
    add(
        "--seed",
        type=_count,
        default=0,
        help="synthetic: other scenes of the same kind; default: the test set",
    )
    add("--threshold", type=_score, action="append", default=[], help="replaces the default")
    add("--batch", type=_count, default=4, help="images in a batch")
    add("--threads", type=_count, default=1, help="per process; more processes are faster")
    add("--out", type=Path, help=f"folder of the results; default: below {_RUNS}")
    add("--fresh", action="store_true", help="delete the results in the folder first")
    add("--json", type=Path, help="also write the metrics to this file, by part if there are parts")
    add("--worst", type=int, default=WORST_COUNT, help="images on the page of worst images")
    add("--box-shift", type=float, default=SHIFT, help="noise experiment: share of the box size")
    add("--predictions", type=Path, metavar="ZIP", help="evaluate this submission instead")
    add("--runs", type=Path, default=_RUNS, help=f"for {_TABLES}: folder of runs")
    add("--server", type=Path, metavar="JSON", help=f"for {_TABLES}: metrics of leaderboards")
    return parser


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def _score(text: str) -> float:
    value = float(text)
    if not MIN_SCORE <= value <= 1:
        raise argparse.ArgumentTypeError(
            f"{text} is not between {MIN_SCORE} and 1: predictions below it are not stored"
        )
    return value


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns 1 if data are missing or an error occurs."""
    options = _parser().parse_args(arguments)
    cv2.setNumThreads(1)
    # Sums depend on the number of threads, and torchrun starts processes with one.
    torch.set_num_threads(options.threads)
    try:
        if options.benchmark == _TABLES:
            return _print_tables(options)
        if options.benchmark == _PHOTOS:
            return _evaluate_photos(options)
        return _evaluate(BENCHMARKS[options.benchmark], options)
    except _ERRORS as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _evaluate(benchmark: Benchmark, options: argparse.Namespace) -> int:
    with process_group():
        body = STANDIN_BODY if benchmark.kind == "synthetic" else options.body
        predictor = _load_predictor(options, body)
        check_body(benchmark, predictor.body)
        bodies = Bodies(predictor.body, body)
        files = BenchmarkFiles(
            root=options.data,
            annotations=options.annotations,
            images=options.images,
            interval=options.interval,
            limit=options.limit,
            seed=options.seed,
            trust_pickle=options.trust_pickle,
        )
        samples = open_samples(benchmark, files, bodies)
        identity: dict[str, Any] = {}
        if options.predictions:
            run = _submission(benchmark, samples, bodies, options)
        else:
            identity = _identity(benchmark, predictor, options)
            folder = options.out or _default_folder(benchmark, identity)
            run_options = RunOptions(
                folder, options.batch, options.fresh, options.lists, options.mean_hands
            )
            run = evaluate(benchmark, samples, predictor, bodies, run_options, identity)
    # The process group is closed: only process 0 writes results.
    if run is None:
        return 0
    thresholds = tuple(options.threshold)
    summary: RunSummary | None
    if options.predictions:
        about = {"weights": options.predictions.name, "pictures": len(samples)}
        summary = summarise_run(run, about, thresholds)
        message = write_metrics(summary, run.folder)
    else:
        results = ResultOptions(thresholds, options.worst, options.box_shift, options.lists)
        about = identity | {"weights": _short_name(predictor), "pictures": len(samples)}
        summary, message = write_results(run, predictor, bodies, results, about)
    if options.json and summary:
        options.json.write_text(json.dumps(summary.brief(), indent=1, allow_nan=False) + "\n")
    sys.stdout.write(f"{message}\nAll results are in {run.folder}\n")
    return 0


def _load_predictor(options: argparse.Namespace, body: str | Path | None) -> AiOSPredictor:
    predictor = AiOSPredictor.from_pretrained(options.weights, body)
    return predictor if options.refine is None else predictor.with_refinement(options.refine)


def _evaluate_photos(options: argparse.Namespace) -> int:
    """Print the metrics on annotated photos, one column for each score threshold."""
    if options.truth is None:
        raise DataError(
            f"The benchmark {_PHOTOS} needs --truth JSON, the annotation of your photos; its form "
            "is in training/evaluation/README.md."
        )
    annotations = read_photo_annotations(options.truth)[: options.limit]
    images = options.images or options.truth.parent
    predictor = _load_predictor(options, options.body)
    metrics = evaluate_photos(annotations, images, predictor, options.threshold)
    rows = [Row(f"score >= {values['threshold']:g}", values) for values in metrics]
    sys.stdout.write(markdown(PHOTO_TABLE, rows))
    if options.json:
        options.json.write_text(json.dumps(metrics, indent=1) + "\n")
    return 0


def _submission(
    benchmark: Benchmark,
    samples: list[EvaluationSample],
    bodies: Bodies,
    options: argparse.Namespace,
) -> EvaluationRun | None:
    """Evaluate the predictions of another method, in process 0 only."""
    if rank() > 0:
        return None
    path = options.predictions
    folder = options.out or _RUNS / f"{benchmark.name}-{path.stem}"
    return evaluate_submission(benchmark, samples, path, bodies, folder, options.lists)


def _identity(
    benchmark: Benchmark, predictor: AiOSPredictor, options: argparse.Namespace
) -> dict[str, Any]:
    """Values that must be equal for a run to be resumed."""
    identity: dict[str, Any] = {
        "benchmark": benchmark.name,
        "weights_sha256": _checksum(predictor.weights.path),
        "body": predictor.body.name,
        "refined": predictor.refine,
        "mean_hands": options.mean_hands,
    }
    if benchmark.kind == "synthetic":
        identity["version"], identity["seed"] = BENCHMARK_VERSION, options.seed
        scenes = (
            benchmark_scene(part, 0, options.seed).image.tobytes() for part in BENCHMARK_PARTS
        )
        identity["scenes"] = hashlib.sha256(b"".join(scenes)).hexdigest()[:16]
    else:
        identity["data"] = str(options.annotations or options.data)
        identity["interval"] = options.interval
    return identity


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _short_name(predictor: AiOSPredictor) -> str:
    """Name of the weights in tables."""
    name = predictor.weights.name
    return predictor.weights.path.stem if name in ("file", "hub") else name


def _default_folder(benchmark: Benchmark, identity: dict[str, Any]) -> Path:
    """Folder of the results, unique to the identity of the run."""
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return _RUNS / f"{benchmark.name}-{digest[:10]}"


def _print_tables(options: argparse.Namespace) -> int:
    """Print tables 1 to 10 as Markdown, and write them as Markdown and LaTeX."""
    try:
        files = sorted(options.runs.glob(f"*/{METRICS_FILE}"))
        summaries = [RunSummary.from_json(json.loads(file.read_text())) for file in files]
        server = json.loads(options.server.read_text()) if options.server else {}
        tables = all_tables(summaries, server)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"The metrics in {options.runs} or those of the leaderboard cannot be read ({error}): "
            f"evaluate again."
        ) from error
    sys.stdout.write("\n".join(markdown(table, rows) for table, rows in tables))
    if options.runs.is_dir():
        write_tables(options.runs / "tables", tables)
    return 0


if __name__ == "__main__":
    sys.exit(main())
