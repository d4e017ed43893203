"""Writer of HumanData files, to run training and evaluation without licensed data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from torch import Tensor

from aios.geometry.boxes import cxcywh_to_xyxy

from ..synthetic.generator import SceneGenerator
from ..targets import FEMALE, MALE, Targets
from .annotation import PARAMETERS, PARTS
from .archive import DataError
from .batch import Sample
from .humandata import BOX_KEYS
from .sets import DATA_SETS, DataSet

_PICTURES = "images"
_GENDERS = {MALE: "male", FEMALE: "female"}
_NESTED = {"body_pose": (21, 3), "left_hand_pose": (15, 3), "right_hand_pose": (15, 3)}


def scene_samples(generator: SceneGenerator, first: int, count: int) -> Iterator[Sample]:
    """Yield `count` scenes with people, starting at scene number `first`."""
    number, yielded = first, 0
    while yielded < count:
        scene = generator.generate(number)
        number += 1
        if len(scene.targets):
            yielded += 1
            yield Sample(scene.image, scene.targets)


def write_humandata(
    path: Path, images: Path, samples: Iterable[Sample], key_2d: str = "smplx"
) -> int:
    """Write photos below `images` and their complete annotations to `path`.

    Args:
        path: of the annotations, `.npz`.
        images: folder that image paths are relative to.
        samples: each with at least one person, because the format has one row per person.
        key_2d: key of the 2D joints.

    Returns:
        Number of photos.

    Raises:
        DataError: a sample has no people, or there are no samples.
    """
    columns: dict[str, list[np.ndarray]] = {}
    names: list[str] = []
    ends = [0]
    (images / _PICTURES).mkdir(parents=True, exist_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    for number, sample in enumerate(samples):
        if not len(sample.targets):
            raise DataError(f"{path}: photo {number} has no people, which the format cannot store")
        name = f"{_PICTURES}/{number:06d}.png"
        cv2.imwrite(str(images / name), cv2.cvtColor(sample.picture, cv2.COLOR_RGB2BGR))
        for key, rows in _rows(sample, key_2d).items():
            columns.setdefault(key, []).append(rows)
        names += [name] * len(sample.targets)
        ends.append(len(names))
    if not names:
        raise DataError(f"{path}: there are no photos to write")
    arrays: dict[str, Any] = {"smplx": {}, "meta": {}}
    for key, values in columns.items():
        group, _, inner = key.rpartition("/")
        (arrays[group] if group else arrays)[inner] = np.concatenate(values)
    arrays["image_path"] = np.array(names)
    arrays["frame_range"] = np.stack([ends[:-1], ends[1:]], 1)
    arrays["misc"] = {"flat_hand_mean": False}
    for kind in ("keypoints2d_" + key_2d, "keypoints3d_cam"):
        arrays[f"{kind}_mask"] = np.ones(144, np.uint8)
    arrays["__keypoints_compressed__"] = np.array(False)
    np.savez_compressed(path, **arrays)
    return len(ends) - 1


def _rows(sample: Sample, key_2d: str) -> dict[str, np.ndarray]:
    """One row per person, by key of the file; "group/key" for keys of a dictionary."""
    targets = sample.targets
    height, width = sample.picture.shape[:2]
    count = len(targets)
    size = np.array([width, height], np.float32)
    valid_3d = targets.joints_3d_valid.float()[:, None] * targets.joints_3d_confidence
    rows = {
        BOX_KEYS["body"]: _boxes(targets.boxes, targets.box_valid, size),
        f"keypoints2d_{key_2d}": _with_confidence(
            targets.joints_2d.numpy() * size, targets.joints_2d_visible
        ),
        "keypoints3d_cam": _with_confidence(targets.joints_3d.numpy(), valid_3d),
        "meta/height": np.full(count, height),
        "meta/width": np.full(count, width),
        "meta/gender": np.array([_GENDERS.get(g, "neutral") for g in targets.gender.tolist()]),
        "meta/smplx_valid": targets.smplx_valid.numpy().astype(np.uint8),
        "meta/occ": (1 - targets.visible_share.numpy()) * 100,
    }
    for part in PARTS:
        valid = getattr(targets, f"{part}_box_valid")
        rows[BOX_KEYS[part]] = _boxes(getattr(targets, f"{part}_boxes"), valid, size)
    return rows | _parameters(targets)


def _parameters(targets: Targets) -> dict[str, np.ndarray]:
    return {
        f"smplx/{name}": getattr(targets, name).numpy().reshape(-1, *_NESTED.get(name, (length,)))
        for name, length in PARAMETERS.items()
    }


def _boxes(boxes: Tensor, valid: Tensor, size: np.ndarray) -> np.ndarray:
    """(n, 5) x, y, w, h in pixels, validity 0 or 1."""
    corners = cxcywh_to_xyxy(boxes).numpy() * np.tile(size, 2)
    extent = corners[:, 2:] - corners[:, :2]
    confidence = valid.numpy()[:, None].astype(np.float32)
    return np.concatenate([corners[:, :2], extent, confidence], 1).astype(np.float32)


def _with_confidence(points: np.ndarray, confidence: Tensor) -> np.ndarray:
    return np.concatenate([points, confidence.numpy()[..., None]], -1).astype(np.float32)


def write_synthetic_set(root: Path, name: str, samples: Iterable[Sample]) -> tuple[Path, int]:
    """Write samples to the default paths of the data set `name` below `root`.

    Returns:
        Path of the annotations and number of photos.
    """
    data_set: DataSet = DATA_SETS[name]
    path = root / (data_set.train or data_set.test)
    count = write_humandata(path, root / data_set.images, samples, data_set.key_2d or "smplx")
    if data_set.excluded:
        np.save(path.parent / data_set.excluded, np.array([], dtype=str))
    return path, count
