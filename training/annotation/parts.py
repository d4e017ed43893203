"""Groups of annotated photos and their files: only new and changed photos are annotated again.

A part is a group of photos. `NNNNN_seen.npz` holds the predictions of the teachers, `NNNNN_fit.npz`
the fitted bodies, both concatenated over the photos. The number of a part is never used again, so
the two files belong together; photos that were added or have changed get a new part.
"""

from __future__ import annotations

import hashlib
import logging
import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch

from aios.body.model import BodyModel
from aios.pipelines.manifest import file_identity

from .fit import Fit, fit_bodies
from .observation import Observation, camera_of, concatenate
from .observers import Observers

_log = logging.getLogger(__name__)
_SEEN, _FIT = "_seen.npz", "_fit.npz"
_PREFIX = "seen_"
_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True)
class Part:
    """A group of photos and their people.

    Attributes:
        names: of the photos, relative to the common folder.
        sizes_wh: (N, 2) int64 pixels; 0, 0 for a photo that cannot be read.
        counts: (N,) people of each photo.
        seen: of all people.
        fit: of all people.
    """

    names: list[str]
    sizes_wh: np.ndarray
    counts: np.ndarray
    seen: Observation
    fit: Fit

    def select(self, photos: Sequence[int]) -> Part:
        """The photos at these positions, in ascending order, with their people."""
        people = np.flatnonzero(np.isin(np.repeat(np.arange(len(self.names)), self.counts), photos))
        return Part(
            [self.names[index] for index in photos],
            self.sizes_wh[photos],
            self.counts[photos],
            self.seen.select(people),
            self.fit.select(people),
        )


def annotate(names: Sequence[str], root: Path, observers: Observers, body: BodyModel) -> Part:
    """Run the teachers on photos and fit all people.

    Args:
        names: of the photos below `root`.
        root: common folder of all photos.
        observers: the networks.
        body: the body to fit.
    """
    sizes, counts, seen = _observe(names, root, observers)
    return Part(list(names), sizes, counts, seen, _fit(sizes, counts, seen, body))


class PartFolder:
    """Parts on disk."""

    def __init__(self, folder: Path, body: BodyModel) -> None:
        """Create the folder.

        Args:
            folder: of the files.
            body: the body to fit; people that were fitted with another one are fitted again.

        Raises:
            OSError: the folder cannot be created.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._body = folder, body
        self._body_digest = _digest(body)

    def annotate(
        self, names: Sequence[str], root: Path, observers: Observers, size: int
    ) -> Iterator[Part]:
        """Yield parts that together hold every photo once, finished ones first.

        Args:
            names: of the photos below `root`.
            root: common folder of all photos.
            observers: the networks.
            size: photos of a new part.
        """
        pending = {name: file_identity(root / name) for name in names}
        for path in sorted(self._folder.glob(f"*{_SEEN}"), reverse=True):
            part = self._read(path, pending)
            if part is not None:
                for name in part.names:
                    del pending[name]
                yield part
        rest = list(pending.items())
        for start in range(0, len(rest), size):
            yield self._write(dict(rest[start : start + size]), root, observers)

    def _read(self, path: Path, pending: dict[str, str]) -> Part | None:
        """The pending photos of a part; None if it has none or cannot be read."""
        wanted = {identity: name for name, identity in pending.items() if identity}
        try:
            with np.load(path, allow_pickle=False) as arrays:
                names = [wanted.get(identity, "") for identity in arrays["identities"].tolist()]
                if not any(names):
                    return None
                values = {f.name: arrays[_PREFIX + f.name] for f in fields(Observation)}
                sizes, counts = arrays["sizes_wh"], arrays["counts"]
        except _DAMAGED:
            _log.warning("%s cannot be read: its photos are annotated again.", path)
            return None
        seen = Observation(**values)
        part = Part(names, sizes, counts, seen, self._fit(path, sizes, counts, seen))
        return part.select([index for index, name in enumerate(names) if name])

    def _write(self, identities: dict[str, str], root: Path, observers: Observers) -> Part:
        """Annotate photos as a new part."""
        names = list(identities)
        numbers = [int(path.name.removesuffix(_SEEN)) for path in self._folder.glob(f"*{_SEEN}")]
        path = self._folder / f"{max(numbers, default=-1) + 1:05d}{_SEEN}"
        sizes, counts, seen = _observe(names, root, observers)
        values = {_PREFIX + f.name: getattr(seen, f.name) for f in fields(Observation)}
        stamps = np.array(list(identities.values()), dtype=str)
        _save(path, identities=stamps, sizes_wh=sizes, counts=counts, **values)
        return Part(names, sizes, counts, seen, self._fit(path, sizes, counts, seen))

    def _fit(
        self, seen_path: Path, sizes: np.ndarray, counts: np.ndarray, seen: Observation
    ) -> Fit:
        """The fit on disk, or a new one."""
        path = seen_path.with_name(seen_path.name.removesuffix(_SEEN) + _FIT)
        try:
            with np.load(path, allow_pickle=False) as arrays:
                if str(arrays["body"]) == self._body_digest:
                    return Fit(**{f.name: arrays[f.name] for f in fields(Fit)})
        except _DAMAGED:
            pass  # missing, or the run ended before it was complete
        fit = _fit(sizes, counts, seen, self._body)
        values = {f.name: getattr(fit, f.name) for f in fields(Fit)}
        _save(path, body=np.array(self._body_digest), **values)
        return fit


def _observe(
    names: Sequence[str], root: Path, observers: Observers
) -> tuple[np.ndarray, np.ndarray, Observation]:
    """Sizes (N, 2), counts (N,) and people of N photos."""
    looked = observers([root / name for name in names])
    people = [found for _, found in looked]
    counts = np.array([len(each) for each in people])
    return np.array([size for size, _ in looked]), counts, concatenate(people)


def _fit(sizes: np.ndarray, counts: np.ndarray, seen: Observation, body: BodyModel) -> Fit:
    cameras = [camera_of(*size) for size in np.repeat(sizes, counts, 0).tolist()]
    focal_length = np.array([camera.focal_length for camera in cameras])
    center = np.array([camera.principal_point for camera in cameras]).reshape(-1, 2)
    return fit_bodies(seen, focal_length, center, body)


def _digest(body: BodyModel) -> str:
    """Identifies a body by its joints at rest in two shapes."""
    joints = body.joints({"betas": torch.stack([torch.zeros(10), torch.ones(10)])})
    return hashlib.sha256(joints.numpy().astype(np.float16).tobytes()).hexdigest()


def _save(path: Path, **arrays: np.ndarray) -> None:
    """Write the file atomically, by renaming."""
    temporary = path.with_suffix(".writing.npz")
    np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]
    os.replace(temporary, path)
