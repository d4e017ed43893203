"""Results of one photo, made in this process or in others side by side."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import torch

from ..body.model import BodyModel
from ..export.checks import ExportError
from ..export.photo_files import results_as_bytes
from ..export.settings import ExportSettings
from ..media.photo import PhotoError, utf8_text
from ..media.photo_sources import PhotoItem
from ..media.prefetch import prefetch
from ..prediction import Prediction
from ..predictor import AiOSPredictor
from ..render.opengl import OpenGLError
from .batches import PeopleLimits, PhotoWork, predicted_alone
from .export_settings import DEFAULT_EXPORT, ExportChoice
from .processes import ProcessPool
from .tables import PersonRow, person_rows


@dataclass(frozen=True)
class FolderSettings(PeopleLimits):
    """Settings for each photo, see `PeopleLimits` and `ExportSettings`."""

    export: ExportChoice = DEFAULT_EXPORT


@dataclass
class PhotoResults:
    """Files and rows of one photo, or why there are none.

    Attributes:
        index: of the item.
        stem: of the files.
        files: name -> content.
        rows: of the table of people.
        problem: one sentence; empty if there are results.
        note: one sentence if the end of the file is missing; else empty.
    """

    index: int
    stem: str
    files: dict[str, bytes] = field(default_factory=dict)
    rows: list[PersonRow] = field(default_factory=list)
    problem: str = ""
    note: str = ""


@dataclass(frozen=True)
class SideBySide:
    """How processes work side by side.

    Attributes:
        processes: number of processes.
        threads: PyTorch threads of each.
        load_body: loads the body of the files in each process.
        load: loads the predictor in each process, which then does all the work on a photo; None
            predicts in this process, and the others draw and encode.
        prepare: called in each process before anything else.
    """

    processes: int
    threads: int
    load_body: Callable[[], BodyModel]
    load: Callable[[], AiOSPredictor] | None = None
    prepare: Callable[[], None] | None = None


@dataclass(frozen=True)
class _Task:
    work: PhotoWork
    stem: str


def results_here(
    works: Iterable[PhotoWork], stem_of: Callable[[str], str], export: ExportSettings
) -> Iterator[PhotoResults]:
    """Results of predicted photos, in order; a thread predicts the next one."""
    with closing(prefetch(works)) as predicted_works:
        for work in predicted_works:
            yield _convert(work, stem_of(work.item.name), export)


def results_side_by_side(
    works: Iterable[PhotoWork],
    stem_of: Callable[[str], str],
    settings: FolderSettings,
    side_by_side: SideBySide,
    from_official: bool,
) -> Iterator[PhotoResults]:
    """Results of photos, in order.

    Args:
        works: photos to be decoded and predicted in the processes, or predicted ones.
        stem_of: name of a photo -> stem of its files.
        settings: for each photo.
        side_by_side: the processes.
        from_official: see `ExportSettings`.

    Raises:
        ProcessStartError: processes end before they are ready.
    """
    start = _Start(settings, side_by_side, from_official)
    predicts_here = side_by_side.load is None
    tasks = (
        _Task(_to_send(work) if predicts_here else work, stem_of(work.item.name)) for work in works
    )
    with ProcessPool(start, side_by_side.processes) as pool:
        yield from pool.map(tasks, _lost)


@dataclass(frozen=True)
class _Start:
    """Prepares a process and returns its function."""

    settings: FolderSettings
    side_by_side: SideBySide
    from_official: bool

    def __call__(self) -> Callable[[_Task], PhotoResults]:
        load, threads = self.side_by_side.load, self.side_by_side.threads
        if self.side_by_side.prepare is not None:
            self.side_by_side.prepare()
        logging.basicConfig(level=logging.WARNING, format="%(message)s")
        os.environ.setdefault("LP_NUM_THREADS", str(threads))  # of OpenGL without a GPU
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
        predictor = None if load is None else load()
        body = self.side_by_side.load_body() if predictor is None else predictor.body
        export = ExportSettings(body, self.from_official, **vars(self.settings.export))

        def work_on(task: _Task) -> PhotoResults:
            work = task.work
            if predictor is not None:
                work = predicted_alone(predictor, work, self.settings)
            return _convert(work, task.stem, export)

        return work_on


def _convert(work: PhotoWork, stem: str, export: ExportSettings) -> PhotoResults:
    name = work.item.name
    results = PhotoResults(work.index, stem)

    def convert(prediction: Prediction, photo: np.ndarray) -> None:
        results.files = results_as_bytes(prediction, photo, stem, utf8_text(name), export)
        results.rows = person_rows(name, stem, prediction)

    try:
        work.finish(convert)
        results.note = work.note
    except (ExportError, OpenGLError, PhotoError) as error:
        results.problem = str(error)
    return results


def _to_send(work: PhotoWork) -> PhotoWork:
    """Copy of a predicted photo that can be pickled; its source is no longer needed."""
    error = work.error
    if error is not None and not isinstance(error, (PhotoError, MemoryError)):
        error = RuntimeError(str(error))  # exceptions of libraries cannot always be pickled
    return replace(work, item=PhotoItem(work.item.name, bytes), error=error)


def _lost(task: _Task) -> PhotoResults:
    name = task.work.item.name
    sentence = f"{name} could not be processed, it ended its process twice: try a smaller copy."
    return PhotoResults(task.work.index, task.stem, problem=sentence)
