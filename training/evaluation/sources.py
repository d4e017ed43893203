"""The pictures of each benchmark, from the layout in which its owners give the files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from aios.geometry.boxes import cxcywh_to_xyxy
from aios.geometry.camera import Camera

from ..data import DATA_SETS, PhotoSet
from ..data.annotation import Annotation
from ..data.humandata import ReadOptions
from ..data.photos import read_image_as_stored
from ..synthetic import BENCHMARK_PARTS, benchmark_scene
from ..targets import NEUTRAL, Targets
from .benchmarks import VALIDATION_FILES, Benchmark
from .bodies import Bodies
from .cases import Case, Truth
from .dataframes import dataframe_cases
from .metrics import LicensedFileError, TruePeople
from .metrics.people import NUM_METRIC_JOINTS

_PICTURES = (".png", ".jpg", ".jpeg")
_BODY = (
    *("global_orient", "body_pose", "left_hand_pose", "right_hand_pose"),
    *("jaw_pose", "betas", "expression"),
)
_FEWEST_POINTS = 3


@dataclass(frozen=True)
class Places:
    """Where the files of a benchmark are, and how much of it is wanted."""

    root: Path | None
    """Folder of all data."""
    annotations: Path | None = None
    """File or folder of annotations, in place of the usual one."""
    images: Path | None = None
    """Folder that image paths start from, likewise."""
    interval: int = 0
    """Every so many-th picture; 0 takes the rule of the data set."""
    limit: int | None = None
    """The first so many pictures, of each part where there are parts."""
    trust_pickle: bool = False


def open_cases(benchmark: Benchmark, places: Places, bodies: Bodies) -> list[Case]:
    """All pictures of a benchmark, in a fixed order.

    Raises:
        LicensedFileError: files are missing; says which, what for, and where to get them.
        DataError: files cannot be used.
    """
    if benchmark.kind == "synthetic":
        return _synthetic(places.limit, bodies)
    if places.root is None and places.annotations is None:
        raise LicensedFileError(
            f"{benchmark.name} needs its data: name the folder of all data with --data; they are "
            f"to be had from {benchmark.source}."
        )
    root, step = places.root or Path(), max(places.interval, 1)
    if benchmark.kind == "humandata":
        cases = _humandata(benchmark, places, root, bodies)
    elif benchmark.kind == "folder":
        cases = _folder(benchmark, places.images or root / benchmark.data)[::step]
    else:
        folder = places.annotations or root / benchmark.data
        images = _images(benchmark, places, root)
        cases = dataframe_cases(benchmark, folder, images, places.trust_pickle)[::step]
    if not cases:
        raise LicensedFileError(f"{benchmark.name}: there is no picture to measure in its files.")
    return cases[: places.limit]


def _images(benchmark: Benchmark, places: Places, root: Path) -> Path:
    """The folder of pictures."""
    tried = [places.images] if places.images else [root / name for name in benchmark.images]
    found = next((path for path in tried if path.is_dir()), None)
    if found is None:
        raise LicensedFileError(
            f"{tried[0]} does not exist: it holds the pictures of {benchmark.name}; get them from "
            f"{benchmark.source}."
        )
    return found


# --- made on the fly


def _synthetic(limit: int | None, bodies: Bodies) -> list[Case]:
    return [
        Case(f"{part}/{index:05d}", part, partial(_scene, part, index, bodies))
        for part, about in BENCHMARK_PARTS.items()
        for index in range(about.scenes if limit is None else min(limit, about.scenes))
    ]


def _scene(part: str, index: int, bodies: Bodies) -> tuple[np.ndarray, Truth]:
    scene = benchmark_scene(part, index)
    height, width = scene.image.shape[:2]
    return scene.image, truth_of_targets(scene.targets, (width, height), bodies)


def truth_of_targets(targets: Targets, size_wh: tuple[int, int], bodies: Bodies) -> Truth:
    """The truth of a made-up scene; people stand where the camera sees them."""
    names = (*_BODY, "transl")
    parameters = {name: getattr(targets, name).numpy() for name in names}
    vertices, joints = bodies.pose(parameters, np.full(len(targets), NEUTRAL))
    size = np.array(size_wh, np.float64)
    people = TruePeople.from_arrays(
        targets.joints_2d.numpy()[:, :NUM_METRIC_JOINTS] * size,
        joints,
        vertices,
        {
            "occlusion": 100 * (1 - targets.visible_share.numpy().astype(np.float64)),
            "valid": targets.smplx_valid.numpy(),
            "confidence": targets.joints_2d_visible.numpy()[:, :NUM_METRIC_JOINTS],
        },
    )
    width, height = size_wh
    camera = Camera(targets.focal_length, (width / 2, height / 2), width, height)
    boxes = cxcywh_to_xyxy(targets.boxes).numpy() * np.tile(size, 2)
    return Truth(people, boxes, size_wh, camera)


# --- HumanData


def _humandata(benchmark: Benchmark, places: Places, root: Path, bodies: Bodies) -> list[Case]:
    data_set = DATA_SETS[benchmark.data]
    usual = data_set.test or VALIDATION_FILES[benchmark.data]
    path = places.annotations or root / usual
    if not path.is_file():
        raise LicensedFileError(
            f"{path} does not exist: it holds the annotations of {benchmark.name}; get the data "
            f"from {benchmark.source}."
        )
    if benchmark.images:
        images = _images(benchmark, places, root)
    else:
        images = places.images or root / data_set.images
    options = ReadOptions(
        split="test",
        interval=places.interval,
        trust_pickle=places.trust_pickle,
        hand_means=(bodies.neutral.left_hand_mean, bodies.neutral.right_hand_mean),
    )
    photos = PhotoSet.open(path, images, data_set, options)
    names = _distinct(photos.annotations[index].image for index in range(len(photos)))
    return [
        Case(name, "", partial(_annotated, benchmark, photos, index, bodies))
        for index, name in enumerate(names)
    ]


def _distinct(names: Iterator[str]) -> list[str]:
    """Names, with a number added where a picture comes again."""
    seen: dict[str, int] = {}
    answer = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        answer.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return answer


def _annotated(
    benchmark: Benchmark, photos: PhotoSet, index: int, bodies: Bodies
) -> tuple[np.ndarray, Truth]:
    picture = photos[index].picture
    return picture, truth_of_annotation(benchmark, photos.annotations[index], bodies)


def truth_of_annotation(benchmark: Benchmark, annotation: Annotation, bodies: Bodies) -> Truth:
    """The truth of a picture of HumanData; its bodies stand in the origin of the camera frame.

    Joints that are not annotated take the place at which the posed body has them, seen by the
    weak perspective camera that fits those that are.
    """
    gender = annotation.gender
    if not benchmark.gendered:
        gender = np.full(len(gender), NEUTRAL)
    known = {name: annotation.parameters[name] for name in _BODY}
    valid = annotation.smplx_valid
    vertices, joints = bodies.pose(
        {name: np.where(valid[:, None], v, 0).astype(np.float32) for name, v in known.items()},
        gender,
    )
    points = annotation.joints_2d[:, :NUM_METRIC_JOINTS].astype(np.float64)
    seen = np.isfinite(points).all(-1) & (points[..., 2] > 0)
    occlusion = annotation.occlusion.astype(np.float64)
    people = TruePeople.from_arrays(
        np.stack([_completed(*row) for row in zip(points[..., :2], seen, joints, strict=True)])
        if len(points)
        else np.zeros((0, NUM_METRIC_JOINTS, 2)),
        joints,
        vertices,
        {
            "occlusion": occlusion if occlusion.any() else np.full(len(points), np.nan),
            "valid": valid & (seen.sum(1) >= _FEWEST_POINTS),
            "confidence": np.where(seen, points[..., 2] if benchmark.sure_joints else 1.0, 0.0),
        },
    )
    x, y, width, height = annotation.boxes["body"][:, :4].T
    size = np.array(annotation.size_wh, float)
    corners = np.stack([x, y, x + width, y + height], -1).reshape(-1, 2, 2).clip(0, size)
    return Truth(people, corners.reshape(-1, 4), annotation.size_wh)


def _completed(points: np.ndarray, seen: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """(J, 2) pixels with those not `seen` (J,) replaced; nobody seen gives a point at 0."""
    if seen.all():
        return points
    if seen.sum() < _FEWEST_POINTS:
        return np.zeros_like(points)
    # x = s X + tx, y = s Y + ty
    known = joints[seen, :2].astype(np.float64)
    middle, goal = known.mean(0), points[seen].mean(0)
    spread = ((known - middle) ** 2).sum()
    scale = ((known - middle) * (points[seen] - goal)).sum() / max(spread, 1e-9)
    guess = scale * (joints[:, :2] - middle) + goal
    return np.where(seen[:, None], points, guess)


# --- pictures alone


def _folder(benchmark: Benchmark, folder: Path) -> list[Case]:
    found: Sequence[Path] = ()
    if folder.is_dir():
        found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _PICTURES)
    if not found:
        raise LicensedFileError(
            f"{folder} holds no pictures: {benchmark.name} predicts the people in them for the "
            f"leaderboard; get them from {benchmark.source}."
        )
    return [Case(path.relative_to(folder).as_posix(), "", partial(_photo, path)) for path in found]


def _photo(path: Path) -> tuple[np.ndarray, None]:
    return read_image_as_stored(path), None
