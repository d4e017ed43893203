"""Long jobs of the page: queueing, progress text and cancellation."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import Any
from weakref import WeakKeyDictionary

import gradio as gr

from ..pipelines.progress import CancelledError, Progress, ProgressCallback
from .context import PageContext
from .limits import DISK_FULL, DISK_FULL_TEXT
from .visit import Visit

LONG_QUEUE = "long"
"""Concurrency id of video and batch jobs: one at a time. Photos are processed between their
frames."""
STOP_SECONDS = 120.0
"""Longest time to wait until a stopped job ends."""

PROCESSING = "Processing…"
STOPPING = "Stopping…"
STOPPED = "Stopped. No files were saved."

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Job:
    folder: Path
    stopped: threading.Event = field(default_factory=threading.Event)
    finished: threading.Event = field(default_factory=threading.Event)


class Jobs:
    """Latest job of each visitor in one tab. A job ends with the visit."""

    def __init__(self, name: str) -> None:
        """Start without jobs; result folders start with `name`."""
        self._name = name
        self._jobs: WeakKeyDictionary[Visit, _Job] = WeakKeyDictionary()
        self._lock = threading.Lock()

    @contextmanager
    def run(
        self, visit: Visit, uploads: list[Path], show: gr.Progress
    ) -> Iterator[tuple[Path, ProgressCallback]]:
        """Run a job, replacing the previous one of this visitor and its result files.

        Args:
            visit: visit that the job belongs to.
            uploads: input files, protected from expiry until the job ends.
            show: progress bar.

        Yields:
            New folder for results, and the function to report progress to.

        Raises:
            CancelledError: the job was stopped or the visit has ended.
        """
        job = _Job(visit.new_folder(self._name))
        with self._lock:
            previous = self._jobs.get(visit)
            self._jobs[visit] = job
        if previous is not None:
            previous.stopped.set()
            rmtree(previous.folder, ignore_errors=True)

        def report(progress: Progress) -> None:
            if job.stopped.is_set() or visit.has_ended:
                raise CancelledError
            show(progress.share, desc=progress.text)

        try:
            with visit.working(uploads):
                yield job.folder, report
        except Exception as error:
            # The end of the visit deletes the files, which can fail the job in any way.
            if job.stopped.is_set() or visit.has_ended:
                raise CancelledError from error
            raise
        finally:
            if job.stopped.is_set() or visit.has_ended:
                rmtree(job.folder, ignore_errors=True)
            job.finished.set()

    def stop(self, visit: Visit) -> bool:
        """Ask the job of a visitor to stop at its next step; False if no job is running."""
        job = self._job(visit)
        if job is None or job.finished.is_set():
            return False
        job.stopped.set()
        return True

    def wait_until_stopped(self, visit: Visit) -> bool:
        """Wait up to `STOP_SECONDS` for a stopped job; False if it runs on or was not stopped."""
        job = self._job(visit)
        return job is not None and job.stopped.is_set() and job.finished.wait(STOP_SECONDS)

    def _job(self, visit: Visit) -> _Job | None:
        with self._lock:
            return self._jobs.get(visit)


class JobHandler:
    """Event handlers that tabs with long jobs share: queueing and stopping."""

    def __init__(
        self, context: PageContext, name: str, no_input: str, empty_results: list[Any]
    ) -> None:
        """Serve one tab.

        Args:
            context: of the page.
            name: start of the names of result folders.
            no_input: status without an input file.
            empty_results: outputs after the status, before there are results.
        """
        self.context = context
        self.jobs = Jobs(name)
        self.no_input = no_input
        self.empty_results = empty_results

    def show(self, files: Any, *settings: Any) -> list[Any]:  # noqa: ANN401
        """Run the job and return its outputs, the status first."""
        raise NotImplementedError

    def enqueue(self, files: str | list[str] | None, request: gr.Request) -> list[Any]:
        """Protect the uploads while their job waits in the queue; return status and no results."""
        paths = _paths(files)
        if paths:
            self.context.visit(request).reserve(paths)
        return [PROCESSING if paths else self.no_input, *self.empty_results]

    def stop(self, files: str | list[str] | None, request: gr.Request) -> Any:  # noqa: ANN401
        """Stop the running or queued job; return the status, unchanged without a job."""
        visit = self.context.visit(request)
        was_running = self.jobs.stop(visit)
        was_waiting = visit.release(_paths(files))
        return STOPPING if was_running else STOPPED if was_waiting else gr.skip()

    def confirm_stop(self, request: gr.Request) -> Any:  # noqa: ANN401
        """Return the status after the stopped job has ended."""
        stopped = self.jobs.wait_until_stopped(self.context.visit(request))
        return STOPPED if stopped else gr.skip()


def connect_job(
    handler: JobHandler,
    start: gr.Button,
    stop: gr.Button,
    inputs: list[Any],
    outputs: list[Any],
    show_progress_on: Any,  # noqa: ANN401
) -> None:
    """Connect the buttons of a tab to its job.

    Args:
        handler: of the tab.
        start: starts a job.
        stop: stops it.
        inputs: file input, then settings.
        outputs: status, then results.
        show_progress_on: output that shows the progress bar.
    """
    files, status = inputs[0], outputs[0]
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    start.click(handler.enqueue, files, outputs, queue=False, **quiet)
    work = start.click(
        handler.show,
        inputs,
        outputs,
        concurrency_id=LONG_QUEUE,
        concurrency_limit=1,
        trigger_mode="once",
        show_progress_on=[show_progress_on],
        api_visibility="private",
    )
    stopping = stop.click(handler.stop, files, status, cancels=[work], queue=False, **quiet)
    stopping.then(handler.confirm_stop, None, status, concurrency_limit=None, **quiet)


def unexpected_error_text(error: Exception, what: str) -> str:
    """Log an unexpected exception and return a sentence without file names for the visitor."""
    if getattr(error, "errno", None) in DISK_FULL:
        return DISK_FULL_TEXT
    _log.error("%s failed: %s", what, type(error).__name__, exc_info=error)
    return f"{what} could not be processed; try a smaller one."


def _paths(files: str | list[str] | None) -> list[Path]:
    return [Path(file) for file in ([files] if isinstance(files, str) else files or [])]
