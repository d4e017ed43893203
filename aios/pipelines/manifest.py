"""Record of finished inputs in an output folder, so that a later run skips them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from .output_names import MANIFEST, UNFINISHED
from .tables import PersonRow

_UNFINISHED_FILE = re.compile(r"\..+\.\d+\.tmp", re.DOTALL)
"""Names of the temporary files of `write_file`."""


class FolderInUseError(Exception):
    """Another run writes to the folder; the message is one sentence."""


@dataclass(frozen=True)
class Finished:
    """What an earlier run wrote for one input.

    Attributes:
        stem: of its result files.
        files: name -> bytes of each.
        rows: of the table of people.
    """

    stem: str
    files: Mapping[str, int]
    rows: list[PersonRow]


class Manifest:
    """`finished.jsonl` of an output folder: one line for each finished input; a context manager.

    A line is appended after the files of its input are complete, in one write. A line that was cut
    by the end of the process or of the machine is ignored. Only places of lines are in memory.
    """

    def __init__(self, folder: Path, settings: str, overwrite: bool = False) -> None:
        """Open or create the manifest, and remove files that an earlier run left unfinished.

        Args:
            folder: of the results; must exist.
            settings: fingerprint of all that the results depend on; lines of others do not count.
            overwrite: forget what is finished.

        Raises:
            FolderInUseError: another run has it open.
            OSError: the folder cannot be written to.
        """
        self._folder, self._settings = folder, settings
        self._file = (folder / MANIFEST).open("a+b", buffering=0)
        self._lines: dict[str, int] = {}
        self._stems: dict[str, str] = {}
        try:
            _lock(self._file.fileno(), folder)
            if overwrite:
                self._file.truncate(0)
            self._read()
            for path in folder.iterdir():
                if _UNFINISHED_FILE.fullmatch(path.name):
                    path.unlink(missing_ok=True)
                elif path.name.startswith(UNFINISHED):
                    shutil.rmtree(path, ignore_errors=True)
        except BaseException:
            self._file.close()
            raise

    def find(self, identity: str) -> Finished | None:
        """What was written for an input; None if it is not finished or a file has changed.

        Args:
            identity: of the input, see `file_identity`.
        """
        start = self._lines.get(identity)
        if start is None:
            return None
        self._file.seek(start)
        entry = json.loads(_read_line(self._file))
        files: dict[str, int] = entry["files"]
        for name, size in files.items():
            try:
                if (self._folder / name).stat().st_size != size:
                    return None
            except OSError:
                return None
        return Finished(entry["stem"], files, entry["rows"])

    def add(
        self,
        identity: str,
        stem: str,
        files: Mapping[str, int],
        rows: Sequence[PersonRow] = (),
    ) -> None:
        """Record an input whose files are complete, see `Finished`."""
        if not identity:
            return
        entry = {
            "settings": self._settings,
            "input": identity,
            "stem": stem,
            "files": dict(files),
            "rows": list(rows),
        }
        line = json.dumps(entry).encode() + b"\n"
        start = self._file.seek(0, os.SEEK_END)
        # On a full disk, the next run processes this input again.
        with contextlib.suppress(OSError):
            if self._file.write(line) == len(line):
                self._index(entry, start)
            else:
                self._file.truncate(start)

    def _read(self) -> None:
        """Index the complete lines, and remove an incomplete one from the end."""
        self._file.seek(0)
        start = 0
        with open(self._file.fileno(), "rb", closefd=False) as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    self._file.truncate(start)
                    break
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    self._index(json.loads(line), start)
                start += len(line)

    def _index(self, entry: dict[str, Any], start: int) -> None:
        identity, stem = entry["input"], entry["stem"]
        # Files of an earlier input with the same stem have been replaced.
        previous = self._stems.get(stem)
        if previous is not None:
            self._lines.pop(previous, None)
        self._stems[stem] = identity
        if entry["settings"] == self._settings:
            self._lines[identity] = start
        else:
            self._lines.pop(identity, None)

    def __enter__(self) -> Self:
        """Return the manifest."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file, which also releases the folder."""
        self._file.close()


def file_identity(path: Path) -> str:
    """Absolute path, size and time of the last change; empty if the file cannot be examined."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return ""
    return f"{os.path.abspath(path)}|{status.st_size}|{status.st_mtime_ns}"


def _read_line(file: Any) -> bytes:  # noqa: ANN401
    """The line at the position of an unbuffered file."""
    parts = []
    while part := file.read(1 << 16):
        head, end, _ = part.partition(b"\n")
        parts.append(head)
        if end:
            break
    return b"".join(parts)


def _lock(descriptor: int, folder: Path) -> None:
    """Hold the folder until the file is closed or the process ends."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise FolderInUseError(
            f"Another run writes to {folder}: wait for it, or give another folder."
        ) from error
    except OSError:  # a file system without locks
        return
