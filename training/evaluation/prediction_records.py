"""Predictions on disk, from which submissions, boxes and the page of worst images are made.

Files have one line of JSON per image; arrays round-trip exactly.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from aios.geometry.camera import Camera
from aios.people import People
from aios.prediction import Candidates

_T = TypeVar("_T")


class PredictionRecordError(ValueError):
    """A file of prediction records is damaged or incomplete."""


@dataclass(frozen=True)
class PredictionRecord:
    """m predicted people of one image, compared with the n annotated ones."""

    name: str
    group: str
    people: People
    camera: Camera
    joints_2d: np.ndarray
    """(m, 24, 2) float32 pixels of the image, the first 24 SMPL-X joints."""
    keypoints_right: np.ndarray
    """(m, n) int64, number of keypoints correct if a prediction is matched to a person."""
    keypoints_shown: np.ndarray
    """(n,) int64, number of annotated keypoints of each person inside the image."""
    true_boxes_xyxy: np.ndarray
    """(n, 4) float64 pixels of the image."""
    depths_m: np.ndarray
    """(m,) float64, depth of the predicted pelvis."""
    true_depths_m: np.ndarray
    """(n,) float64, depth of the annotated pelvis; NaN where unknown."""

    @property
    def candidates(self) -> Candidates:
        """Input of `AiOSPredictor.assemble`, which poses the bodies."""
        return Candidates(self.people, self.camera)

    def to_line(self) -> str:
        """Serialize to one line of JSON."""
        content: dict[str, Any] = {"name": self.name, "group": self.group}
        content["camera"] = [
            *(self.camera.focal_length, *self.camera.principal_point),
            *(self.camera.width, self.camera.height),
        ]
        content["people"] = {f.name: _pack(getattr(self.people, f.name)) for f in fields(People)}
        content |= {name: _pack(getattr(self, name)) for name in _ARRAYS}
        return json.dumps(content, separators=(",", ":"))

    @classmethod
    def from_line(cls, line: str) -> Self:
        """Parse a line written by `to_line`."""
        content = json.loads(line)
        focal_length, x, y, width, height = content["camera"]
        return cls(
            name=content["name"],
            group=content["group"],
            people=People(**{name: _unpack(v) for name, v in content["people"].items()}),
            camera=Camera(focal_length, (x, y), width, height),
            **{name: _unpack(content[name]) for name in _ARRAYS},
        )


_ARRAYS = (
    *("joints_2d", "keypoints_right", "keypoints_shown"),
    *("true_boxes_xyxy", "depths_m", "true_depths_m"),
)


def _pack(values: np.ndarray) -> list:
    content = np.ascontiguousarray(values).tobytes()
    return [values.dtype.str, list(values.shape), base64.b64encode(content).decode()]


def _unpack(packed: list) -> np.ndarray:
    kind, shape, content = packed
    return np.frombuffer(base64.b64decode(content), kind).reshape(shape).copy()


def append_prediction_records(file: Path, records: Iterable[PredictionRecord]) -> None:
    """Append records to a file and flush it."""
    with file.open("a") as stream:
        stream.writelines(f"{record.to_line()}\n" for record in records)


def truncate_partial_line(file: Path) -> None:
    """Remove an incomplete last line, left by a killed process."""
    if not file.exists():
        return
    with file.open("r+b") as stream:
        content = stream.read()
        if content and not content.endswith(b"\n"):
            stream.truncate(content.rfind(b"\n") + 1)


def read_prediction_records(
    files: Iterable[Path], names: Iterable[str]
) -> Iterator[PredictionRecord]:
    """Read the records of some images in the order of `names`.

    Only the offsets of the lines are kept in memory.

    Raises:
        PredictionRecordError: an image has no record, or a file is damaged.
    """
    offsets: dict[str, tuple[Path, int]] = {}
    for file in sorted(files):
        with file.open("rb") as stream:
            start = 0
            for line in stream:
                if line.endswith(b"\n"):
                    offsets.setdefault(_name_of(file, line), (file, start))
                start += len(line)
    for name in names:
        if name not in offsets:
            raise PredictionRecordError(
                f"There is no prediction for {name}: evaluate again with --fresh."
            )
        file, start = offsets[name]
        with file.open("rb") as stream:
            stream.seek(start)
            yield _read(file, PredictionRecord.from_line, stream.readline())


def _name_of(file: Path, line: bytes) -> str:
    return _read(file, lambda text: json.loads(text)["name"], line)


def _read(file: Path, reader: Callable[[str], _T], line: bytes) -> _T:
    try:
        return reader(line.decode())
    except (ValueError, KeyError, TypeError) as error:
        raise PredictionRecordError(
            f"{file} is damaged or of another version: evaluate again with --fresh."
        ) from error
