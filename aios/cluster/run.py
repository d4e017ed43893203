"""Run all parts of a job on a Ray cluster, and report the progress."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from ..cli import StartError
from ..pipelines.progress import duration_text
from .join import LOCAL, prepare_ray
from .parts import Part
from .worker import PartResult, PartWorker, WorkerSettings

_log = logging.getLogger(__name__)

_SECONDS_BETWEEN_REPORTS = 10.0
_MAX_BLOCKS = 10_000
_MAX_ERRORS_AT_START = 5
_LOCAL_OBJECT_STORE_BYTES = 200_000_000
"""Photos and results do not pass through the object store, only names."""

_REFUSED = (
    "The Ray cluster at {} cannot be joined ({}): it needs the same versions of Ray and Python, and"
    " its token if it has one (RAY_AUTH_MODE=token and RAY_AUTH_TOKEN)."
)


@dataclass(frozen=True)
class Resources:
    """What each worker takes of the cluster.

    Attributes:
        workers: number of workers at most.
        cpus: CPU threads of each.
        gpus: GPUs of each; may be a fraction.
    """

    workers: int
    cpus: int = 1
    gpus: float = 0.0


@dataclass
class JobResult:
    """Outcome of a job.

    Attributes:
        parts: number of parts with results.
        photos: number of photos with results.
        people: number of people in them.
        failed: number of photos that failed.
        lost_workers: number of attempts at a part that ended with the loss of a worker.
        peak_mb: largest memory of a worker.
        seconds: from the first part to the last.
        worker_seconds: of work of all workers.
        errors: sentences on parts without results.
    """

    parts: int = 0
    photos: int = 0
    people: int = 0
    failed: int = 0
    lost_workers: int = 0
    peak_mb: float = 0.0
    seconds: float = 0.0
    worker_seconds: float = 0.0
    errors: list[str] = field(default_factory=list)

    def add(self, part: PartResult) -> None:
        """Count one part."""
        self.peak_mb = max(self.peak_mb, part.peak_mb)
        self.worker_seconds += part.seconds
        if part.error:
            self.errors.append(part.error)
            return
        self.parts += 1
        self.photos += part.photos
        self.people += part.people
        self.failed += part.failed
        self.lost_workers += max(part.attempt - 1, 0)


@contextmanager
def ray_cluster(address: str, resources: Resources | None = None) -> Iterator[None]:
    """Connect to a cluster and disconnect at the end.

    Args:
        address: "local" starts a cluster on this machine and stops it at the end; "auto" joins the
            one that this machine belongs to, HOST:PORT another one.
        resources: of a local cluster; None takes those of the machine.

    Raises:
        StartError: no cluster can be joined at `address`.
    """
    prepare_ray(address)
    import ray

    options = {}
    if address == LOCAL:
        options = {
            "num_cpus": resources.workers * resources.cpus if resources else None,
            "include_dashboard": False,
            "object_store_memory": _LOCAL_OBJECT_STORE_BYTES,
        }
    connect = partial(
        ray.init, address, log_to_driver=False, logging_level=logging.ERROR, **options
    )
    try:
        try:
            connect()
        except Exception as error:
            if address != LOCAL:
                raise StartError(_REFUSED.format(address, _first_line(error))) from error
            # On a machine under load, servers may take longer to start than Ray waits.
            ray.shutdown()
            connect()
        yield
    finally:
        ray.shutdown()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def fitting_resources(workers: int | None, cpus: int | None, gpus: float | None) -> Resources:
    """Resources of workers on the connected cluster: as many workers as fit, one GPU for each.

    Args:
        workers: number of workers; None for as many as fit.
        cpus: CPU threads of each; None for 1, or for its share of the CPUs with a GPU.
        gpus: GPUs of each; None for 1 if the cluster has any.
    """
    import ray

    total = ray.cluster_resources()
    all_cpus, all_gpus = total.get("CPU", 1.0), total.get("GPU", 0.0)
    gpus = (1.0 if all_gpus else 0.0) if gpus is None else gpus
    if cpus is None:
        cpus = max(1, int(all_cpus * gpus / all_gpus)) if gpus and all_gpus else 1
    fitting = min(all_cpus // cpus, all_gpus // gpus if gpus else all_cpus)
    return Resources(workers or max(1, int(fitting)), cpus, gpus)


def run_parts(
    parts: Sequence[Part],
    settings: WorkerSettings,
    resources: Resources,
    on_part: Callable[[PartResult], None] = lambda part: None,
) -> JobResult:
    """Process parts on the connected cluster.

    Ray starts the workers, gives each a part at a time, replaces lost workers and repeats their
    part. A part whose results exist is not processed again.

    Args:
        parts: to process.
        settings: of the workers.
        resources: of the workers.
        on_part: called after each part, in the order in which they end.

    Raises:
        StartError: no part can be processed.
    """
    job, report = JobResult(), _Report(parts)
    start = time.monotonic()
    for part in _results(parts, settings, resources):
        job.add(part)
        job.seconds = time.monotonic() - start
        if not job.parts and len(job.errors) == _MAX_ERRORS_AT_START:
            raise StartError(job.errors[0])
        report(job)
        on_part(part)
    return job


def _results(
    parts: Sequence[Part], settings: WorkerSettings, resources: Resources
) -> Iterator[PartResult]:
    """Results of the workers, in the order in which they end."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    rows = ray.data.from_items(
        [{"part": part.to_json(), "settings": settings.to_bytes()} for part in parts],
        override_num_blocks=min(len(parts), _MAX_BLOCKS),
    )
    workers = min(resources.workers, len(parts))
    results = rows.map(
        PartWorker,
        compute=ray.data.ActorPoolStrategy(
            min_size=1, max_size=workers, initial_size=workers, max_tasks_in_flight_per_actor=2
        ),
        num_cpus=resources.cpus,
        num_gpus=resources.gpus,
    )
    for row in results.iter_rows():
        yield PartResult(**row)


class _Report:
    """Logs the progress now and then."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._total = len(parts)
        self._last = time.monotonic()

    def __call__(self, job: JobResult) -> None:
        now = time.monotonic()
        done = job.parts + len(job.errors)
        if now - self._last < _SECONDS_BETWEEN_REPORTS and done < self._total:
            return
        self._last = now
        rate = job.photos / job.seconds
        left = job.seconds / done * (self._total - done)
        _log.info(
            "%s photos, %d of %d parts, %.1f photos/s%s",
            f"{job.photos:,}",
            done,
            self._total,
            rate,
            f", {duration_text(left)} left" if left else "",
        )
