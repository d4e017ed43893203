"""Say in plain words what is missing or inconsistent in a file of annotations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from .archive import Archive, DataError
from .check_values import (
    File,
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
_OPENED_PHOTOS = 20


def check_file(
    path: Path, images: Path, data_set: DataSet, trust_pickle: bool = False
) -> list[Finding]:
    """Everything that is wrong with a file, or worth knowing; several things at once.

    Args:
        path: HumanData file or released cache.
        images: folder that image paths start from.
        data_set: what it is to be used as.
        trust_pickle: read caches and objects of other programs.
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


def _open(archive: Archive, images: Path, data_set: DataSet) -> File:
    names = np.asarray(archive.read("image_path"))
    body = next(n for n in BODY_MODELS if n in archive)
    return File(
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


def _check_rows(file: File) -> Iterator[Finding]:
    if not len(file.names):
        yield error("the file has no rows")
    for part, key in BOX_KEYS.items():
        if key in file.archive:
            file.columns.boxes(key, needed=True)
        elif part != "body":
            yield note(f"{key} is missing: no {part.replace('_', ' ')} is taught")
    for name in ("smplx_valid", "gender", "is_kid", "occ"):
        file.columns.of(file.meta, name)
    genders = file.columns.of(file.meta, "gender")
    unknown = {} if genders is None else {str(g) for g in genders} - _GENDERS
    if unknown:
        yield error(
            f"meta names the genders {', '.join(sorted(unknown))}; wanted male, female, neutral"
        )


def _check_frames(file: File) -> Iterator[Finding]:
    if "frame_range" not in file.archive:
        repeated = len(file.names) - len(np.unique(file.names))
        if repeated:
            yield error(
                f"frame_range is missing though {repeated} rows name a picture again: each person "
                "would be taught as alone in the picture"
            )
        return
    frames = np.asarray(file.archive.read("frame_range"))
    if frames.ndim != 2 or frames.shape[1] != 2:
        yield error(f"frame_range has the shape {frames.shape}, wanted pictures x 2")
        return
    covered = np.zeros(len(file.names), int)
    for start, end in frames.tolist():
        if not 0 <= start < end <= len(file.names):
            yield error(f"frame_range names rows {start} to {end} of {len(file.names)}")
            return
        covered[start:end] += 1
        if len(set(file.names[start:end].tolist())) > 1:
            yield error(f"rows {start} to {end - 1} are one frame but name different pictures")
            return
    if (covered != 1).any():
        row = int(np.flatnonzero(covered != 1)[0])
        yield error(f"row {row} is in {covered[row]} ranges of frame_range, wanted 1")


def _check_photos(file: File) -> Iterator[Finding]:
    pictures, first = np.unique(file.names, return_index=True)
    absent = [str(p) for p in pictures if not (file.images / str(p)).is_file()]
    if absent:
        yield error(
            f"{len(absent)} of {len(pictures)} pictures are not in {file.images}, for one "
            f"{absent[0]}; is this the folder that image_path starts from?"
        )
    sizes = file.sizes()
    if sizes is None:
        yield error("meta lacks width and height, and the data set has no size of its own")
        return
    there = [(str(p), row) for p, row in zip(pictures, first, strict=True) if str(p) not in absent]
    step = max(len(there) // _OPENED_PHOTOS, 1)
    for name, row in there[::step]:
        height, width = read_image_as_stored(file.images / name).shape[:2]
        if [width, height] != sizes[row].tolist():
            yield error(
                f"{name} is {width} x {height} pixels, annotated as "
                f"{sizes[row][0]:.0f} x {sizes[row][1]:.0f}; is it turned or made smaller?"
            )
            return


def _check_opens(file: File) -> Iterator[Finding]:
    """What would be trained on, after everything above."""
    options = ReadOptions(trust_pickle=file.archive.trust_pickle, hand_means=_NO_HANDS)
    pictures = open_annotations(file.archive.path, file.data_set, options)
    if not len(pictures):
        yield error("no picture is left to train on")
    else:
        yield note(f"{len(pictures)} pictures are left to train on")


_NO_HANDS = (np.zeros(45), np.zeros(45))
_CHECKS: tuple[Callable[[File], Iterator[Finding]], ...] = (
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
    pictures = open_annotations(path, data_set, ReadOptions(trust_pickle=trust_pickle))
    names = [pictures[index].image for index in range(len(pictures))]
    absent = [name for name in names if not (images / name).is_file()]
    findings = [note(f"{len(names)} pictures are left to train on")]
    if absent:
        findings.append(
            error(
                f"{len(absent)} of {len(names)} pictures are not in {images}, for one {absent[0]}"
            )
        )
    return findings
