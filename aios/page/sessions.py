"""Current visits, with expiry.

A visit starts with the first request of a session and ends when the page is closed or one hour
after the last request. Files of running and queued jobs do not expire.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from pathlib import Path

from ..predictor import AiOSPredictor
from .results import ResultCache
from .visit import Visit

EXPIRY_SECONDS = 3600.0
"""Time after the last request at which a visit ends."""
_CACHE_BYTES = 300_000_000

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
        self._predictor = predictor
        self._folder = folder
        self._visits: dict[str, Visit] = {}
        self._lock = threading.Lock()

    def visit(self, session: str) -> Visit:
        """Return the current visit of a session, or start one."""
        with self._lock:
            visit = self._visits.get(session)
            if visit is None:
                visit = Visit(self._predictor, self.cache, self._folder)
                self._visits[session] = visit
            visit.touch()
            return visit

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
