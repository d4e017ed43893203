"""Teachers in separate processes.

TensorFlow and the fit need different processes: the LLVM of TensorFlow and that of PyTorch's
compiler crash in one.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from aios.media.photo import PhotoError, read_photo

from .observation import Observation, concatenate, observe
from .teachers import Teachers, check_files, load_teachers

Looked = tuple[tuple[int, int], Observation]
"""Width and height of a photo (0, 0 if it cannot be read), and its people."""

_teachers: Teachers | None = None


class Observers:
    """Processes that run the teachers on photos; a context manager."""

    def __init__(self, folder: Path, processes: int) -> None:
        """Check the files of the teachers; the processes start with the first photos.

        Raises:
            TeacherError: the files or TensorFlow are missing.
        """
        check_files(folder)
        for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
            os.environ.setdefault(name, "1")
        self._pool = ProcessPoolExecutor(
            processes, multiprocessing.get_context("spawn"), _start, (folder,)
        )

    def __call__(self, photos: Sequence[Path]) -> list[Looked]:
        """Run the teachers on photos; the results are in the same order."""
        return list(self._pool.map(_look, photos))

    def __enter__(self) -> Self:
        """Return the object itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the processes."""
        self._pool.shutdown(cancel_futures=True)


def _start(folder: Path) -> None:
    global _teachers
    _teachers = load_teachers(folder)


def _look(path: Path) -> Looked:
    assert _teachers is not None
    try:
        image = read_photo(path)
    except PhotoError:
        return (0, 0), concatenate([])
    return (image.shape[1], image.shape[0]), observe(image, _teachers)
