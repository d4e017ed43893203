"""AGORA's own annotation: data frames of pandas with projected joints, joints and vertices.

One row a picture; columns hold a list with an entry for each person (specification, EVAL 1, 2).
"""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from ..data import DataError
from ..data.photos import read_image_as_stored
from .benchmarks import Benchmark
from .cases import Case, Truth, joint_boxes_in
from .metrics import LicensedFileError, TruePeople

_COLUMNS = ("imgPath", "gt_joints_2d", "gt_joints_3d", "gt_verts", "occlusion")
_SMALL = "_1280x720"


def dataframe_cases(
    benchmark: Benchmark, folder: Path, images: Path, trust_pickle: bool
) -> list[Case]:
    """The pictures of all data frames in a folder, those the benchmark counts.

    Args:
        benchmark: says which pictures count and in which pixels they are annotated.
        folder: of `.pkl` files.
        images: folder of the pictures, in either size that AGORA gives.
        trust_pickle: reading a data frame may run what its file says.

    Raises:
        LicensedFileError: there is no data frame.
        DataError: one cannot be read, or reading it is not allowed.
    """
    files = sorted(folder.glob("*.pkl")) if folder.is_dir() else []
    if not files:
        raise LicensedFileError(
            f"{folder} holds no data frames (*.pkl): they are the truth of {benchmark.name}; get "
            f"{benchmark.source}."
        )
    if not trust_pickle:
        raise DataError(
            f"{files[0]} is a pickled data frame, which could run anything on reading; if you "
            "know where it comes from, say --trust-pickle"
        )
    cases = []
    for path in files:
        for row, name in enumerate(read_frame(path)["imgPath"]):
            name = str(name)
            if not benchmark.only or any(word in name for word in benchmark.only):
                cases.append(Case(name, "", partial(_load, benchmark, path, row, images)))
    return cases


@lru_cache(maxsize=1)
def read_frame(path: Path) -> Any:  # noqa: ANN401 - a pandas.DataFrame, imported where it is needed
    """A data frame; that of the last file is kept, for pictures come file by file.

    Raises:
        DataError: it cannot be read or lacks a column.
    """
    import pandas

    try:
        frame = pandas.read_pickle(path)
    except Exception as error:  # frames of old versions raise nearly anything
        raise DataError(
            f"{path} cannot be read by pandas {pandas.__version__} ({error}); read it with the "
            "pandas that AGORA's tool asks for and save it again"
        ) from error
    missing = [name for name in _COLUMNS if name not in frame]
    if missing:
        raise DataError(
            f"{path} lacks {', '.join(missing)}: the data frames with joints and vertices are "
            "needed, not those with cameras alone"
        )
    return frame


def _load(
    benchmark: Benchmark, path: Path, row: int, images: Path
) -> tuple[np.ndarray, Truth | None]:
    entry = read_frame(path).iloc[row]
    assert benchmark.resolution_wh is not None
    picture = read_image_as_stored(_picture(images, str(entry["imgPath"])))
    return picture, truth_of_row(entry, benchmark.resolution_wh)


def _picture(images: Path, name: str) -> Path:
    """The file of a picture, whichever size was downloaded."""
    stem = name.removesuffix(".png").replace(_SMALL, "")
    tried = [images / name, images / f"{stem}.png", images / f"{stem}{_SMALL}.png"]
    return next((path for path in tried if path.is_file()), tried[0])


def truth_of_row(entry: Any, resolution_wh: tuple[int, int]) -> Truth:  # noqa: ANN401 - a Series
    """The people of one picture."""
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
    return Truth(people, joint_boxes_in(joints_2d, resolution_wh), resolution_wh)
