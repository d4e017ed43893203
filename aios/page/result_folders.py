"""Folders of result files on disk, of which the oldest make room for new ones."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Hashable
from pathlib import Path

MAX_VISIT_BYTES = 300_000_000
"""Result files of one visitor. Those of a large noisy photo take 83 MB."""
MAX_BYTES = 1_000_000_000
"""Result files of all visitors together."""


class ResultFolders:
    """Folders with result files, oldest first. Safe to use from several threads."""

    def __init__(self, max_visit_bytes: int = MAX_VISIT_BYTES, max_bytes: int = MAX_BYTES) -> None:
        """Start empty, with limits for one visitor and for all."""
        self._max_visit_bytes, self._max_bytes = max_visit_bytes, max_bytes
        self._sizes: dict[Path, tuple[Hashable, int]] = {}
        self._lock = threading.Lock()

    def add(self, visit: Hashable, folder: Path) -> None:
        """Register a complete folder of a visitor; delete the oldest folders above the limits."""
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        with self._lock:
            self._sizes[folder] = (visit, size)
            expired = self._over(self._max_visit_bytes, visit)
            expired += self._over(self._max_bytes, None)
        for old in expired:
            shutil.rmtree(old, ignore_errors=True)

    def drop(self, visit: Hashable) -> None:
        """Forget the folders of a visitor, which are deleted with the visit."""
        with self._lock:
            self._sizes = {k: v for k, v in self._sizes.items() if v[0] is not visit}

    def _over(self, limit: int, visit: Hashable | None) -> list[Path]:
        """Remove and return the oldest folders above a limit, never the latest."""
        counted = [k for k, (owner, _) in self._sizes.items() if visit is None or owner is visit]
        total, expired = sum(self._sizes[folder][1] for folder in counted), []
        for folder in counted[:-1]:
            if total <= limit:
                break
            total -= self._sizes.pop(folder)[1]
            expired.append(folder)
        return expired
