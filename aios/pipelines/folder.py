"""Photos of a folder, list or archive: results of each, one table of people, one of failures.

Three stages run side by side: threads decode the next photos, a thread predicts, and the calling
thread draws and writes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np

from ..export.checks import ExportError
from ..export.photo_files import results_as_bytes
from ..export.settings import ExportSettings
from ..media.photo import PhotoError
from ..media.photo_sources import PhotoItem
from ..media.prefetch import prefetch
from ..prediction import Prediction
from ..predictor import AiOSPredictor
from ..render.opengl import OpenGLError
from .batches import PeopleLimits, PhotoWork, predicted
from .export_settings import DEFAULT_EXPORT, ExportChoice
from .manifest import Finished, Manifest
from .output_names import PROBLEMS, TABLE, OutputNames
from .progress import ProgressCallback, ProgressReporter
from .sinks import OutputError, ResultsFullError, Sink
from .tables import PeopleTable, PersonRow, person_rows, problems_table

STAGE = "Photo"

_FULL = "Not processed: the results of earlier photos fill the archive."


@dataclass(frozen=True)
class FolderSettings(PeopleLimits):
    """Settings for each photo, see `PeopleLimits` and `ExportSettings`."""

    export: ExportChoice = DEFAULT_EXPORT


@dataclass
class FolderResult:
    """Outcome of a job.

    Attributes:
        photos: number of photos with results.
        people: number of people found in all of them.
        problems: name and reason for each photo that failed.
        earlier: number of photos with results of an earlier run.
    """

    photos: int = 0
    people: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)
    earlier: int = 0


@dataclass(frozen=True)
class EarlierRuns:
    """Which photos of a job are finished.

    Attributes:
        manifest: of the output folder.
        identities: of the items, see `file_identity`; an empty one is processed in every run.
    """

    manifest: Manifest
    identities: Sequence[str]

    def find(self, index: int) -> Finished | None:
        """Results of an item from an earlier run."""
        return self.manifest.find(self.identities[index])


def reconstruct_folder(
    predictor: AiOSPredictor,
    items: Sequence[PhotoItem],
    sink: Sink,
    settings: FolderSettings,
    report: ProgressCallback,
    on_problem: Callable[[str], None] = lambda sentence: None,
    names: OutputNames | None = None,
    earlier: EarlierRuns | None = None,
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
        settings: for the predictor and the files.
        report: called after each photo; may raise to stop the job.
        on_problem: called with the reason of each failure.
        names: of output files; None gives names that are unique within this job.
        earlier: finished photos, which are skipped and whose rows stay in the table; None
            processes all and records none.
    """
    job = _FolderJob(predictor, sink, settings, names or OutputNames(), earlier)
    reporter = ProgressReporter(report, {STAGE: 1.0})
    with PeopleTable() as table:
        try:
            finished = job.reserve_finished(len(items))
            reporter.begin(STAGE, len(items) - len(finished))
            works = predicted(predictor, items, settings, None, finished.__contains__)
            with closing(prefetch(works)) as results:
                for index, item in enumerate(items):
                    if index in finished:
                        job.keep(index, table)
                        continue
                    try:
                        job.write(next(results), table)
                    except ResultsFullError:
                        job.result.problems += [(left.name, _FULL) for left in items[index:]]
                        on_problem(_FULL)
                        break
                    except (ExportError, OpenGLError, OutputError, PhotoError) as error:
                        job.result.problems.append((item.name, str(error)))
                        on_problem(str(error))
                    reporter.step()
        except KeyboardInterrupt:
            job.write_tables(table)
            raise
        job.write_tables(table)
    return job.result


class _FolderJob:
    """Writes the results of a job and counts them."""

    def __init__(
        self,
        predictor: AiOSPredictor,
        sink: Sink,
        settings: FolderSettings,
        names: OutputNames,
        earlier: EarlierRuns | None,
    ) -> None:
        self._sink = sink
        self._export: ExportSettings = settings.export.settings(predictor)
        self._names = names
        self._earlier = earlier
        self.result = FolderResult()

    def reserve_finished(self, count: int) -> set[int]:
        """Indices of finished items of `count`; their names are given to no other."""
        finished = set()
        for index in range(count if self._earlier else 0):
            assert self._earlier is not None
            record = self._earlier.find(index)
            if record is not None:
                finished.add(index)
                self._names.reserve(record.stem)
        return finished

    def keep(self, index: int, table: PeopleTable) -> None:
        """Add the rows of a finished photo."""
        record = None if self._earlier is None else self._earlier.find(index)
        if record is not None:  # else its files have vanished since the start of this run
            self._count(record.rows, table)
            self.result.earlier += 1

    def write(self, work: PhotoWork, table: PeopleTable) -> None:
        """Write the files and rows of one photo, then record it as finished."""
        name = work.item.name
        stem = self._names.photo(name)
        files: dict[str, bytes] = {}

        def convert(prediction: Prediction, photo: np.ndarray) -> None:
            files.update(results_as_bytes(prediction, photo, stem, name, self._export))

        prediction = work.finish(convert)
        self._sink(files)
        rows = person_rows(name, stem, prediction)
        if self._earlier is not None:
            sizes = {path: len(content) for path, content in files.items()}
            self._earlier.manifest.add(self._earlier.identities[work.index], stem, sizes, rows)
        self._count(rows, table)

    def write_tables(self, table: PeopleTable) -> None:
        """Write `people.csv` and, after failures, `problems.csv`."""
        self._sink({TABLE: table.content()})
        if self.result.problems:
            self._sink({PROBLEMS: problems_table(self.result.problems)})

    def _count(self, rows: list[PersonRow], table: PeopleTable) -> None:
        table.add(rows)
        self.result.photos += 1
        self.result.people += len(rows)
