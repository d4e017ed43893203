"""Samples of each benchmark, read from the published layout of its files."""

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
from .dataframes import dataframe_samples
from .metrics import LicensedFileError, TruePeople
from .metrics.person_arrays import NUM_METRIC_JOINTS
from .samples import EvaluationSample, GroundTruth

_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
_BODY = (
    *("global_orient", "body_pose", "left_hand_pose", "right_hand_pose"),
    *("jaw_pose", "betas", "expression"),
)
_FEWEST_POINTS = 3


@dataclass(frozen=True)
class BenchmarkFiles:
    """Paths of the files of a benchmark, and the subset to be evaluated."""

    root: Path | None
    """Root folder of all data sets."""
    annotations: Path | None = None
    """File or folder of annotations; None takes the default below `root`."""
    images: Path | None = None
    """Folder that image paths are relative to; None takes the default below `root`."""
    interval: int = 0
    """Take every N-th image; 0 takes the interval of the data set."""
    limit: int | None = None
    """Take the first N images, of each part if the benchmark has parts."""
    seed: int = 0
    """Of the scenes of `synthetic`; 0 is the test set."""
    trust_pickle: bool = False


def open_samples(
    benchmark: Benchmark, files: BenchmarkFiles, bodies: Bodies
) -> list[EvaluationSample]:
    """List the samples of a benchmark in a fixed order.

    Raises:
        LicensedFileError: files are missing; the message names their source.
        DataError: files cannot be used.
    """
    if benchmark.kind == "synthetic":
        return _synthetic(files, bodies)
    if files.root is None and files.annotations is None:
        raise LicensedFileError(
            f"{benchmark.name} needs its data: give the folder of all data with --data; get them "
            f"from {benchmark.source}."
        )
    root, step = files.root or Path(), max(files.interval, 1)
    if benchmark.kind == "humandata":
        samples = _humandata(benchmark, files, root, bodies)
    elif benchmark.kind == "folder":
        samples = _folder(benchmark, files.images or root / benchmark.data)[::step]
    else:
        folder = files.annotations or root / benchmark.data
        images = _images(benchmark, files, root)
        samples = dataframe_samples(benchmark, folder, images, files.trust_pickle)[::step]
    if not samples:
        raise LicensedFileError(f"{benchmark.name}: its files have no image to evaluate.")
    return samples[: files.limit]


def _images(benchmark: Benchmark, files: BenchmarkFiles, root: Path) -> Path:
    """Find the image folder."""
    tried = [files.images] if files.images else [root / name for name in benchmark.images]
    found = next((path for path in tried if path.is_dir()), None)
    if found is None:
        raise LicensedFileError(
            f"{tried[0]} does not exist: it holds the images of {benchmark.name}; get them from "
            f"{benchmark.source}."
        )
    return found


# --- synthetic


def _synthetic(files: BenchmarkFiles, bodies: Bodies) -> list[EvaluationSample]:
    return [
        EvaluationSample(
            f"{part}/{index:05d}", part, partial(_scene, part, index, files.seed, bodies)
        )
        for part, config in BENCHMARK_PARTS.items()
        for index in range(config.scenes)[: files.limit]
    ]


def _scene(part: str, index: int, seed: int, bodies: Bodies) -> tuple[np.ndarray, GroundTruth]:
    scene = benchmark_scene(part, index, seed)
    height, width = scene.image.shape[:2]
    return scene.image, targets_to_ground_truth(scene.targets, (width, height), bodies)


def targets_to_ground_truth(
    targets: Targets, size_wh: tuple[int, int], bodies: Bodies
) -> GroundTruth:
    """Ground truth of a synthetic scene, in the frame of its camera."""
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
    return GroundTruth(people, boxes, size_wh, camera)


# --- HumanData


def _humandata(
    benchmark: Benchmark, files: BenchmarkFiles, root: Path, bodies: Bodies
) -> list[EvaluationSample]:
    data_set = DATA_SETS[benchmark.data]
    usual = data_set.test or VALIDATION_FILES[benchmark.data]
    path = files.annotations or root / usual
    if not path.is_file():
        raise LicensedFileError(
            f"{path} does not exist: it holds the annotations of {benchmark.name}; get the data "
            f"from {benchmark.source}."
        )
    if benchmark.images:
        images = _images(benchmark, files, root)
    else:
        images = files.images or root / data_set.images
    options = ReadOptions(
        split="test",
        interval=files.interval,
        trust_pickle=files.trust_pickle,
        hand_means=(bodies.neutral.left_hand_mean, bodies.neutral.right_hand_mean),
    )
    photos = PhotoSet.open(path, images, data_set, options)
    names = _distinct(photos.annotations[index].image for index in range(len(photos)))
    return [
        EvaluationSample(name, "", partial(_annotated, benchmark, photos, index, bodies))
        for index, name in enumerate(names)
    ]


def _distinct(names: Iterator[str]) -> list[str]:
    """Append a number to repeated names."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return result


def _annotated(
    benchmark: Benchmark, photos: PhotoSet, index: int, bodies: Bodies
) -> tuple[np.ndarray, GroundTruth]:
    image = photos[index].picture
    return image, annotation_to_ground_truth(benchmark, photos.annotations[index], bodies)


def annotation_to_ground_truth(
    benchmark: Benchmark, annotation: Annotation, bodies: Bodies
) -> GroundTruth:
    """Ground truth of a HumanData image; bodies have no translation.

    Joints without annotation are projected from the posed body by the weak-perspective camera that
    fits the annotated joints.
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
            "confidence": np.where(
                seen, points[..., 2] if benchmark.confidence_weighted else 1.0, 0.0
            ),
        },
    )
    x, y, width, height = annotation.boxes["body"][:, :4].T
    size = np.array(annotation.size_wh, float)
    corners = np.stack([x, y, x + width, y + height], -1).reshape(-1, 2, 2).clip(0, size)
    return GroundTruth(people, corners.reshape(-1, 4), annotation.size_wh)


def _completed(points: np.ndarray, seen: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Fill the joints (J, 2) that are not `seen` (J,); with too few seen joints all are 0."""
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


# --- images without ground truth


def _folder(benchmark: Benchmark, folder: Path) -> list[EvaluationSample]:
    found: Sequence[Path] = ()
    if folder.is_dir():
        found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _IMAGE_SUFFIXES)
    if not found:
        raise LicensedFileError(
            f"{folder} holds no images to predict for the leaderboard of {benchmark.name}; get "
            f"them from {benchmark.source}."
        )
    return [
        EvaluationSample(path.relative_to(folder).as_posix(), "", partial(_photo, path))
        for path in found
    ]


def _photo(path: Path) -> tuple[np.ndarray, None]:
    return read_image_as_stored(path), None
