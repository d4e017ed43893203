"""Photos of a folder, list or archive: results of each, one table of people, one of failures.

In one process, three stages run side by side: threads decode the next photos, a thread predicts,
and the calling thread draws and writes. With several, each does all of this for one photo after
another, but the calling process writes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from ..media.photo import PhotoError
from ..media.photo_sources import PhotoItem
from ..media.prefetch import prefetch
from ..predictor import AiOSPredictor
from .batches import PhotoWork, predicted
from .manifest import Finished, Manifest
from .output_names import PROBLEMS, TABLE, OutputNames
from .photo_results import (
    FolderSettings,
    PhotoResults,
    SideBySide,
    results_here,
    results_side_by_side,
)
from .progress import ProgressCallback, ProgressReporter
from .sinks import OutputError, ResultsFullError, Sink
from .tables import PeopleTable, PersonRow, problems_table

__all__ = [
    "STAGE",
    "EarlierRuns",
    "FolderResult",
    "FolderSettings",
    "reconstruct_folder",
]

STAGE = "Photo"

_FULL = "Not processed: the results of earlier photos fill the archive."


@dataclass
class FolderResult:
    """Outcome of a job.

    Attributes:
        photos: number of photos with results.
        people: number of people found in all of them.
        problems: name and reason for each photo that failed.
        notes: name and sentence for each photo of this run whose file is cut off.
        earlier: number of photos with results of an earlier run.
    """

    photos: int = 0
    people: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    earlier: int = 0


@dataclass(frozen=True)
class EarlierRuns:
    """Which photos of a job are finished.

    Attributes:
        manifest: of the output folder.
        identities: of the items, see `file_identity`; an empty one is processed in every run.
        names: of output files.
    """

    manifest: Manifest
    identities: Sequence[str]
    names: OutputNames

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
    earlier: EarlierRuns | None = None,
    side_by_side: SideBySide | None = None,
) -> FolderResult:
    """Process every photo that can be processed.

    Writes the files of `results_as_bytes` for each photo, then `people.csv` with a row for each
    person and, if any photo failed or is cut off, `problems.csv`. An interrupt from the keyboard
    also writes the tables.

    Args:
        predictor: runs the network, in batches where that is faster.
        items: the photos, read in order; a few at a time are in memory.
        sink: takes the files; `OutputError` counts as a failure of that photo, `ResultsFullError`
            ends the job early, other exceptions are passed on.
        settings: for the predictor and the files.
        report: called after each photo; may raise to stop the job.
        on_problem: called with the reason of each failure and with each note.
        earlier: finished photos, which are skipped and whose rows stay in the table; None
            processes all, records none, and gives names that are unique within this job.
        side_by_side: processes to use; None uses this one alone. The results are the same to the
            bit if the threads are.

    Raises:
        ProcessStartError: the processes end before they are ready.
    """
    job = _FolderJob(sink, earlier)
    names = OutputNames() if earlier is None else earlier.names
    reporter = ProgressReporter(report, {STAGE: 1.0})
    with PeopleTable() as table:
        try:
            finished = job.reserve_finished(len(items))
            reporter.begin(STAGE, len(items) - len(finished))
            left = _results(predictor, items, settings, names, finished, side_by_side)
            with closing(left) as results:
                for index, item in enumerate(items):
                    if index in finished:
                        job.keep(index, table)
                        continue
                    try:
                        note = job.write(next(results), table)
                        if note:
                            job.result.notes.append((item.name, note))
                            on_problem(note)
                    except ResultsFullError:
                        job.result.problems += [(rest.name, _FULL) for rest in items[index:]]
                        on_problem(_FULL)
                        break
                    except (OutputError, PhotoError) as error:
                        job.result.problems.append((item.name, str(error)))
                        on_problem(str(error))
                    reporter.step()
        except KeyboardInterrupt:
            job.write_tables(table)
            raise
        job.write_tables(table)
    return job.result


def _results(
    predictor: AiOSPredictor,
    items: Sequence[PhotoItem],
    settings: FolderSettings,
    names: OutputNames,
    finished: Collection[int],
    side_by_side: SideBySide | None,
) -> Generator[PhotoResults, None, None]:
    """Results of the unfinished items, in order."""
    export = settings.export.settings(predictor)
    if side_by_side is None or side_by_side.load is None:
        works = predicted(predictor, items, settings, None, finished.__contains__)
    else:
        works = (
            PhotoWork(index, item) for index, item in enumerate(items) if index not in finished
        )
    if side_by_side is None:
        yield from results_here(works, names.photo, export)
        return
    with closing(prefetch(works)) as ready:
        yield from results_side_by_side(
            ready, names.photo, settings, side_by_side, export.from_official
        )


class _FolderJob:
    """Writes the results of a job and counts them."""

    def __init__(self, sink: Sink, earlier: EarlierRuns | None) -> None:
        self._sink = sink
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
                self._earlier.names.reserve(record.stem)
        return finished

    def keep(self, index: int, table: PeopleTable) -> None:
        """Add the rows of a finished photo."""
        record = None if self._earlier is None else self._earlier.find(index)
        if record is not None:  # else its files have vanished since the start of this run
            self._count(record.rows, table)
            self.result.earlier += 1

    def write(self, photo: PhotoResults, table: PeopleTable) -> str:
        """Write the files and rows of one photo, then record it as finished; returns its note.

        Raises:
            PhotoError: there are no results.
            OutputError: they cannot be written.
            ResultsFullError: the sink has no room.
        """
        if photo.problem:
            raise PhotoError(photo.problem)
        self._sink(photo.files)
        if self._earlier is not None:
            sizes = {path: len(content) for path, content in photo.files.items()}
            identity = self._earlier.identities[photo.index]
            self._earlier.manifest.add(identity, photo.stem, sizes, photo.rows)
        self._count(photo.rows, table)
        return photo.note

    def write_tables(self, table: PeopleTable) -> None:
        """Write `people.csv` and, after failures and notes, `problems.csv`."""
        self._sink({TABLE: table.content()})
        if problems := self.result.problems + self.result.notes:
            self._sink({PROBLEMS: problems_table(problems)})

    def _count(self, rows: list[PersonRow], table: PeopleTable) -> None:
        table.add(rows)
        self.result.photos += 1
        self.result.people += len(rows)
