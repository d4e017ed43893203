"""Rows and columns of a HumanData file: joints and boxes in whatever form they are stored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .archive import Archive, DataError

NUM_JOINTS = 144
FILE_JOINTS = (144, 190)
"""Numbers of joints that files have; the first 144 of 190 are the same."""


@dataclass(frozen=True)
class Columns:
    """Columns of a file with one entry a person, cut to the R rows that are wanted."""

    archive: Archive
    count: int
    """People in the file."""
    rows: np.ndarray
    """(R,) rows that are wanted."""

    def of(self, source: Mapping[str, Any], name: str) -> np.ndarray | None:
        """The wanted rows of one list; None if there is no such list.

        Raises:
            DataError: the list is not one of all people.
        """
        if source.get(name) is None:
            return None
        values = np.asarray(source[name])
        if values.ndim == 0 or len(values) != self.count:
            found = "no" if values.ndim == 0 else len(values)
            raise DataError(f"{self.archive.path}: {name} has {found} rows for {self.count} people")
        return values[self.rows]

    def numbers(self, source: Mapping[str, Any], name: str) -> np.ndarray | None:
        """(R,) float64, one number a person; None if there is no such list.

        Raises:
            DataError: the list is not one number of each person.
        """
        values = self.of(source, name)
        if values is None:
            return None
        try:
            return np.asarray(values, np.float64).reshape(len(self.rows))
        except (TypeError, ValueError) as error:
            raise DataError(f"{self.archive.path}: {name} must be one number a person") from error

    def flag(self, source: Mapping[str, Any], name: str) -> np.ndarray:
        """(R,) bool; True where there is no such list.

        Raises:
            DataError: as `numbers`.
        """
        values = self.numbers(source, name)
        return np.ones(len(self.rows), bool) if values is None else values > 0

    def vectors(self, source: Mapping[str, Any], name: str) -> np.ndarray | None:
        """(R, numbers of each) of whatever shape they have; None if there is no such list.

        Raises:
            DataError: the list is not one of numbers of all people.
        """
        values = self.of(source, name)
        if values is None:
            return None
        try:
            flat = values.reshape(len(values), math.prod(values.shape[1:]))
            return flat if flat.dtype.kind == "f" else flat.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"{self.archive.path}: {name} must be numbers") from error

    def boxes(self, name: str, needed: bool) -> np.ndarray:
        """(R, 5) x, y, w, h, confidence; zeros where the file has no such boxes.

        Raises:
            DataError: they are absent though `needed`, or in another form.
        """
        if name not in self.archive and not needed:
            return np.zeros((len(self.rows), 5), np.float32)
        boxes = self.of({name: self.archive.read(name)}, name)
        if boxes is None or boxes.shape[1:] != (5,):
            raise DataError(f"{self.archive.path}: {name} must have 5 numbers a person")
        return boxes.astype(np.float32)

    def joints(self, kind: str, keys: tuple[str, ...], width: int) -> np.ndarray | None:
        """(R, 144, `width`) float32 of the first of `<kind>_<key>` there is; None if none is.

        The last number of a joint is its confidence; joints that the file leaves out have none.

        Raises:
            DataError: they are in another form.
        """
        names = [f"{kind}_{key}" if key else kind for key in keys]
        name = next((n for n in names if n in self.archive), None)
        if name is None:
            return None
        place = f"{self.archive.path}: {name}"
        values = self.of({name: self.archive.read(name)}, name)
        mask = f"{name}_mask"
        stored = np.ravel(self.archive.read(mask)) > 0 if mask in self.archive else None
        flag = "__keypoints_compressed__"
        compressed = flag in self.archive and bool(self.archive.read(flag))
        joints = expand_joints(values, stored if compressed else None, place)
        if joints.shape[2] != width:
            raise DataError(f"{place} has {joints.shape[2]} numbers a joint, wanted {width}")
        if stored is not None and len(stored) in FILE_JOINTS:
            joints[..., -1] *= stored[:NUM_JOINTS]
        return joints


def expand_joints(values: np.ndarray | None, mask: np.ndarray | None, place: str) -> np.ndarray:
    """Joints as stored -> (R, 144, C) float32, zeros for those that the file leaves out.

    Args:
        values: (R, J or stored joints, C).
        mask: (J,) bool, which joints are stored; None if all are.
        place: what to name in messages.

    Raises:
        DataError: the numbers of joints do not fit.
    """
    if values is None or values.ndim != 3:
        raise DataError(f"{place} must be people x joints x numbers")
    if mask is not None:
        if mask.sum() != values.shape[1]:
            raise DataError(
                f"{place} stores {values.shape[1]} joints, but its mask names {mask.sum()}"
            )
        full = np.zeros((len(values), len(mask), values.shape[2]), np.float32)
        full[:, mask] = values
        values = full
    if values.shape[1] not in FILE_JOINTS:
        raise DataError(f"{place} has {values.shape[1]} joints, wanted 144 or 190")
    return values[:, :NUM_JOINTS].astype(np.float32)
