"""Many photos, one after another: results of each, a table of all people, and what went wrong."""

from __future__ import annotations

import csv
import logging
import re
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self

from ..export.photo_files import ExportError, results_as_bytes, write_file
from ..media.photo import PhotoError, read_photo
from ..media.photo_sources import PhotoItem, unique_stem
from ..prediction import Prediction
from ..predictor import DEFAULT_MAX_PEOPLE, AiOSPredictor
from ..render.opengl import OpenGLError
from .export_settings import export_settings
from .progress import ProgressCallback, ProgressReporter

_log = logging.getLogger(__name__)

STAGE = "Photo"
TABLE, PROBLEMS = "people.csv", "problems.csv"
MAX_ARCHIVE_BYTES = 4_000_000_000

_COLUMNS = (
    "photo person score depth_order distance_m left_px top_px right_px bottom_px focal_length_px "
    "transl_x_m transl_y_m transl_z_m".split()
    + [f"betas_{index}" for index in range(10)]
    + ["files"]
)
_FULL = "Not worked on: the results of the photos before it fill the archive."
_FORMULA = ("=", "+", "-", "@")

Sink = Callable[[dict[str, bytes]], None]
"""Takes files that belong together: relative names with `/`, and contents."""


class ResultsFullError(Exception):
    """Raised by a sink that takes no more photos, before it has taken any of the files."""


@dataclass(frozen=True)
class FolderSettings:
    """How each photo is worked on; see `AiOSPredictor.predict`."""

    threshold: float | None = None
    max_people: int = DEFAULT_MAX_PEOPLE
    ground: bool = False
    backdrop: bool = False


@dataclass
class FolderResult:
    """What came of a batch.

    Attributes:
        photos: how many were worked on.
        people: found in all of them.
        problems: name and sentence for each file that was not.
    """

    photos: int = 0
    people: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)


def reconstruct_folder(
    predictor: AiOSPredictor,
    items: Sequence[PhotoItem],
    sink: Sink,
    settings: FolderSettings,
    report: ProgressCallback,
    on_problem: Callable[[str], None] = lambda sentence: None,
) -> FolderResult:
    """Work on every photo that can be worked on.

    Gives the files of `results_as_bytes` of each, then `people.csv`
    with a row for each person of each photo and, if there were any, `problems.csv`.

    Args:
        predictor: finds and poses.
        items: the photos; one at a time is in memory.
        sink: takes the files; what it raises ends the work.
        settings: how.
        report: called after each photo; may raise to stop.
        on_problem: called with a sentence for each file that cannot be worked on.
    """
    result, taken = FolderResult(), set[str]()
    reporter = ProgressReporter(report, {STAGE: 1.0})
    reporter.begin(STAGE, len(items))
    # In a file: nobody knows how many people there will be.
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as table:
        rows = csv.writer(table)
        rows.writerow(_COLUMNS)
        for place, item in enumerate(items):
            stem = unique_stem(str(PurePosixPath(item.name).with_suffix("")), taken)
            try:
                prediction, files = _work_on(predictor, item, stem, settings)
                sink(files)
            except (ExportError, OpenGLError, PhotoError) as error:
                result.problems.append((item.name, str(error)))
                on_problem(str(error))
            except ResultsFullError:
                result.problems += [(left.name, _FULL) for left in items[place:]]
                on_problem(_FULL)
                break
            else:
                _add_rows(rows, item.name, stem, prediction)
                result.photos += 1
                result.people += len(prediction)
            reporter.step()
        table.seek(0)
        sink({TABLE: table.read().encode()})
    if result.problems:
        sink({PROBLEMS: _problems_table(result.problems)})
    return result


def _work_on(
    predictor: AiOSPredictor, item: PhotoItem, stem: str, settings: FolderSettings
) -> tuple[Prediction, dict[str, bytes]]:
    try:
        photo = read_photo(item.read())
        prediction = predictor.predict(photo, settings.threshold, settings.max_people)
        export = export_settings(predictor, settings.ground, settings.backdrop)
        return prediction, results_as_bytes(prediction, photo, stem, item.name, export)
    except PhotoError as error:
        # Bytes have no name of their own.
        raise PhotoError(re.sub(r"^The photo\b", lambda _: item.name, str(error))) from error
    except (ExportError, OpenGLError):
        raise
    except (MemoryError, RuntimeError, ValueError) as error:
        # One photo that nobody foresaw shall not cost all the others.
        _log.error("A photo failed", exc_info=error)
        raise PhotoError(f"{item.name} could not be worked on: try a smaller copy.") from error


def _add_rows(rows: Any, name: str, stem: str, prediction: Prediction) -> None:  # noqa: ANN401
    people, order = prediction.people, prediction.depth_order
    for index in prediction:
        rows.writerow(
            [
                _cell(name),
                index + 1,
                round(float(people.scores[index]), 4),
                int(order[index]),
                round(float(prediction.joints_3d[index, 0, 2]), 3),
                *(round(float(value), 1) for value in people.boxes_xyxy_px[index]),
                round(float(prediction.camera.focal_length), 3),
                *(round(float(value), 4) for value in people.transl[index]),
                *(round(float(value), 5) for value in people.betas[index]),
                _cell(stem),
            ]
        )


def _cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _problems_table(problems: list[tuple[str, str]]) -> bytes:
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as table:
        rows = csv.writer(table)
        rows.writerow(["file", "problem"])
        rows.writerows((_cell(name), _cell(sentence)) for name, sentence in problems)
        table.seek(0)
        return table.read().encode()


def folder_sink(folder: Path) -> Sink:
    """Writes files into a folder, each whole or not at all."""

    def write(files: dict[str, bytes]) -> None:
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, content)

    return write


class ZipSink:
    """Writes files into one archive.  As a context manager: left by an exception, it is removed."""

    def __init__(self, path: Path, max_bytes: int = MAX_ARCHIVE_BYTES) -> None:
        """Make the archive at `path`, for photos with `max_bytes` of results in all."""
        self._path = path
        self._left = max_bytes
        self._archive = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1)

    def __call__(self, files: dict[str, bytes]) -> None:
        """Add files; the tables at the end have room always."""
        size = sum(map(len, files.values()))
        if size > self._left and not files.keys() & {TABLE, PROBLEMS}:
            raise ResultsFullError
        self._left -= size
        for name, content in files.items():
            self._archive.writestr(name, content)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the archive, or remove it."""
        self._archive.close()
        if kind is not None:
            self._path.unlink(missing_ok=True)
