"""Temporary folders of a running program; those of killed programs are deleted later."""

from __future__ import annotations

import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from filelock import FileLock, Timeout

_LOCK_SUFFIX = ".lock"


@contextmanager
def scratch_folder(prefix: str, parent: Path) -> Iterator[Path]:
    """Create a folder, and delete it at the end.

    A lock file beside it tells other programs that the folder is in use. Folders of the same prefix
    whose program was killed are deleted first.

    Args:
        prefix: start of the name.
        parent: existing folder.

    Raises:
        OSError: `parent` cannot be written to.
    """
    delete_abandoned(prefix, parent)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    lock = FileLock(_lock_path(folder))
    try:
        lock.acquire(timeout=0)
        yield folder
    finally:
        # Threads that are about to end may still write.
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()
        if not folder.exists():  # else the next program deletes it
            _lock_path(folder).unlink(missing_ok=True)


def delete_abandoned(prefix: str, parent: Path) -> None:
    """Delete the folders of `scratch_folder` that no running program uses."""
    for path in parent.glob(f"{prefix}*{_LOCK_SUFFIX}"):
        lock = FileLock(path)
        # Folders of other users and read-only disks stay.
        with suppress(OSError, Timeout, NotImplementedError):
            lock.acquire(timeout=0)
            shutil.rmtree(path.with_name(path.name.removesuffix(_LOCK_SUFFIX)), ignore_errors=True)
            path.unlink(missing_ok=True)
            lock.release()


def stop_on_signals() -> None:
    """Make the signals to end, also that of a closed terminal, raise KeyboardInterrupt.

    The default handlers end the program at once, and its temporary files stay.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        return  # only the main thread can set handlers
    for name in ("SIGTERM", "SIGHUP"):
        found = getattr(signal, name, None)
        # `nohup` ignores the signal of a closed terminal.
        if found is not None and signal.getsignal(found) is not signal.SIG_IGN:
            signal.signal(found, stop)


def _lock_path(folder: Path) -> Path:
    return folder.with_name(folder.name + _LOCK_SUFFIX)
