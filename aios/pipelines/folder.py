"""Photos of a folder, list or archive: results of each, one table of people, one of failures.

Three stages run side by side: a thread decodes the next photos, a thread predicts, and the calling
thread draws and writes.
"""

from __future__ import annotations

import csv
import io
import logging
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from ..export.checks import ExportError
from ..export.photo_files import results_as_bytes, write_file
from ..export.settings import ExportSettings
from ..media.photo import PhotoError, read_photo
from ..media.photo_sources import PhotoItem
from ..media.prefetch import prefetch
from ..prediction import Prediction
from ..predictor import DEFAULT_BATCH_SIZE, DEFAULT_MAX_PEOPLE, AiOSPredictor
from ..render.opengl import OpenGLError
from .export_settings import DEFAULT_EXPORT, ExportChoice
from .output_names import PROBLEMS, TABLE, OutputNames
from .progress import ProgressCallback, ProgressReporter

_log = logging.getLogger(__name__)

STAGE = "Photo"
MAX_ARCHIVE_BYTES = 4_000_000_000

_COLUMNS = (
    "photo person score depth_order distance_m left_px top_px right_px bottom_px focal_length_px "
    "transl_x_m transl_y_m transl_z_m".split()
    + [f"betas_{index}" for index in range(10)]
    + ["files"]
)
_FULL = "Not processed: the results of earlier photos fill the archive."
_FORMULA_STARTS = ("=", "+", "-", "@")
# Spreadsheets read UTF-8 only after a byte-order mark.
_TABLE_ENCODING = "utf-8-sig"
_MAX_BATCH_PIXELS = 50_000_000

# Fastest of four runs on two busy CPU cores, 640x480 photos: the built-in network takes 485 ms per
# photo alone, 363 in batches of 2, 335 in batches of 4 and 345 in batches of 8. The paper's network
# takes 14.4 s alone and 15.8 s in batches of 4, which need 0.7 GB more memory.
# A folder of 12 photos with the built-in network takes 1.03 s per photo one after another, and 0.60
# with batches and three stages side by side.
_CPU_BATCH = 4
_CPU_BATCH_SHORT_SIDE_PX = 512

Sink = Callable[[dict[str, bytes]], None]
"""Takes the files of one photo: relative names with `/`, and contents."""


class ResultsFullError(Exception):
    """Raised by a sink without room for a photo, before it has taken any of its files."""


class OutputError(Exception):
    """Raised by a sink that could not write one photo; the message is one sentence."""


@dataclass(frozen=True)
class FolderSettings:
    """Settings for each photo, see `AiOSPredictor.predict` and `ExportSettings`."""

    threshold: float | None = None
    max_people: int = DEFAULT_MAX_PEOPLE
    export: ExportChoice = DEFAULT_EXPORT


@dataclass
class FolderResult:
    """Outcome of a job.

    Attributes:
        photos: number of processed photos.
        people: number of people found in all of them.
        problems: name and reason for each photo that failed.
    """

    photos: int = 0
    people: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class _Work:
    """One item on its way through the stages; `error` ends it."""

    index: int
    item: PhotoItem
    photo: np.ndarray | None = None
    prediction: Prediction | None = None
    error: Exception | None = None


def reconstruct_folder(
    predictor: AiOSPredictor,
    items: Sequence[PhotoItem],
    sink: Sink,
    settings: FolderSettings,
    report: ProgressCallback,
    on_problem: Callable[[str], None] = lambda sentence: None,
    names: OutputNames | None = None,
) -> FolderResult:
    """Process every photo that can be processed.

    Writes the files of `results_as_bytes` for each photo, then `people.csv` with a row for each
    person and, if any photo failed, `problems.csv`. An interrupt from the keyboard also writes the
    tables.

    Args:
        predictor: runs the network, in batches where that is faster.
        items: the photos, read in order; a few at a time are in memory.
        sink: takes the files; `OutputError` counts as a failure of that photo, `ResultsFullError`
            ends the job early, other exceptions are passed on.
        settings: for the predictor.
        report: called after each photo; may raise to stop the job.
        on_problem: called with the reason of each failure.
        names: of output files; None gives names that are unique within this job.
    """
    result = FolderResult()
    names = names or OutputNames()
    export = settings.export.settings(predictor)
    reporter = ProgressReporter(report, {STAGE: 1.0})
    reporter.begin(STAGE, len(items))
    # Rows go to a file: the number of people is unbounded.
    with tempfile.TemporaryFile(
        "w+", encoding=_TABLE_ENCODING, errors="backslashreplace", newline=""
    ) as table:
        rows = csv.writer(table)
        rows.writerow(_COLUMNS)
        try:
            with closing(prefetch(_predicted(predictor, items, settings))) as finished:
                for work in finished:
                    stem = names.photo(work.item.name)
                    try:
                        prediction = _write(work, stem, sink, export)
                    except ResultsFullError:
                        result.problems += [(left.name, _FULL) for left in items[work.index :]]
                        on_problem(_FULL)
                        break
                    except (ExportError, OpenGLError, OutputError, PhotoError) as error:
                        result.problems.append((work.item.name, str(error)))
                        on_problem(str(error))
                    else:
                        _add_rows(rows, work.item.name, stem, prediction)
                        result.photos += 1
                        result.people += len(prediction)
                    reporter.step()
        except KeyboardInterrupt:
            _write_tables(table, result, sink)
            raise
        _write_tables(table, result, sink)
    return result


