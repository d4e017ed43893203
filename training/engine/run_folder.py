"""Folder of a run, used by one run at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from .distributed import rank

_LOCK = ".lock"


class RunFolderError(ValueError):
    """A folder that a run cannot use; the message is one sentence."""


@contextmanager
def run_folder(folder: Path) -> Iterator[None]:
    """Create the folder of a run and hold its lock; only process 0 does.

    Raises:
        RunFolderError: the path is no folder, cannot be written to, or another run uses it.
    """
    if rank():
        yield
        return
    if folder.exists() and not folder.is_dir():
        raise RunFolderError(f"--out {folder} is a file: give a folder")
    created = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / _LOCK)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RunFolderError(
            f"{folder} is in use by another run: wait for it, or give another --out"
        ) from error
    except OSError as error:
        raise RunFolderError(
            f"--out {folder} cannot be written to: {error.strerror or error}"
        ) from error
    try:
        yield
    finally:
        (folder / _LOCK).unlink(missing_ok=True)
        lock.release()
        if created and not any(folder.iterdir()):
            folder.rmdir()  # nothing was trained
