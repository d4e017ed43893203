"""What is kept of every measured picture: enough for any threshold, mode and plot afterwards.

Records of several processes or of a run that went on later are merged; what is summed up depends
on which pictures were measured, not on their order or on who measured them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from .errors import InPicture
from .matching import MODES, joint_boxes, joint_costs, match_people, pixel_iou, score_prefixes
from .parts import BodyParts
from .people import PredictedPeople, TruePeople
from .protocols import PROTOCOLS, Protocol

FORM = 1
"""Raised when lines of a records file change their meaning."""


class RecordsError(ValueError):
    """Records that cannot be read or do not fit together; says what to do."""


@dataclass(frozen=True)
class PictureRecord:
    """One picture: m predictions, n people, K of the pairs between them."""

    name: str
    """Name of the picture, the key under which it is merged."""
    scores: np.ndarray
    """(m,) 0-1"""
    cost: np.ndarray
    """(m, n) pixels, see `joint_costs`."""
    iou: np.ndarray
    """(m, n) of the boxes around the joints."""
    valid: np.ndarray
    """(n,) bool: is to be found."""
    occlusion: np.ndarray
    """(n,) percent, NaN where it is unknown."""
    kid: np.ndarray
    """(n,) bool"""
    size_px: np.ndarray
    """(n,) pixels, longer side of the box around the true joints."""
    assigned: np.ndarray
    """(0 or 1, 2) int64 prediction and person: the best score and whoever is nearest to it."""
    pairs: np.ndarray
    """(K, 2) int64: every pair that is made at some score threshold."""
    errors: np.ndarray
    """(K, E) metres, columns as `Protocol.error_names`."""

    def to_line(self) -> str:
        """One line of JSON; numbers come back bit by bit, what is not a number is null."""
        content: dict[str, Any] = {"name": self.name}
        for name in _ARRAYS:
            values = getattr(self, name)
            hidden = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
            content[name] = np.ma.array(values, mask=hidden).tolist()
        return json.dumps(content, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_line(cls, line: str, num_errors: int) -> Self:
        """The record that `to_line` has written."""
        content: dict[str, Any] = json.loads(line)
        people, predictions = len(content["valid"]), len(content["scores"])
        shapes = {
            "cost": (predictions, people),
            "iou": (predictions, people),
            "assigned": (-1, 2),
            "pairs": (-1, 2),
            "errors": (len(content["pairs"]), num_errors),
        }
        arrays: dict[str, Any] = {
            name: np.array(content[name], kind).reshape(shapes.get(name, (-1,)))
            for name, kind in _ARRAYS.items()
        }
        return cls(content["name"], **arrays)


_ARRAYS: dict[str, type] = {
    **dict.fromkeys(("scores", "cost", "iou"), float),
    **{"valid": bool, "occlusion": float, "kid": bool, "size_px": float},
    **{"assigned": np.int64, "pairs": np.int64, "errors": float},
}


def measure_picture(
    name: str,
    predicted: PredictedPeople,
    true: TruePeople,
    protocol: Protocol,
    parts: BodyParts,
    in_picture: InPicture | None = None,
) -> PictureRecord:
    """Compare the people of one picture, for every score threshold at once.

    Args:
        name: of the picture, unique in the benchmark.
        predicted: everyone down to the lowest threshold that will be asked for.
        true: everyone annotated.
        protocol: the benchmark's rules.
        parts: vertex lists of the body that both are meshes of.
        in_picture: where only what lies in the picture counts (UBody).
    """
    cost, iou = np.zeros((2, len(predicted), len(true)))
    boxes = joint_boxes(true.joints_2d) if len(true) else np.zeros((0, 4))
    if len(predicted) and len(true):
        cost = joint_costs(predicted.joints_2d, true.joints_2d)
        iou = pixel_iou(joint_boxes(predicted.joints_2d[:, :24]), boxes)
    assigned = protocol.assign(predicted, true)
    made = {(int(p), int(g)) for p, g in assigned}
    for kept in score_prefixes(predicted.scores):
        for mode in MODES:
            found = match_people(cost[kept], iou[kept], true.valid, mode).pairs
            made |= {(int(kept[p]), int(g)) for p, g in found}
    pairs = np.array(sorted(made), np.int64).reshape(-1, 2)
    return PictureRecord(
        name=name,
        scores=np.asarray(predicted.scores, np.float64),
        cost=cost,
        iou=iou,
        valid=true.valid,
        occlusion=true.occlusion,
        kid=true.kid,
        size_px=(boxes[:, 2:] - boxes[:, :2]).max(1, initial=0),
        assigned=assigned,
        pairs=pairs,
        errors=protocol.errors(predicted, true, pairs, parts, in_picture),
    )


class Records:
    """Measured pictures of one benchmark.

    Attributes:
        protocol: by which they were measured.
    """

    def __init__(self, protocol: Protocol, pictures: Iterable[PictureRecord] = ()) -> None:
        """Begin with some pictures."""
        self.protocol = protocol
        self._pictures: dict[str, PictureRecord] = {}
        for record in pictures:
            self.add(record)

    def add(self, record: PictureRecord) -> None:
        """Take in one picture; the same record twice counts once.

        Raises:
            RecordsError: there already is another record of this picture.
        """
        known = self._pictures.setdefault(record.name, record)
        if known is not record and known.to_line() != record.to_line():
            raise RecordsError(
                f"Picture {record.name} was measured twice with different results: measure into an "
                f"empty folder again."
            )

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self._pictures)

    def __contains__(self, name: str) -> bool:
        """Whether the picture has been measured."""
        return name in self._pictures

    def pictures(self) -> list[PictureRecord]:
        """All of them by name, so that sums do not depend on who came first."""
        return [self._pictures[name] for name in sorted(self._pictures)]

    def only(self, wanted: Callable[[str], bool]) -> Records:
        """The pictures whose name is `wanted`."""
        return Records(self.protocol, (r for n, r in self._pictures.items() if wanted(n)))

    def save(self, path: Path) -> None:
        """Write all of them; `path` is either the old file or the whole new one."""
        temporary = path.with_suffix(".tmp")
        with temporary.open("w") as file:
            file.write(_head(self.protocol))
            file.writelines(record.to_line() + "\n" for record in self.pictures())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    @classmethod
    def load(cls, *paths: Path) -> Records:
        """Everything that is in some files, each written by `save` or a `RecordLog`.

        A last line that was cut off by a killed process is left out.

        Raises:
            RecordsError: a file holds something else, another protocol, or other results.
        """
        records: Records | None = None
        for path in paths:
            own = _read(path)
            if records is None:
                records = own
            elif records.protocol is not own.protocol:
                raise RecordsError(
                    f"{path} was measured by {own.protocol.name}, the files before by "
                    f"{records.protocol.name}: they cannot be summed up together."
                )
            for record in own.pictures():
                records.add(record)
        if records is None:
            raise RecordsError("There are no records to load.")
        return records


class RecordLog:
    """A records file that grows picture by picture, so that a killed run can go on.

    Attributes:
        records: what the file held when it was opened, and all that was added since.
    """

    def __init__(self, path: Path, protocol: Protocol) -> None:
        """Open `path`, or begin it.

        Raises:
            RecordsError: the file holds something else or was measured by another protocol.
        """
        self.records = Records(protocol)
        if path.exists() and path.stat().st_size:
            self.records = Records.load(path)
            if self.records.protocol is not protocol:
                raise RecordsError(
                    f"{path} was measured by {self.records.protocol.name}, not {protocol.name}: "
                    f"choose another folder."
                )
        self.records.save(path)  # without a line that was cut off
        self._file = path.open("a")

    def add(self, record: PictureRecord) -> None:
        """Take in one picture and write it down at once."""
        self.records.add(record)
        self._file.write(record.to_line() + "\n")
        self._file.flush()

    def close(self) -> None:
        """Nothing more will come."""
        self._file.close()


def _head(protocol: Protocol) -> str:
    return json.dumps({"records": FORM, "protocol": protocol.name}) + "\n"


def _read(path: Path) -> Records:
    lines = path.read_text().splitlines(keepends=True)
    try:
        head = json.loads(lines[0]) if lines else {}
        protocol = PROTOCOLS[head["protocol"]]
        if head["records"] != FORM:
            raise KeyError(head["records"])
        whole = [line for line in lines[1:] if line.endswith("\n")]
        count = len(protocol.error_names)
        return Records(protocol, (PictureRecord.from_line(line, count) for line in whole))
    except RecordsError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise RecordsError(
            f"{path} is not a file of records of this version: measure again or name another file."
        ) from error
