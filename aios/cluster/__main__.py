"""Command line: `python -m aios.cluster INPUT... --out OUT`."""

from __future__ import annotations

import argparse
import importlib.util
import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__
from ..cli import (
    OneLineParser,
    StartError,
    add_model_arguments,
    add_photo_arguments,
    add_video_arguments,
    configure_threads_and_malloc,
    positive_integer,
    positive_number,
)
from .join import LOCAL, cluster_address, prepare_ray

if TYPE_CHECKING:
    from .parts import Part
    from .run import JobResult, Resources
    from .store import Store
    from .worker import WorkerSettings

_log = logging.getLogger("aios")

_PACKAGES = ("ray", "pyarrow", "fsspec")
_MAX_LOGGED_ERRORS = 5


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Returns:
        Exit code: 0; 1 if a photo failed or the job was stopped; 2 if it could not start.
    """
    configure_threads_and_malloc()
    options = _parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    _log.setLevel(logging.INFO)
    try:
        missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
        if missing:
            raise StartError(f'There is no package {missing[0]}: pip install ".[cluster]".')
        return _run(options)
    except (StartError, ConnectionError, OSError) as error:
        _log.error("%s", error)
        return 2
    except KeyboardInterrupt:
        _log.error("Stopped; the same command continues with the parts that are left.")
        return 1


def _run(options: argparse.Namespace) -> int:
    from .run import fitting_resources, ray_cluster, run_parts
    from .store import Store

    store = Store(options.out)
    settings, description = _settings(options, store)
    parts = _all_parts(options)
    prepare_ray(options.address)
    if options.overwrite:  # after everything that may be wrong with the arguments
        store.drop_everything()
    store.describe(description)
    parts = _parts_left(parts, store, options.retry_failed)
    if not parts:
        _log.info("Everything is finished: the results are in %s.", options.out)
        return 0
    with ray_cluster(options.address, _local_resources(options)):
        # Schedulers stop jobs with SIGTERM; Ray has a handler of its own, which prints its stack.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        resources = fitting_resources(
            options.workers, options.cpus_per_worker, options.gpus_per_worker
        )
        settings = _for_workers(settings, resources)
        _log.info(
            "%d parts on %d workers of %d CPUs and %g GPUs each",
            len(parts),
            min(resources.workers, len(parts)),
            resources.cpus,
            resources.gpus,
        )
        return _report(run_parts(parts, settings, resources), len(parts), options.out)


def _settings(
    options: argparse.Namespace, store: Store
) -> tuple[WorkerSettings, dict[str, object]]:
    """Settings of the workers, and the description of the output."""
    from ..cli import load_predictor
    from ..pipelines.batches import PeopleLimits
    from ..pipelines.fingerprint import settings_fingerprint, weights_checksum
    from ..pipelines.video_tracks import VideoSettings
    from . import schema
    from .worker import WorkerSettings

    options.device = "cpu"  # of this process, which only looks at the weights
    predictor = load_predictor(options)
    limits = PeopleLimits(options.threshold, options.max_people, options.field_of_view)
    clips = VideoSettings(
        threshold=limits.threshold,
        max_people=limits.max_people,
        smooth=not options.no_smoothing,
        max_rate=options.fps,
        start_seconds=options.start,
        max_seconds=options.seconds,
        still_camera=options.still_camera,
    )
    checksum = weights_checksum(predictor)
    settings = WorkerSettings(
        out=store.location,
        weights=_same_weights(options.weights, predictor.weights.name),
        body=None if options.body is None else str(options.body.absolute()),
        speed=options.speed,
        refine=options.refine,
        input_size=options.input_size,
        checksum=checksum,
        limits=limits,
        clips=clips,
        meshes=options.meshes,
        batch=options.batch,
    )
    description: dict[str, object] = {
        "tables": schema.VERSION,
        "program": __version__,
        "weights": predictor.weights.name,
        "weights_sha256": checksum,
        "body": predictor.body.name,
        "refined": predictor.refine,
        "speed": options.speed,
        "threshold": predictor.weights.threshold if limits.threshold is None else limits.threshold,
        "max_people": limits.max_people,
        "input_size": options.input_size,
        "field_of_view": limits.field_of_view,
        "meshes": options.meshes,
        "smooth": clips.smooth,
        "fps": clips.max_rate,
        "start": clips.start_seconds,
        "seconds": clips.max_seconds,
        "still_camera": clips.still_camera,
    }
    description["settings"] = settings_fingerprint(predictor, *description.values())
    return settings, description


def _same_weights(source: str, found: str) -> str:
    """Source of the weights for the workers, which have another current folder.

    "auto" may find other weights on another machine.
    """
    if source == "auto":
        return found
    return str(Path(source).absolute()) if Path(source).is_file() else source


def _all_parts(options: argparse.Namespace) -> list[Part]:
    from .parts import build_parts
    from .sources import find_sources

    parts = build_parts(find_sources(options.inputs), options.photos_per_part)
    if not parts:
        raise StartError("There is no photo, archive or video in the inputs.")
    return parts


def _parts_left(parts: list[Part], store: Store, retry_failed: bool) -> list[Part]:
    from itertools import chain

    from .parts import unfinished_parts

    if retry_failed:
        store.drop_parts(store.keys("failed"))
    store.drop_unfinished()
    names = chain(store.column("photos", "photo"), store.column("failed", "photo"))
    left = unfinished_parts(parts, store.finished(), names)
    if len(left) < len(parts):
        _log.info("%d of %d parts are left.", len(left), len(parts))
    return left


def _local_resources(options: argparse.Namespace) -> Resources | None:
    """Resources of a cluster on this machine; None takes all."""
    from .run import Resources

    if options.workers is None:
        return None
    return Resources(options.workers, options.cpus_per_worker or 1)


def _for_workers(settings: WorkerSettings, resources: Resources) -> WorkerSettings:
    from dataclasses import replace

    return replace(settings, threads=resources.cpus, on_gpu=resources.gpus > 0)


def _report(job: JobResult, parts: int, out: str) -> int:
    rate = job.photos / job.seconds if job.seconds else 0.0
    _log.info(
        "%s photos with %s people, %.1f photos/s; a worker took at most %.0f MB",
        f"{job.photos:,}",
        f"{job.people:,}",
        rate,
        job.peak_mb,
    )
    if job.lost_workers:
        _log.info("%d times a worker was lost and its part repeated.", job.lost_workers)
    for sentence in job.errors[:_MAX_LOGGED_ERRORS]:
        _log.error("%s", sentence)
    if job.failed:
        _log.error("%d photos or videos failed; see the table %s/failed.", job.failed, out)
    if job.parts < parts:
        _log.error("%d parts have no results: run the command again.", parts - job.parts)
    return 1 if job.failed or job.parts < parts else 0


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m aios.cluster",
        description="Recover the people of a large number of photos and videos on one or many "
        "machines, with Ray. Writes Parquet tables: people (one row for each person), photos, "
        "failed, tracks and videos. The same command continues a job that was stopped.",
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="folder, .txt or .parquet list of locations, .tar archive (WebDataset), photo or "
        "video; each a path, https:// or a store of fsspec such as s3://",
    )
    parser.add_argument(
        "--out", required=True, metavar="OUT", help="folder or bucket that all machines can write"
    )
    parser.add_argument(
        "--address",
        type=cluster_address,
        default=LOCAL,
        metavar="NAME",
        help="local starts Ray on this machine; auto or HOST:PORT joins a cluster "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--workers", type=positive_integer, metavar="N", help="workers (default: as many as fit)"
    )
    parser.add_argument(
        "--gpus-per-worker",
        type=_zero_or_more,
        metavar="N",
        help="GPUs of a worker (default: 1 if there are any)",
    )
    parser.add_argument(
        "--cpus-per-worker",
        type=positive_integer,
        metavar="N",
        help="CPUs of a worker (default: 1, with a GPU its share)",
    )
    parser.add_argument(
        "--batch",
        type=positive_integer,
        metavar="N",
        help="photos in a run of the network (default: the fastest)",
    )
    parser.add_argument(
        "--photos-per-part",
        type=positive_integer,
        default=512,
        metavar="N",
        help="photos in one unit of work and file (default: %(default)s)",
    )
    parser.add_argument(
        "--meshes",
        choices=("none", "glb", "vertices"),
        default="none",
        help="glb: a file for each photo; vertices: a column of the people (default: %(default)s)",
    )
    parser.add_argument("--overwrite", action="store_true", help="remove earlier results first")
    parser.add_argument(
        "--retry-failed", action="store_true", help="repeat the parts with failed photos"
    )
    parser.add_argument(
        "--max-people",
        type=positive_integer,
        default=30,
        metavar="N",
        help="people per photo or frame at most (default: %(default)s)",
    )
    add_model_arguments(parser, with_device=False)
    add_photo_arguments(parser)
    add_video_arguments(parser)
    return parser


def _zero_or_more(text: str) -> float:
    """Argument type: a finite number of at least 0."""
    return 0.0 if text in ("0", "0.0") else positive_number(text)


if __name__ == "__main__":
    sys.exit(main())
