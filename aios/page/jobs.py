"""Long work on the page: its progress in words, and a button that really stops it."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree

import gradio as gr
from gradio.context import Context

from ..pipelines.progress import CancelledError, Progress
from .context import PageContext, session_of

LONG_QUEUE = "long"
"""Concurrency id of videos and archives: one at a time, while photos go on between its frames."""

_log = logging.getLogger(__name__)


@dataclass
class _Job:
    folder: Path
    stop: threading.Event = field(default_factory=threading.Event)


class Jobs:
    """The last long work of each visitor in one tab; it ends when the visitor leaves."""

    def __init__(self, context: PageContext, name: str) -> None:
        """Call while the page is being made.

        Args:
            context: of the page.
            name: of the tab, start of folder names.
        """
        self._context = context
        self._name = name
        self._jobs: dict[str, _Job] = {}
        self._lock = threading.Lock()
        blocks = Context.root_block
        assert blocks is not None, "tabs are made inside a page"

        def leave(request: gr.Request) -> None:
            self.stop(request)
            with self._lock:
                self._jobs.pop(session_of(request), None)

        blocks.unload(leave)

    def start(
        self, request: gr.Request | None, uploads: list[Path], show: gr.Progress
    ) -> tuple[Path, Callable[[Progress], None]]:
        """Begin; files of this visitor's work before are removed.

        Args:
            request: of the visitor.
            uploads: files that go when the visitor goes.
            show: where progress appears.

        Returns:
            A new folder for results, and what to call with progress.
        """
        session = session_of(request)
        self._context.sessions.hold(session, uploads)
        folder = Path(tempfile.mkdtemp(f"-{self._name}", dir=self._context.folder(request)))
        job = _Job(folder)
        with self._lock:
            before = self._jobs.get(session)
            self._jobs[session] = job
        if before is not None:
            before.stop.set()
            rmtree(before.folder, ignore_errors=True)

        def report(progress: Progress) -> None:
            if job.stop.is_set():
                raise CancelledError
            show(progress.share, desc=progress.text)

        return folder, report

    def stop(self, request: gr.Request | None) -> None:
        """Stop this visitor's work at its next step."""
        with self._lock:
            job = self._jobs.get(session_of(request))
        if job is not None:
            job.stop.set()


def working_sentence(error: Exception, what: str) -> str:
    """What to say of an error nobody foresaw; the log has the details, but no names of files."""
    _log.error("%s failed: %s", what, type(error).__name__, exc_info=error)
    return f"{what} could not be worked on; try a smaller one."