def batch_size(predictor: AiOSPredictor) -> int:
    """Photos per run of the network that are fastest on the device of `predictor`."""
    if predictor.device.type != "cpu":
        return DEFAULT_BATCH_SIZE
    short_side = predictor.model.config.image.short_side
    return _CPU_BATCH if short_side <= _CPU_BATCH_SHORT_SIDE_PX else 1


def _decoded(items: Sequence[PhotoItem], size: int) -> Iterator[list[_Work]]:
    """Lists of up to `size` decoded photos, of at most `_MAX_BATCH_PIXELS` unless one has more."""
    batch: list[_Work] = []
    pixels = 0
    for index, item in enumerate(items):
        work = _Work(index, item)
        try:
            work.photo = read_photo(item.read())
            pixels += work.photo.shape[0] * work.photo.shape[1]
        except Exception as error:  # raised again when this photo is written
            work.error = error
        batch.append(work)
        if len(batch) == size or pixels >= _MAX_BATCH_PIXELS:
            yield batch
            batch, pixels = [], 0
    if batch:
        yield batch


def _predicted(
    predictor: AiOSPredictor, items: Sequence[PhotoItem], settings: FolderSettings
) -> Iterator[_Work]:
    """Every item in order, with its prediction or its error."""
    size = batch_size(predictor)
    with closing(prefetch(_decoded(items, size))) as batches:
        for batch in batches:
            readable = [work for work in batch if work.photo is not None]
            _predict(predictor, readable, settings, size)
            yield from batch


def _predict(
    predictor: AiOSPredictor, batch: list[_Work], settings: FolderSettings, size: int
) -> None:
    """Fill in predictions; a failed batch is split, so that only the photo at fault fails."""
    if not batch:
        return
    photos = [work.photo for work in batch if work.photo is not None]
    try:
        predictions = predictor.predict_batch(
            photos, settings.threshold, settings.max_people, batch_size=size
        )
    except Exception as error:  # raised again when this photo is written
        if len(batch) == 1:
            batch[0].error = error
            return
        half = len(batch) // 2
        _predict(predictor, batch[:half], settings, size)
        _predict(predictor, batch[half:], settings, size)
        return
    for work, prediction in zip(batch, predictions, strict=True):
        work.prediction = prediction


def _write(work: _Work, stem: str, sink: Sink, export: ExportSettings) -> Prediction:
    """Hand the files of one photo to the sink.

    Raises:
        PhotoError: the photo failed in an earlier stage, or while it was drawn.
    """
    name = work.item.name
    try:
        if work.error is not None:
            raise work.error
        assert work.photo is not None and work.prediction is not None
        files = results_as_bytes(work.prediction, work.photo, stem, name, export)
    except PhotoError as error:
        # Photos given as bytes have no name of their own.
        raise PhotoError(re.sub(r"^The photo\b", lambda _: name, str(error))) from error
    except (ExportError, OpenGLError):
        raise
    except Exception as error:  # an unexpected error of one photo does not stop the others
        _log.error("A photo failed", exc_info=error)
        reason = "there is not enough memory" if _is_out_of_memory(error) else "it failed"
        raise PhotoError(f"{name} could not be processed, {reason}: try a smaller copy.") from error
    finally:
        prediction, work.photo, work.prediction = work.prediction, None, None
    sink(files)
    assert prediction is not None
    return prediction


def _is_out_of_memory(error: Exception) -> bool:
    """Whether Python, the CPU allocator of torch or CUDA ran out of memory."""
    return (
        isinstance(error, MemoryError)
        or "out of memory" in str(error).lower()
        or ("can't allocate memory" in str(error).lower())
    )


def _write_tables(table: Any, result: FolderResult, sink: Sink) -> None:  # noqa: ANN401
    table.flush()
    table.buffer.seek(0)
    sink({TABLE: table.buffer.read()})
    if result.problems:
        sink({PROBLEMS: problems_table(result.problems)})


def _add_rows(rows: Any, name: str, stem: str, prediction: Prediction) -> None:  # noqa: ANN401
    people, order = prediction.people, prediction.depth_order
    for index in prediction:
        rows.writerow(
            [
                _cell(name),
                index + 1,
                round(float(people.scores[index]), 4),
                int(order[index]) + 1,
                round(float(prediction.joints_3d[index, 0, 2]), 3),
                *(round(float(value), 1) for value in people.boxes_xyxy_px[index]),
                round(float(prediction.camera.focal_length), 3),
                *(round(float(value), 4) for value in people.transl[index]),
                *(round(float(value), 5) for value in people.betas[index]),
                _cell(stem),
            ]
        )


def _cell(text: str) -> str:
    """Text that spreadsheets do not evaluate as a formula."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def problems_table(problems: Sequence[tuple[str, str]]) -> bytes:
    """CSV with the columns `file` and `problem`."""
    table = io.StringIO(newline="")
    rows = csv.writer(table)
    rows.writerow(["file", "problem"])
    rows.writerows((_cell(name), _cell(sentence)) for name, sentence in problems)
    return table.getvalue().encode(_TABLE_ENCODING, "backslashreplace")


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
