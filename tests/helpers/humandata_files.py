"""Small HumanData files with random people, and functions to modify them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from aios.body.model import BodyModel
from tests.helpers.training_samples import random_picture, random_targets
from training.data.batch import Sample
from training.data.humandata import ReadOptions
from training.data.photos import PhotoSet
from training.data.sets import DATA_SETS, DataSet
from training.data.write import write_synthetic_set

COUNTS = (2, 1, 3)


def random_samples(body: BodyModel, counts: tuple[int, ...] = COUNTS) -> list[Sample]:
    return [
        Sample(random_picture(k), random_targets(body, count, seed=k))
        for k, count in enumerate(counts)
    ]


def write_set(
    root: Path, body: BodyModel, name: str = "synthetic", counts: tuple[int, ...] = COUNTS
) -> Path:
    """Write a data set of 96 x 64 images below `root`; returns the path of its annotations."""
    return write_synthetic_set(root, name, random_samples(body, counts))[0]


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Modify the content of a file with `change`, and return its path."""
    with np.load(path, allow_pickle=True) as file:
        content = {k: v.item() if v.dtype == object else v for k, v in file.items()}
    change(content)
    np.savez(path, **content)
    return path


def open_set(path: Path, root: Path, data_set: DataSet | str = "synthetic", **options) -> PhotoSet:
    table = DATA_SETS[data_set] if isinstance(data_set, str) else data_set
    return PhotoSet.open(path, root / table.images, table, ReadOptions(**options))
