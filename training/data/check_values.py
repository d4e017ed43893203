"""Checks of the values in an annotation file: boxes, joints, poses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aios.body.model import BodyModel

from .annotation import PARAMETERS, clip_boxes
from .archive import Archive
from .columns import Columns
from .humandata import BOX_KEYS, fits
from .sets import KEYS_2D, KEYS_3D, DataSet

_POSES = ("global_orient", "body_pose", "left_hand_pose", "right_hand_pose", "jaw_pose")
_MAX_EMPTY_BOXES = 0.01
_MAX_ANGLE = 4 * np.pi
_MAX_EXTENT_M = 5.0
_MIN_MEAN_NORM = 0.3
_MAX_MEAN_SHARE = 0.75
"""Projection of the mean of all hand poses on the mean hand: about 0 if the poses are relative to
the mean hand, about 1 if they are absolute."""


@dataclass(frozen=True)
class Finding:
    """One error or note about a file."""

    wrong: bool
    """True if training would fail or learn wrong targets, False for a note."""
    text: str


def error(text: str) -> Finding:
    """Finding that is an error."""
    return Finding(True, text)


def note(text: str) -> Finding:
    """Finding that is a note."""
    return Finding(False, text)


@dataclass(frozen=True)
class AnnotationFile:
    """Content of the checked file."""

    archive: Archive
    images: Path
    data_set: DataSet
    columns: Columns
    names: np.ndarray
    meta: dict[str, Any]
    body: dict[str, Any]

    def sizes(self) -> np.ndarray | None:
        """(N, 2) width and height; None if unknown."""
        width, height = (self.columns.numbers(self.meta, name) for name in ("width", "height"))
        if width is not None and height is not None:
            return np.stack([width, height], 1)
        if self.data_set.size_hw is None:
            return None
        return np.tile(np.array(self.data_set.size_hw[::-1], float), (len(self.names), 1))

    def joints_2d(self) -> np.ndarray | None:
        """2D joints (N, 144, 3); None if missing."""
        key = self.data_set.key_2d
        return self.columns.joints("keypoints2d", KEYS_2D if key is None else (key,), 3)

    def joints_3d(self) -> np.ndarray | None:
        """3D joints (N, 144, 4); None if missing."""
        return self.columns.joints("keypoints3d", KEYS_3D, 4)

    def parameter(self, name: str) -> np.ndarray | None:
        """One SMPL-X parameter (N, size); None if missing."""
        return self.columns.vectors(self.body, name)


def people(rows: np.ndarray) -> str:
    """Subject of a sentence about the rows that are True: their number and the first."""
    count, first = int(rows.sum()), int(np.flatnonzero(rows)[0])
    return f"row {first} has" if count == 1 else f"{count} rows, first row {first}, have"


def check_boxes(file: AnnotationFile) -> Iterator[Finding]:
    """Body boxes are finite and inside the image."""
    sizes = file.sizes()
    if sizes is None:
        return
    boxes = file.columns.boxes(BOX_KEYS["body"], needed=True)[:, :4].astype(float)
    broken = ~np.isfinite(boxes).all(1)
    if broken.any():
        yield error(f"{people(broken)} a body box that is not finite")
    boxes = np.nan_to_num(boxes)
    possible = clip_boxes(boxes, sizes, file.data_set.box_scale)[1]
    outside = ~possible & ~broken
    if outside.any():
        make = error if outside.mean() > _MAX_EMPTY_BOXES else note
        yield make(f"{people(outside)} a body box outside the image or without area")
    far = (boxes[:, :2] + boxes[:, 2:] > 1.5 * sizes).any(1)
    if far.mean() > 0.3:
        yield error(
            "body boxes extend far beyond the images; are they corners instead of x, y, w, h?"
        )


def check_joints(file: AnnotationFile) -> Iterator[Finding]:
    """2D joints exist, are finite, and are inside the box of their person."""
    joints = file.joints_2d()
    if joints is None:
        key = file.data_set.key_2d
        wanted = f"keypoints2d_{key}" if key else "keypoints2d_smplx or the like"
        yield error(f"{wanted} is missing: there are no 2D joints")
        return
    known = joints[..., 2] > 0
    broken = (known & ~np.isfinite(joints).all(-1)).any(1)
    if broken.any():
        yield error(f"{people(broken)} 2D joints that are not finite")
    if (joints[..., 2] > 1).any():
        yield note("some confidences of 2D joints exceed 1 and are clipped to 1")
    boxes = file.columns.boxes(BOX_KEYS["body"], needed=True)[:, None, :4]
    margin = 0.25 * boxes[..., 2:]
    low, high = boxes[..., :2] - margin, boxes[..., :2] + boxes[..., 2:] + margin
    inside = ((joints[..., :2] >= low) & (joints[..., :2] <= high)).all(-1)
    if known.any() and inside[known].mean() < 0.5:
        yield error(
            f"only {inside[known].mean():.0%} of the 2D joints are inside the box of their person; "
            "are they normalised, or in pixels of another size?"
        )


def check_joints_3d(file: AnnotationFile) -> Iterator[Finding]:
    """3D joints are finite and in metres."""
    joints = file.joints_3d()
    if joints is None:
        if file.data_set.joints_3d:
            yield note("there are no 3D joints (keypoints3d_cam): they are not trained")
        return
    broken = ~np.isfinite(joints).all((1, 2))
    if broken.any():
        yield error(f"{people(broken)} 3D joints that are not finite: the whole image is left out")
    known = (joints[..., 3] > 0) & np.isfinite(joints).all(-1)
    if not known.any():
        return
    relative = np.abs(joints[..., :3] - joints[:, :1, :3])[known]
    if np.median(relative) > _MAX_EXTENT_M:
        yield error("3D joints of a person are many metres apart; are they in millimetres?")


def check_body(file: AnnotationFile) -> Iterator[Finding]:
    """SMPL-X parameters exist, have the right size, and are finite and in radians."""
    valid = file.columns.flag(file.meta, "smplx_valid")
    for name, wanted in PARAMETERS.items():
        values = file.parameter(name)
        if values is None:
            if name != "transl":
                yield note(f"{name} is missing: it is not trained")
            continue
        if not fits(name, values.shape[1]):
            hint = "; are they rotation matrices?" if values.shape[1] == 3 * wanted else ""
            yield error(f"{name} has {values.shape[1]} values per person instead of {wanted}{hint}")
        elif name == "betas" and values.shape[1] > wanted:
            yield note(f"betas has {values.shape[1]} values per person: the first 10 are used")
        broken = valid & ~np.isfinite(values).all(1)
        if broken.any():
            yield error(f"{people(broken)} a {name} that is not finite although smplx_valid is set")
        if name in _POSES and np.abs(np.nan_to_num(values[valid])).max(initial=0) > _MAX_ANGLE:
            yield error(f"{name} exceeds two full turns; is it in degrees?")


def check_hands(file: AnnotationFile) -> Iterator[Finding]:
    """Hand poses are relative to the mean hand, i.e. their mean is near zero."""
    if file.data_set.hands_from_flat:
        return
    remedy = "set flat_hands=true for this data set to subtract the mean hand"
    misc = file.archive.read_dictionary("misc")
    if bool(np.any(misc.get("flat_hand_mean", False))):
        yield error(f"misc has flat_hand_mean: hand poses are relative to the flat hand; {remedy}")
        return
    hands = {side: _known_hands(file.parameter(f"{side}_hand_pose")) for side in ("left", "right")}
    # The mean of relative poses is near zero, so most files need no body model for this check.
    hands = {s: h for s, h in hands.items() if np.linalg.norm(h.mean(0)) > _MIN_MEAN_NORM}
    body = BodyModel.load() if hands else None
    for side, poses in hands.items():
        mean = getattr(body, f"{side}_hand_mean")
        shares = poses @ mean / (mean @ mean)
        # A few hands may all be bent; their spread then makes the estimate uncertain.
        least = shares.mean() - 2 * shares.std() / np.sqrt(len(shares))
        if len(shares) > 2 and least > _MAX_MEAN_SHARE:
            yield error(
                f"{side} hand poses look absolute instead of relative to the mean hand (their mean "
                f"contains {shares.mean():.0%} of it); {remedy}"
            )


def _known_hands(poses: np.ndarray | None) -> np.ndarray:
    """(n, 45) finite poses other than zero; one zero pose if there are none."""
    if poses is None or poses.shape[1] != PARAMETERS["left_hand_pose"]:
        return np.zeros((1, PARAMETERS["left_hand_pose"]))
    known = poses[np.isfinite(poses).all(1) & (poses != 0).any(1)]
    return known if len(known) else poses[:1] * 0
