"""Report missing or inconsistent data in an annotation file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from .archive import Archive, DataError
from .check_values import (
    AnnotationFile,
    Finding,
    check_body,
    check_boxes,
    check_hands,
    check_joints,
    check_joints_3d,
    error,
    note,
)
from .columns import Columns
from .humandata import BODY_MODELS, BOX_KEYS, ReadOptions
from .photos import open_annotations, read_image_as_stored
from .sets import DataSet

_GENDERS = {"male", "female", "neutral"}
_MAX_OPENED_IMAGES = 20


def check_file(
    path: Path, images: Path, data_set: DataSet, trust_pickle: bool = False
) -> list[Finding]:
    """List all errors and notes about a file.

    Args:
        path: HumanData file or released cache.
        images: folder that image paths are relative to.
        data_set: that the file is used as.
        trust_pickle: allow unpickling of released caches and Python objects.
    """
    try:
        archive = Archive(path, trust_pickle)
        if "data_len" in archive:
            return _check_cache(path, images, data_set, trust_pickle)
        missing = _missing(archive)
        if missing:
            return missing
        file = _open(archive, images, data_set)
    except DataError as problem:
        return [error(str(problem))]
    findings: list[Finding] = []
    for check in _CHECKS:
        try:
            findings += check(file)
        except DataError as problem:
            findings.append(error(str(problem).removeprefix(f"{path}: ")))
    return list(dict.fromkeys(findings))


def _open(archive: Archive, images: Path, data_set: DataSet) -> AnnotationFile:
    names = np.asarray(archive.read("image_path"))
    body = next(n for n in BODY_MODELS if n in archive)
    return AnnotationFile(
        archive=archive,
        images=images,
        data_set=data_set,
        columns=Columns(archive, len(names), np.arange(len(names))),
        names=names,
        meta=archive.read_dictionary("meta"),
        body=archive.read_dictionary(body),
    )


def _missing(archive: Archive) -> list[Finding]:
    wanted: list[tuple[str, ...]] = [("image_path",), ("bbox_xywh",), BODY_MODELS]
    return [
        error(f"{' or '.join(names)} is missing; is this a HumanData file?")
        for names in wanted
        if not any(name in archive for name in names)
    ]


def _check_rows(file: AnnotationFile) -> Iterator[Finding]:
    if not len(file.names):
        yield error("the file has no rows")
    for part, key in BOX_KEYS.items():
        if key in file.archive:
            file.columns.boxes(key, needed=True)
        elif part != "body":
            yield note(f"{key} is missing: the {part.replace('_', ' ')} is not trained")
    for name in ("smplx_valid", "gender", "is_kid", "occ"):
        file.columns.of(file.meta, name)
    genders = file.columns.of(file.meta, "gender")
    unknown = {} if genders is None else {str(g) for g in genders} - _GENDERS
    if unknown:
        yield error(
            f"meta has the genders {', '.join(sorted(unknown))} instead of male, female, neutral"
        )


def _check_frames(file: AnnotationFile) -> Iterator[Finding]:
    if "frame_range" not in file.archive:
        repeated = len(file.names) - len(np.unique(file.names))
        if repeated:
            yield error(
                f"frame_range is missing, but {repeated} rows repeat an image: each person would "
                "be trained as the only one in the image"
            )
        return
    frames = np.asarray(file.archive.read("frame_range"))
    if frames.ndim != 2 or frames.shape[1] != 2:
        yield error(f"frame_range has the shape {frames.shape} instead of images x 2")
        return
    covered = np.zeros(len(file.names), int)
    for start, end in frames.tolist():
        if not 0 <= start < end <= len(file.names):
            yield error(f"frame_range has rows {start} to {end} of {len(file.names)}")
            return
        covered[start:end] += 1
        if len(set(file.names[start:end].tolist())) > 1:
            yield error(f"rows {start} to {end - 1} are one frame but have different images")
            return
    if (covered != 1).any():
        row = int(np.flatnonzero(covered != 1)[0])
        yield error(f"row {row} is in {covered[row]} ranges of frame_range instead of 1")


def _check_photos(file: AnnotationFile) -> Iterator[Finding]:
    images, first = np.unique(file.names, return_index=True)
    absent = [str(p) for p in images if not (file.images / str(p)).is_file()]
    if absent:
        yield error(
            f"{len(absent)} of {len(images)} images are not in {file.images}, e.g. "
            f"{absent[0]}; is this the folder that image_path is relative to?"
        )
    sizes = file.sizes()
    if sizes is None:
        yield error("meta lacks width and height, and the data set has no fixed size")
        return
    available = [
        (str(p), row) for p, row in zip(images, first, strict=True) if str(p) not in absent
    ]
    step = max(len(available) // _MAX_OPENED_IMAGES, 1)
    for name, row in available[::step]:
        height, width = read_image_as_stored(file.images / name).shape[:2]
        if [width, height] != sizes[row].tolist():
            yield error(
                f"{name} is {width} x {height} pixels, annotated as "
                f"{sizes[row][0]:.0f} x {sizes[row][1]:.0f}; is it rotated or resized?"
            )
            return


def _check_opens(file: AnnotationFile) -> Iterator[Finding]:
    """Number of usable images, after all other checks."""
    options = ReadOptions(trust_pickle=file.archive.trust_pickle, hand_means=_ZERO_HANDS)
    annotations = open_annotations(file.archive.path, file.data_set, options)
    if not len(annotations):
        yield error("no image can be used for training")
    else:
        yield note(f"{len(annotations)} images can be used for training")


_ZERO_HANDS = (np.zeros(45), np.zeros(45))
_CHECKS: tuple[Callable[[AnnotationFile], Iterator[Finding]], ...] = (
    _check_rows,
    _check_frames,
    _check_photos,
    check_boxes,
    check_joints,
    check_joints_3d,
    check_body,
    check_hands,
    _check_opens,
)


def _check_cache(path: Path, images: Path, data_set: DataSet, trust_pickle: bool) -> list[Finding]:
    annotations = open_annotations(path, data_set, ReadOptions(trust_pickle=trust_pickle))
    names = [annotations[index].image for index in range(len(annotations))]
    absent = [name for name in names if not (images / name).is_file()]
    findings = [note(f"{len(names)} images can be used for training")]
    if absent:
        findings.append(
            error(f"{len(absent)} of {len(names)} images are not in {images}, e.g. {absent[0]}")
        )
    return findings
