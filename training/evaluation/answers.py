"""What was predicted for every picture, on disk: for submissions, boxes and pictures of failures.

One line of JSON a picture; arrays are kept bit by bit.
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


class AnswerError(ValueError):
    """A file of answers that cannot be read; says what to do."""


@dataclass(frozen=True)
class Answer:
    """The m people predicted in one picture, and how they compare with the n annotated ones."""

    name: str
    group: str
    people: People
    camera: Camera
    joints_2d: np.ndarray
    """(m, 24, 2) float32 pixels of the picture, the first SMPL-X joints."""
    keypoints_right: np.ndarray
    """(m, n) int64 keypoints that each prediction would have right of each person."""
    keypoints_shown: np.ndarray
    """(n,) int64 keypoints of each person that can be right."""
    true_boxes_xyxy: np.ndarray
    """(n, 4) float64 pixels of the picture."""
    depths_m: np.ndarray
    """(m,) float64, of each prediction's pelvis before the camera."""
    true_depths_m: np.ndarray
    """(n,) float64, the same of the annotated people; NaN where nobody knows."""

    @property
    def candidates(self) -> Candidates:
        """As the predictor takes them to pose bodies."""
        return Candidates(self.people, self.camera)

    def to_line(self) -> str:
        """One line of JSON."""
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
        """What `to_line` has written."""
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


def write_answers(file: Path, answers: Iterable[Answer]) -> None:
    """Add answers to the end of a file; all of them are on disk when this returns."""
    with file.open("a") as stream:
        stream.writelines(f"{answer.to_line()}\n" for answer in answers)


def cut_broken_line(file: Path) -> None:
    """Take off the end that a killed process did not finish, so that more can be added."""
    if not file.exists():
        return
    with file.open("r+b") as stream:
        content = stream.read()
        if content and not content.endswith(b"\n"):
            stream.truncate(content.rfind(b"\n") + 1)


def read_answers(files: Iterable[Path], names: Iterable[str]) -> Iterator[Answer]:
    """The answers for some pictures, each once, in the order of the names.

    Only the places of lines are kept in memory.

    Raises:
        AnswerError: a picture has no answer, or a file is damaged.
    """
    places: dict[str, tuple[Path, int]] = {}
    for file in sorted(files):
        with file.open("rb") as stream:
            start = 0
            for line in stream:
                if line.endswith(b"\n"):
                    places.setdefault(_name_of(file, line), (file, start))
                start += len(line)
    for name in names:
        if name not in places:
            raise AnswerError(
                f"There is no answer for {name} beside its record: measure again with --fresh."
            )
        file, start = places[name]
        with file.open("rb") as stream:
            stream.seek(start)
            yield _read(file, Answer.from_line, stream.readline())


def _name_of(file: Path, line: bytes) -> str:
    return _read(file, lambda text: json.loads(text)["name"], line)


def _read(file: Path, reader: Callable[[str], _T], line: bytes) -> _T:
    try:
        return reader(line.decode())
    except (ValueError, KeyError, TypeError) as error:
        raise AnswerError(
            f"{file} is damaged or of another version: measure again with --fresh."
        ) from error
