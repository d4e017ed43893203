"""Teachers in separate processes.

TensorFlow and the fit need different processes: the LLVM of TensorFlow and that of PyTorch's
compiler crash in one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from aios.media.photo import PhotoError, read_photo
from aios.pipelines.processes import ProcessPool

from .observation import Observation, concatenate, observe
from .teachers import check_files, load_teachers

Looked = tuple[tuple[int, int], Observation]
"""Width and height of a photo (0, 0 if it cannot be read), and its people."""


class Observers:
    """Processes that run the teachers on photos; a context manager.

    The processes end with this one, however it ends.
    """

    def __init__(self, folder: Path, processes: int) -> None:
        """Check the files of the teachers and start the processes.

        Raises:
            TeacherError: the files or TensorFlow are missing.
        """
        check_files(folder)
        for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
            os.environ.setdefault(name, "1")
        self._pool: ProcessPool[Path, Looked] = ProcessPool(_Start(folder), processes)

    def __call__(self, photos: Sequence[Path]) -> list[Looked]:
        """Run the teachers on photos; the results are in the same order.

        A photo that ends two processes counts as one that cannot be read.

        Raises:
            ProcessStartError: the processes end before they are ready.
        """
        return list(self._pool.map(photos, _unreadable))

    def __enter__(self) -> Self:
        """Return the object itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the processes."""
        self._pool.__exit__(kind, error, trace)


@dataclass(frozen=True)
class _Start:
    """Loads the teachers in a process and returns its function."""

    folder: Path

    def __call__(self) -> Callable[[Path], Looked]:
        teachers = load_teachers(self.folder)

        def look(path: Path) -> Looked:
            try:
                image = read_photo(path)
            except PhotoError:
                return _unreadable(path)
            return (image.shape[1], image.shape[0]), observe(image, teachers)

        return look


def _unreadable(_: Path) -> Looked:
    return (0, 0), concatenate([])
