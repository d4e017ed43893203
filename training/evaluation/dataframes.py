"""Ground truth of AGORA: pandas data frames with projected joints, joints and vertices.

One row per image; each column holds a list with one entry per person.
"""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from ..data import DataError
from ..data.photos import read_image_as_stored
from .benchmarks import Benchmark
from .metrics import LicensedFileError, TruePeople
from .samples import EvaluationSample, GroundTruth, clipped_joint_boxes

_COLUMNS = ("imgPath", "gt_joints_2d", "gt_joints_3d", "gt_verts", "occlusion")
_SMALL = "_1280x720"


def dataframe_samples(
    benchmark: Benchmark, folder: Path, images: Path, trust_pickle: bool
) -> list[EvaluationSample]:
    """List the evaluated images of all data frames in a folder.

    Args:
        benchmark: selects images and gives the resolution of the annotation.
        folder: of `.pkl` files.
        images: folder of the images, at either resolution of AGORA.
        trust_pickle: allow unpickling, which can execute code.

    Raises:
        LicensedFileError: there are no data frames.
        DataError: a data frame cannot be read, or unpickling is not allowed.
    """
    files = sorted(folder.glob("*.pkl")) if folder.is_dir() else []
    if not files:
        raise LicensedFileError(
            f"{folder} holds no data frames (*.pkl), the ground truth of {benchmark.name}; get "
            f"{benchmark.source}."
        )
    if not trust_pickle:
        raise DataError(
            f"{files[0]} is a pickled data frame, which can execute code when read; if you trust "
            "its source, add --trust-pickle"
        )
    samples = []
    for path in files:
        for row, name in enumerate(read_frame(path)["imgPath"]):
            name = str(name)
            if not benchmark.only or any(word in name for word in benchmark.only):
                samples.append(
                    EvaluationSample(name, "", partial(_load, benchmark, path, row, images))
                )
    return samples


@lru_cache(maxsize=1)
def read_frame(path: Path) -> Any:  # noqa: ANN401 - a pandas.DataFrame, imported where it is needed
    """Read a data frame; the last one is cached, because images are ordered by file.

    Raises:
        DataError: the file cannot be read or lacks a column.
    """
    import pandas

    try:
        frame = pandas.read_pickle(path)
    except Exception as error:  # unpickling raises almost any exception
        raise DataError(
            f"{path} cannot be read by pandas {pandas.__version__} ({error}); read it with the "
            "pandas version that AGORA's evaluation program requires and save it again"
        ) from error
    missing = [name for name in _COLUMNS if name not in frame]
    if missing:
        raise DataError(
            f"{path} lacks {', '.join(missing)}: download the data frames with joints "
            "and vertices, not those with cameras only"
        )
    return frame


def _load(
    benchmark: Benchmark, path: Path, row: int, images: Path
) -> tuple[np.ndarray, GroundTruth | None]:
    entry = read_frame(path).iloc[row]
    assert benchmark.resolution_wh is not None
    image = read_image_as_stored(_image_path(images, str(entry["imgPath"])))
    return image, row_to_ground_truth(entry, benchmark.resolution_wh)


def _image_path(images: Path, name: str) -> Path:
    """Path of an image at the resolution that was downloaded."""
    stem = name.removesuffix(".png").replace(_SMALL, "")
    tried = [images / name, images / f"{stem}.png", images / f"{stem}{_SMALL}.png"]
    return next((path for path in tried if path.is_file()), tried[0])


def row_to_ground_truth(entry: Any, resolution_wh: tuple[int, int]) -> GroundTruth:  # noqa: ANN401 - a Series
    """Ground truth of one row, i.e. one image."""
    joints_2d, joints_3d, vertices = (
        np.stack([np.asarray(value, np.float64) for value in entry[name]])
        if len(entry[name])
        else np.zeros(shape)
        for name, shape in (
            ("gt_joints_2d", (0, 24, 2)),
            ("gt_joints_3d", (0, 127, 3)),
            ("gt_verts", (0, 1, 3)),
        )
    )
    more = {"occlusion": np.asarray(entry["occlusion"], np.float64)}
    for name, column in (("valid", "isValid"), ("kid", "kid")):
        if column in entry:
            more[name] = np.asarray(entry[column], bool)
    people = TruePeople.from_arrays(joints_2d, joints_3d, vertices, more)
    return GroundTruth(people, clipped_joint_boxes(joints_2d, resolution_wh), resolution_wh)
