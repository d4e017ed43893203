"""Per-image records from which metrics at any threshold and in any mode are computed.

Records of several processes and of resumed runs can be merged; the metrics depend only on the set
of images, not on their order.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from .errors import InImage
from .matching import MODES, joint_boxes, joint_costs, match_people, pixel_iou, score_prefixes
from .parts import BodyParts
from .person_arrays import PredictedPeople, TruePeople
from .protocols import PROTOCOLS, Protocol

FORM = 1
"""Version of the file format."""


class RecordsError(ValueError):
    """Records cannot be read or merged."""


@dataclass(frozen=True)
class ImageRecord:
    """One image: m predictions, n annotated people, K pairs between them."""

    name: str
    """Image name, the merge key."""
    scores: np.ndarray
    """(m,) 0-1"""
    cost: np.ndarray
    """(m, n) pixels, see `joint_costs`."""
    iou: np.ndarray
    """(m, n) IoU of the bounding boxes of the joints."""
    valid: np.ndarray
    """(n,) bool, False for people excluded from the evaluation."""
    occlusion: np.ndarray
    """(n,) occluded percentage, NaN where unknown."""
    kid: np.ndarray
    """(n,) bool"""
    size_px: np.ndarray
    """(n,) pixels, longer side of the bounding box of the true joints."""
    assigned: np.ndarray
    """(0 or 1, 2) int64 indices of the best prediction and the person nearest to it."""
    pairs: np.ndarray
    """(K, 2) int64, all pairs that are matched at any score threshold."""
    errors: np.ndarray
    """(K, E) metres, columns in the order of `Protocol.error_names`."""

    def to_line(self) -> str:
        """Serialize to one line of JSON; numbers round-trip exactly, NaN becomes null."""
        content: dict[str, Any] = {"name": self.name}
        for name in _ARRAYS:
            values = getattr(self, name)
            hidden = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
            content[name] = np.ma.array(values, mask=hidden).tolist()
        return json.dumps(content, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_line(cls, line: str, num_errors: int) -> Self:
        """Parse a line written by `to_line`."""
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


def measure_image(
    name: str,
    predicted: PredictedPeople,
    true: TruePeople,
    protocol: Protocol,
    parts: BodyParts,
    in_image: InImage | None = None,
) -> ImageRecord:
    """Compare the people of one image for all score thresholds at once.

    Args:
        name: of the image, unique in the benchmark.
        predicted: all people down to the lowest threshold of interest.
        true: all annotated people.
        protocol: matching rule and errors.
        parts: vertex lists of the body model of both.
        in_image: visibility test of UBody, where only points inside the image enter the means.
    """
    cost, iou = np.zeros((2, len(predicted), len(true)))
    boxes = joint_boxes(true.joints_2d) if len(true) else np.zeros((0, 4))
    if len(predicted) and len(true):
        cost = joint_costs(predicted.joints_2d, true.joints_2d)
        iou = pixel_iou(joint_boxes(predicted.joints_2d[:, :24]), boxes)
    assigned = protocol.assign(predicted, true)
    matched = {(int(p), int(g)) for p, g in assigned}
    for kept in score_prefixes(predicted.scores):
        for mode in MODES:
            found = match_people(cost[kept], iou[kept], true.valid, mode).pairs
            matched |= {(int(kept[p]), int(g)) for p, g in found}
    pairs = np.array(sorted(matched), np.int64).reshape(-1, 2)
    return ImageRecord(
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
        errors=protocol.errors(predicted, true, pairs, parts, in_image),
    )


class Records:
    """Image records of one benchmark under one protocol.

    Attributes:
        protocol: of all records.
    """

    def __init__(self, protocol: Protocol, images: Iterable[ImageRecord] = ()) -> None:
        """Start with some records."""
        self.protocol = protocol
        self._images: dict[str, ImageRecord] = {}
        for record in images:
            self.add(record)

    def add(self, record: ImageRecord) -> None:
        """Add one image; an identical record is ignored.

        Raises:
            RecordsError: a different record of this image exists.
        """
        known = self._images.setdefault(record.name, record)
        if known is not record and known.to_line() != record.to_line():
            raise RecordsError(
                f"Image {record.name} has two records with different results: evaluate again in an "
                f"empty folder."
            )

    def __len__(self) -> int:
        """Number of images."""
        return len(self._images)

    def __contains__(self, name: str) -> bool:
        """Whether there is a record of the image."""
        return name in self._images

    def images(self) -> list[ImageRecord]:
        """All records sorted by name, so that sums do not depend on the insertion order."""
        return [self._images[name] for name in sorted(self._images)]

    def only(self, wanted: Callable[[str], bool]) -> Records:
        """Records of the images whose name satisfies `wanted`."""
        return Records(self.protocol, (r for n, r in self._images.items() if wanted(n)))

    def save(self, path: Path) -> None:
        """Write all records, replacing `path` atomically."""
        temporary = path.with_suffix(".tmp")
        with temporary.open("w") as file:
            file.write(_head(self.protocol))
            file.writelines(record.to_line() + "\n" for record in self.images())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    @classmethod
    def load(cls, *paths: Path) -> Records:
        """Load and merge files written by `save` or a `RecordLog`.

        An incomplete last line, left by a killed process, is skipped.

        Raises:
            RecordsError: a file has another format or protocol, or results differ.
        """
        records: Records | None = None
        for path in paths:
            own = _read(path)
            if records is None:
                records = own
            elif records.protocol is not own.protocol:
                raise RecordsError(
                    f"{path} uses the protocol {own.protocol.name}, the files before it "
                    f"{records.protocol.name}: they cannot be merged."
                )
            for record in own.images():
                records.add(record)
        if records is None:
            raise RecordsError("There are no record files to load.")
        return records


class RecordLog:
    """A record file that is extended image by image, so that a killed run can be resumed.

    Attributes:
        records: the content of the file.
    """

    def __init__(self, path: Path, protocol: Protocol) -> None:
        """Open or create `path`.

        Raises:
            RecordsError: the file has another format or protocol.
        """
        self.records = Records(protocol)
        if path.exists() and path.stat().st_size:
            self.records = Records.load(path)
            if self.records.protocol is not protocol:
                raise RecordsError(
                    f"{path} uses the protocol {self.records.protocol.name}, not {protocol.name}: "
                    f"choose another folder."
                )
        self.records.save(path)  # drops an incomplete last line
        self._file = path.open("a")

    def add(self, record: ImageRecord) -> None:
        """Add one image and write its record immediately."""
        self.records.add(record)
        self._file.write(record.to_line() + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
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
        return Records(protocol, (ImageRecord.from_line(line, count) for line in whole))
    except RecordsError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise RecordsError(
            f"{path} is not a record file of this version: evaluate again or give another file."
        ) from error
