"""Intermediate results on disk: an interrupted run resumes at the first missing part.

A part is a group of photos. `NNNNN_seen.npz` holds the predictions of the teachers, `NNNNN_fit.npz`
the fitted bodies, both concatenated over the photos.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from aios.body.model import BodyModel

from .fit import Fit, fit_bodies
from .observation import Observation, camera_of, concatenate
from .observers import Observers

_PREFIX = "seen_"


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


def finished_part(
    path: Path, names: Sequence[str], root: Path, observers: Observers, body: BodyModel
) -> Part:
    """Observe and fit all people of some photos; finished steps are read from disk.

    Args:
        path: of the files, without `_seen.npz` and `_fit.npz`.
        names: of the photos below `root`.
        root: common folder of all photos.
        observers: the networks.
        body: the body to fit.
    """
    seen_path, fit_path = (path.with_name(f"{path.name}_{step}.npz") for step in ("seen", "fit"))
    looked = _read_seen(seen_path, names)
    if looked is None:
        # Remove the fit first: it belongs to the people of other photos.
        fit_path.unlink(missing_ok=True)
        looked = _observe(seen_path, names, root, observers)
    sizes, counts, seen = looked
    fit = _fit(fit_path, sizes, counts, seen, body)
    return Part(list(names), sizes, counts, seen, fit)


def _read_seen(
    path: Path, names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, Observation] | None:
    """Sizes, counts and people on disk; None if they belong to other photos."""
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as arrays:
        if arrays["names"].tolist() != list(names):
            return None
        values = {f.name: arrays[_PREFIX + f.name] for f in fields(Observation)}
        return arrays["sizes_wh"], arrays["counts"], Observation(**values)


def _observe(
    path: Path, names: Sequence[str], root: Path, observers: Observers
) -> tuple[np.ndarray, np.ndarray, Observation]:
    looked = observers([root / name for name in names])
    sizes, people = [size for size, _ in looked], [found for _, found in looked]
    seen, counts = concatenate(people), np.array([len(each) for each in people])
    values = {_PREFIX + f.name: getattr(seen, f.name) for f in fields(Observation)}
    _write(path, names=np.array(names), sizes_wh=np.array(sizes), counts=counts, **values)
    return np.array(sizes), counts, seen


def _fit(
    path: Path, sizes: np.ndarray, counts: np.ndarray, seen: Observation, body: BodyModel
) -> Fit:
    if path.is_file():
        with np.load(path, allow_pickle=False) as arrays:
            if len(arrays["transl"]) == len(seen) and str(arrays["body"]) == body.name:
                return Fit(**{f.name: arrays[f.name] for f in fields(Fit)})
    cameras = [camera_of(*size) for size in np.repeat(sizes, counts, 0).tolist()]
    focal_length = np.array([camera.focal_length for camera in cameras])
    center = np.array([camera.principal_point for camera in cameras]).reshape(-1, 2)
    fit = fit_bodies(seen, focal_length, center, body)
    _write(path, body=np.array(body.name), **{f.name: getattr(fit, f.name) for f in fields(Fit)})
    return fit


def _write(path: Path, **arrays: np.ndarray) -> None:
    """Write the file atomically, by renaming."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".writing.npz")
    np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]
    os.replace(temporary, path)
