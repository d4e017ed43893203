"""Where the result files of a job go: a folder or a ZIP archive."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from ..export.photo_files import write_file
from .output_names import PROBLEMS, TABLE

MAX_ARCHIVE_BYTES = 4_000_000_000

Sink = Callable[[dict[str, bytes]], None]
"""Takes the files of one photo: relative names with `/`, and contents."""


class ResultsFullError(Exception):
    """Raised by a sink without room for a photo, before it has taken any of its files."""


class OutputError(Exception):
    """Raised by a sink that could not write one photo; the message is one sentence."""


def folder_sink(folder: Path) -> Sink:
    """A sink that writes files into a folder, each completely or not at all."""

    def write(files: dict[str, bytes]) -> None:
        written: list[Path] = []
        try:
            for name, content in files.items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                written.append(write_file(path, content))
        except OSError as error:
            for path in written:
                path.unlink(missing_ok=True)
            name = path.name
            raise OutputError(f"{name} cannot be written: {error.strerror or error}.") from error

    return write


class ZipSink:
    """A sink that writes one archive; a context manager that deletes it after an exception."""

    def __init__(self, path: Path, max_bytes: int = MAX_ARCHIVE_BYTES) -> None:
        """Create the archive at `path` for at most `max_bytes` of results, unpacked."""
        self._path = path
        self._left = max_bytes
        self._archive = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1)

    def __call__(self, files: dict[str, bytes]) -> None:
        """Add files; the tables at the end are not limited."""
        size = sum(map(len, files.values()))
        if size > self._left and not files.keys() & {TABLE, PROBLEMS}:
            raise ResultsFullError
        self._left -= size
        for name, content in files.items():
            self._archive.writestr(name, content)

    def __enter__(self) -> Self:
        """Return the sink."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the archive, or delete it after an exception."""
        self._archive.close()
        if kind is not None:
            self._path.unlink(missing_ok=True)
