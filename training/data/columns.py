"""Per-person columns of a HumanData file, in all forms that are in use."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .archive import Archive, DataError

NUM_JOINTS = 144
FILE_JOINTS = (144, 190)
"""Possible numbers of joints in a file; the first 144 of 190 are the same joints."""


@dataclass(frozen=True)
class Columns:
    """Columns of a file with one entry per person, restricted to R selected rows."""

    archive: Archive
    count: int
    """People in the file."""
    rows: np.ndarray
    """(R,) selected rows."""

    def of(self, source: Mapping[str, Any], name: str) -> np.ndarray | None:
        """Selected rows of a list; None if it is missing.

        Raises:
            DataError: the list does not have one entry per person.
        """
        if source.get(name) is None:
            return None
        values = np.asarray(source[name])
        if values.ndim == 0 or len(values) != self.count:
            found = "no" if values.ndim == 0 else len(values)
            raise DataError(f"{self.archive.path}: {name} has {found} rows for {self.count} people")
        return values[self.rows]

    def numbers(self, source: Mapping[str, Any], name: str) -> np.ndarray | None:
        """(R,) float64, one number per person; None if the list is missing.

        Raises:
            DataError: the list does not have one number per person.
        """
        values = self.of(source, name)
        if values is None:
            return None
        try:
            return np.asarray(values, np.float64).reshape(len(self.rows))
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{self.archive.path}: {name} must have one number per person"
            ) from error

    def flag(self, source: Mapping[str, Any], name: str) -> np.ndarray:
        """(R,) bool; all True if the list is missing.

        Raises:
            DataError: as in `numbers`.
        """
        values = self.numbers(source, name)
        return np.ones(len(self.rows), bool) if values is None else values > 0

    def vectors(self, source: Mapping[str, Any], name: str) -> np.ndarray | None:
        """(R, N) values per person, flattened; None if the list is missing.

        Raises:
            DataError: the list does not have numbers for each person.
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
        """(R, 5) x, y, w, h, confidence; zeros if the boxes are missing.

        Raises:
            DataError: the boxes are `needed` but missing, or have another shape.
        """
        if name not in self.archive and not needed:
            return np.zeros((len(self.rows), 5), np.float32)
        boxes = self.of({name: self.archive.read(name)}, name)
        if boxes is None or boxes.shape[1:] != (5,):
            raise DataError(f"{self.archive.path}: {name} must have 5 numbers per person")
        return boxes.astype(np.float32)

    def joints(self, kind: str, keys: tuple[str, ...], width: int) -> np.ndarray | None:
        """(R, 144, `width`) float32 of the first existing `<kind>_<key>`; None if there is none.

        The last value of a joint is its confidence, 0 for joints that the file leaves out.

        Raises:
            DataError: the joints have another shape.
        """
        names = [f"{kind}_{key}" if key else kind for key in keys]
        name = next((n for n in names if n in self.archive), None)
        if name is None:
            return None
        label = f"{self.archive.path}: {name}"
        values = self.of({name: self.archive.read(name)}, name)
        mask = f"{name}_mask"
        stored = np.ravel(self.archive.read(mask)) > 0 if mask in self.archive else None
        flag = "__keypoints_compressed__"
        compressed = flag in self.archive and bool(self.archive.read(flag))
        joints = expand_joints(values, stored if compressed else None, label)
        if joints.shape[2] != width:
            raise DataError(f"{label} has {joints.shape[2]} values per joint instead of {width}")
        if stored is not None and len(stored) in FILE_JOINTS:
            joints[..., -1] *= stored[:NUM_JOINTS]
        return joints


def expand_joints(values: np.ndarray | None, mask: np.ndarray | None, label: str) -> np.ndarray:
    """Expand stored joints to (R, 144, C) float32, zeros for joints that are not stored.

    Args:
        values: (R, stored joints, C).
        mask: (J,) bool, True for stored joints; None if all are stored.
        label: name of the array in error messages.

    Raises:
        DataError: the number of joints is wrong.
    """
    if values is None or values.ndim != 3:
        raise DataError(f"{label} must have the shape people x joints x values")
    if mask is not None:
        if mask.sum() != values.shape[1]:
            raise DataError(
                f"{label} stores {values.shape[1]} joints, but its mask has {mask.sum()}"
            )
        full = np.zeros((len(values), len(mask), values.shape[2]), np.float32)
        full[:, mask] = values
        values = full
    if values.shape[1] not in FILE_JOINTS:
        raise DataError(f"{label} has {values.shape[1]} joints instead of 144 or 190")
    return values[:, :NUM_JOINTS].astype(np.float32)
