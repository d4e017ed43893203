"""On-disk records of everyone in a video; memory does not grow with its length."""

from __future__ import annotations

import array
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..people import People
from .placement import CAMERA_SPACE

_ROWS_AT_ONCE = 1024
_MIN_DEPTH_M = 1e-6


@dataclass
class Track:
    """One person in a video.

    Attributes:
        number: from 1 in order of first appearance.
        count: number of frames with the person.
        first_frame: index of the first of these frames.
        last_frame: index of the last.
        first_row: index of the first record in the store.
        last_row: index of the last record.
        betas: (10,) float32 mean shape.
    """

    number: int
    count: int
    first_frame: int
    last_frame: int
    first_row: int
    last_row: int
    betas: np.ndarray


class MotionStore:
    """File of records, one per person and frame.

    A record has the fields of `People`, without the first axis, and the integers `frame` and
    `track`.  Add all frames, call `finish`, then read.

    Attributes:
        tracks: track number -> track; after `finish`, the kept tracks.
        space: what the positions are relative to, a text for the files.
    """

    def __init__(self, path: Path) -> None:
        """Create the file at `path`."""
        self._path = path
        self._file = path.open("wb")
        self._dtype = _record_type()
        self._names = [field.name for field in fields(People)]
        self._times = array.array("d")
        self._rows = 0
        self._renumbered: dict[int, int] = {}
        self._mean_shape = False
        self._moves: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.tracks: dict[int, Track] = {}
        self.space = CAMERA_SPACE

    def add(self, people: People, numbers: np.ndarray, time: float) -> None:
        """Append a frame.

        Args:
            people: P people.
            numbers: (P,) track numbers.
            time: of the frame, seconds, increasing.
        """
        frame = len(self._times)
        self._times.append(time)
        rows = np.zeros(len(people), self._dtype)
        rows["frame"], rows["track"] = frame, numbers
        for name in self._names:
            rows[name] = getattr(people, name)
        self._file.write(rows.tobytes())
        for index, number in enumerate(numbers.tolist()):
            row = self._rows + index
            track = self.tracks.get(number)
            if track is None:
                track = Track(number, 0, frame, frame, row, row, people.betas[index])
                self.tracks[number] = track
            track.count += 1
            track.last_frame, track.last_row = frame, row
            track.betas = people.betas[index].copy()
        self._rows += len(people)

    def finish(self, min_frames: int, mean_shape: bool) -> None:
        """Close for writing, drop short tracks and renumber the others from 1.

        Args:
            min_frames: tracks with fewer frames are dropped, as most of them are false positives.
            mean_shape: give every record the last shape of its track, which is the mean shape
                when the records were smoothed.
        """
        self._file.close()
        limit = min(min_frames, len(self._times))
        kept = [track for track in self.tracks.values() if track.count >= limit]
        kept.sort(key=lambda track: track.number)
        self._renumbered = {track.number: new for new, track in enumerate(kept, 1)}
        self._mean_shape = mean_shape
        for track in kept:
            track.number = self._renumbered[track.number]
        self.tracks = {track.number: track for track in kept}

    def move(self, number: int, translations: np.ndarray) -> None:
        """Translate a person; all later reads give the new positions.

        Args:
            number: track number, after `finish`.
            translations: metres, camera frame, (T, 3) for the T records of the track.
        """
        frames = [rows["frame"] for rows in self.track_chunks(number)]
        self._moves[number] = np.concatenate(frames), translations.astype(np.float32)

    @property
    def times(self) -> np.ndarray:
        """(F,) float64 seconds of each frame."""
        return np.frombuffer(self._times, np.float64) if self._times else np.zeros(0)

    @property
    def fields(self) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
        """Field name -> dtype and shape of the fields of a record."""
        parts = {name: self._dtype[name] for name in ("frame", "track", *self._names)}
        return {name: (part.base, part.shape) for name, part in parts.items()}

    def count(self) -> int:
        """Number of records of the kept tracks."""
        return sum(track.count for track in self.tracks.values())

    def chunks(self, first: int = 0, last: int | None = None) -> Iterator[np.ndarray]:
        """Read the records of the kept tracks in order, at most `_ROWS_AT_ONCE` at a time.

        Args:
            first: index of the first record.
            last: index of the last record; None for all.
        """
        stop = self._rows if last is None else last + 1
        with self._path.open("rb") as file:
            file.seek(first * self._dtype.itemsize)
            for start in range(first, stop, _ROWS_AT_ONCE):
                rows = np.fromfile(file, self._dtype, min(_ROWS_AT_ONCE, stop - start))
                rows["track"] = [self._renumbered.get(int(n), 0) for n in rows["track"]]
                rows = rows[rows["track"] > 0]
                if self._mean_shape and len(rows):
                    rows["betas"] = [self.tracks[int(n)].betas for n in rows["track"]]
                for number in self._moves.keys() & set(rows["track"].tolist()):
                    self._moved(rows, number)
                yield rows

    def _moved(self, rows: np.ndarray, number: int) -> None:
        """Translate the records of one person in place."""
        frames, translations = self._moves[number]
        mine = np.flatnonzero(rows["track"] == number)
        transl = rows["transl"][mine] + translations[np.searchsorted(frames, rows["frame"][mine])]
        rows["transl"][mine] = transl
        depth = np.where(np.abs(transl[:, 2:]) > _MIN_DEPTH_M, transl[:, 2:], _MIN_DEPTH_M)
        ones = np.ones_like(depth)
        rows["weak_camera"][mine] = np.concatenate([ones, transl[:, :2]], 1) / depth

    def track_chunks(self, number: int) -> Iterator[np.ndarray]:
        """Read the records of one person in order, in non-empty chunks."""
        track = self.tracks[number]
        for rows in self.chunks(track.first_row, track.last_row):
            mine = rows[rows["track"] == number]
            if len(mine):
                yield mine

    def frames(self) -> Iterator[tuple[People, np.ndarray]]:
        """People and their track numbers of every frame, including empty frames."""
        frame, waiting = 0, np.zeros(0, self._dtype)
        for rows in self.chunks():
            rows = np.concatenate([waiting, rows])
            if not len(rows):
                continue
            # The last frame of a chunk may continue in the next chunk.
            while frame < rows["frame"][-1]:
                mine = rows[: np.searchsorted(rows["frame"], frame, "right")]
                yield self._people(mine)
                rows, frame = rows[len(mine) :], frame + 1
            waiting = rows
        while frame < len(self._times):
            mine = waiting[waiting["frame"] == frame]
            yield self._people(mine)
            frame += 1

    def _people(self, rows: np.ndarray) -> tuple[People, np.ndarray]:
        values = {name: np.ascontiguousarray(rows[name]) for name in self._names}
        return People(**values), rows["track"].astype(np.int64)


def _record_type() -> np.dtype[Any]:
    empty = People.empty()
    columns: list[tuple[Any, ...]] = [("frame", np.int32), ("track", np.int32)]
    for field in fields(People):
        values = getattr(empty, field.name)
        columns.append((field.name, values.dtype, values.shape[1:]))
    return np.dtype(columns)
