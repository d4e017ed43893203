"""Current visits, with expiry.

A visit starts with the first request of a session and ends `GRACE_SECONDS` after the page is
closed, unless it connects again meanwhile, or one hour after the last request. Files of running
and queued jobs do not expire.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..predictor import AiOSPredictor
from .result_folders import ResultFolders
from .results import ResultCache
from .visit import Visit

EXPIRY_SECONDS = 3600.0
"""Time after the last request at which a visit ends."""
GRACE_SECONDS = 60.0
"""Time after the loss of the connection to a page at which its visit ends."""
_CACHE_BYTES = 100_000_000

_log = logging.getLogger(__name__)


class Sessions:
    """Current visits by session name."""

    def __init__(
        self, predictor: AiOSPredictor, folder: Path, cache_bytes: int = _CACHE_BYTES
    ) -> None:
        """Start without visitors.

        Args:
            predictor: shared by all visitors.
            folder: existing folder in which the folders of the visits are created.
            cache_bytes: memory for cached results.
        """
        self.cache = ResultCache(predictor, cache_bytes)
        self.folders = ResultFolders()
        self._predictor = predictor
        self._connections: Counter[str] = Counter()
        self._folder = folder
        self._visits: dict[str, Visit] = {}
        self._lock = threading.Lock()

    def visit(self, session: str) -> Visit:
        """Return the current visit of a session, or start one."""
        with self._lock:
            visit = self._visits.get(session)
            if visit is None:
                visit = Visit(self._predictor, self.cache, self.folders, self._folder)
                self._visits[session] = visit
            visit.touch()
            return visit

    @contextmanager
    def connected(self, session: str) -> Iterator[None]:
        """Count a connection of an open page for as long as the block runs."""
        with self._lock:
            self._connections[session] += 1
        try:
            yield
        finally:
            with self._lock:
                self._connections[session] -= 1
                if self._connections[session] <= 0:
                    del self._connections[session]

    def is_connected(self, session: str) -> bool:
        """Whether a page of this session is open."""
        with self._lock:
            return session in self._connections

    def leave_later(self, session: str, then: Callable[[list[Path]], None]) -> None:
        """Call `leave` after `GRACE_SECONDS` and `then` with its result, unless the page is back.

        A short loss of the network looks like a closed page.
        """

        def work() -> None:
            if not self.is_connected(session):
                then(self.leave(session))

        timer = threading.Timer(GRACE_SECONDS, work)
        timer.daemon = True
        timer.start()

    def leave(self, session: str) -> list[Path]:
        """End the visit of a session.

        Returns:
            Its uploads that no other visitor has sent, which may now be deleted.
        """
        with self._lock:
            visit = self._visits.pop(session, None)
            others = list(self._visits.values())
        if visit is None:
            return []
        visit.end()
        return sorted(visit.uploads.difference(*(other.uploads for other in others)))

    def sweep(self) -> None:
        """Drop expired results, end expired visits and keep the files of jobs."""
        oldest = time.monotonic() - EXPIRY_SECONDS
        self.cache.drop_expired(oldest)
        with self._lock:
            expired = {name: v for name, v in self._visits.items() if v.is_expired(oldest)}
            for name in expired:
                del self._visits[name]
            current = list(self._visits.values())
        for visit in expired.values():
            visit.end()
        for visit in current:
            visit.refresh()


def sweep_regularly(sessions: Sessions, seconds: float) -> None:
    """Call `sessions.sweep` in a thread every `seconds`, until `sessions` is garbage-collected."""
    reference = weakref.ref(sessions)

    def work() -> None:
        while (found := reference()) is not None:
            try:
                found.sweep()
            except Exception:
                # The thread must survive: nothing else deletes expired files.
                _log.exception("Deleting expired files failed")
            del found
            time.sleep(seconds)

    threading.Thread(target=work, name="aios-sweep", daemon=True).start()
