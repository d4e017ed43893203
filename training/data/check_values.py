"""Are the numbers of a file what they should be: boxes, joints, poses."""

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
_FEW = 0.01
_FULL_TURNS = 4 * np.pi
_LARGEST_M = 5.0
_SMALL_MEAN = 0.3
_MOST_MEAN = 0.75
"""Share of the mean hand in the mean of all hands: about 0 if relative, about 1 if absolute."""


@dataclass(frozen=True)
class Finding:
    """One thing about a file."""

    wrong: bool
    """Training would stop or learn something false; else it is only worth knowing."""
    text: str


def error(text: str) -> Finding:
    """Something that is wrong."""
    return Finding(True, text)


def note(text: str) -> Finding:
    """Something worth knowing."""
    return Finding(False, text)


@dataclass(frozen=True)
class File:
    """What every check looks at."""

    archive: Archive
    images: Path
    data_set: DataSet
    columns: Columns
    names: np.ndarray
    meta: dict[str, Any]
    body: dict[str, Any]

    def sizes(self) -> np.ndarray | None:
        """(N, 2) width and height, or None if nothing tells them."""
        width, height = (self.columns.numbers(self.meta, name) for name in ("width", "height"))
        if width is not None and height is not None:
            return np.stack([width, height], 1)
        if self.data_set.size_hw is None:
            return None
        return np.tile(np.array(self.data_set.size_hw[::-1], float), (len(self.names), 1))

    def joints_2d(self) -> np.ndarray | None:
        """2D joints (N, 144, 3), if there are any."""
        key = self.data_set.key_2d
        return self.columns.joints("keypoints2d", KEYS_2D if key is None else (key,), 3)

    def joints_3d(self) -> np.ndarray | None:
        """3D joints (N, 144, 4), if there are any."""
        return self.columns.joints("keypoints3d", KEYS_3D, 4)

    def parameter(self, name: str) -> np.ndarray | None:
        """One SMPL-X parameter (N, numbers), if it is there."""
        return self.columns.vectors(self.body, name)


def people(rows: np.ndarray) -> str:
    """How many rows are true, and which first, as the start of a sentence."""
    count, first = int(rows.sum()), int(np.flatnonzero(rows)[0])
    return f"row {first} has" if count == 1 else f"{count} rows, the first {first}, have"


def check_boxes(file: File) -> Iterator[Finding]:
    """Body boxes are numbers and lie in their pictures."""
    sizes = file.sizes()
    if sizes is None:
        return
    boxes = file.columns.boxes(BOX_KEYS["body"], needed=True)[:, :4].astype(float)
    broken = ~np.isfinite(boxes).all(1)
    if broken.any():
        yield error(f"{people(broken)} a body box that is no number")
    boxes = np.nan_to_num(boxes)
    possible = clip_boxes(boxes, sizes, file.data_set.box_scale)[1]
    outside = ~possible & ~broken
    if outside.any():
        make = error if outside.mean() > _FEW else note
        yield make(f"{people(outside)} a body box outside of the picture or without area")
    far = (boxes[:, :2] + boxes[:, 2:] > 1.5 * sizes).any(1)
    if far.mean() > 0.3:
        yield error("body boxes reach far beyond their pictures; are they corners, not x, y, w, h?")


def check_joints(file: File) -> Iterator[Finding]:
    """2D joints are there, are numbers, and lie in their person's box."""
    joints = file.joints_2d()
    if joints is None:
        key = file.data_set.key_2d
        wanted = f"keypoints2d_{key}" if key else "keypoints2d_smplx or the like"
        yield error(f"{wanted} is missing: there are no 2D joints")
        return
    known = joints[..., 2] > 0
    broken = (known & ~np.isfinite(joints).all(-1)).any(1)
    if broken.any():
        yield error(f"{people(broken)} 2D joints that are no numbers")
    if (joints[..., 2] > 1).any():
        yield note("some confidences of 2D joints pass 1: they count as 1")
    boxes = file.columns.boxes(BOX_KEYS["body"], needed=True)[:, None, :4]
    margin = 0.25 * boxes[..., 2:]
    low, high = boxes[..., :2] - margin, boxes[..., :2] + boxes[..., 2:] + margin
    inside = ((joints[..., :2] >= low) & (joints[..., :2] <= high)).all(-1)
    if known.any() and inside[known].mean() < 0.5:
        yield error(
            f"only {inside[known].mean():.0%} of the 2D joints lie in their person's box; are they "
            "in 0-1, or pixels of another size?"
        )


def check_joints_3d(file: File) -> Iterator[Finding]:
    """3D joints are numbers, in metres."""
    joints = file.joints_3d()
    if joints is None:
        if file.data_set.joints_3d:
            yield note("there are no 3D joints (keypoints3d_cam): none are taught")
        return
    broken = ~np.isfinite(joints).all((1, 2))
    if broken.any():
        yield error(
            f"{people(broken)} 3D joints that are no numbers: the whole picture is left out"
        )
    known = (joints[..., 3] > 0) & np.isfinite(joints).all(-1)
    if not known.any():
        return
    relative = np.abs(joints[..., :3] - joints[:, :1, :3])[known]
    if np.median(relative) > _LARGEST_M:
        yield error("3D joints lie metres apart within a person; are they in millimetres?")


def check_body(file: File) -> Iterator[Finding]:
    """SMPL-X parameters are there in the right number, are numbers, in radians."""
    valid = file.columns.flag(file.meta, "smplx_valid")
    for name, wanted in PARAMETERS.items():
        values = file.parameter(name)
        if values is None:
            if name != "transl":
                yield note(f"{name} is missing: it is not taught")
            continue
        if not fits(name, values.shape[1]):
            turned = "; are they rotation matrices?" if values.shape[1] == 3 * wanted else ""
            yield error(f"{name} has {values.shape[1]} numbers a person, wanted {wanted}{turned}")
        elif name == "betas" and values.shape[1] > wanted:
            yield note(f"betas has {values.shape[1]} numbers a person: the first 10 are used")
        broken = valid & ~np.isfinite(values).all(1)
        if broken.any():
            yield error(f"{people(broken)} {name} that is no number though smplx_valid")
        if name in _POSES and np.abs(np.nan_to_num(values[valid])).max(initial=0) > _FULL_TURNS:
            yield error(f"{name} passes two full turns; is it in degrees?")


def check_hands(file: File) -> Iterator[Finding]:
    """Hand poses are relative to the mean hand: then their own mean is near nothing."""
    if file.data_set.hands_from_flat:
        return
    remedy = "say flat_hands=true for this data set, and the mean hand is subtracted"
    misc = file.archive.read_dictionary("misc")
    if bool(np.any(misc.get("flat_hand_mean", False))):
        yield error(f"misc says that hands are given from the flat hand; {remedy}")
        return
    hands = {side: _known_hands(file.parameter(f"{side}_hand_pose")) for side in ("left", "right")}
    # The mean of relative hands is nearly nothing: most files need no body model to tell.
    hands = {s: h for s, h in hands.items() if np.linalg.norm(h.mean(0)) > _SMALL_MEAN}
    body = BodyModel.load() if hands else None
    for side, poses in hands.items():
        mean = getattr(body, f"{side}_hand_mean")
        shares = poses @ mean / (mean @ mean)
        # Few hands may all be bent: then their own spread leaves it open.
        least = shares.mean() - 2 * shares.std() / np.sqrt(len(shares))
        if len(shares) > 2 and least > _MOST_MEAN:
            yield error(
                f"{side} hand poses look absolute, not relative to the mean hand (their mean has "
                f"{shares.mean():.0%} of it); {remedy}"
            )


def _known_hands(poses: np.ndarray | None) -> np.ndarray:
    """(n, 45) the poses that say something, at least one."""
    if poses is None or poses.shape[1] != PARAMETERS["left_hand_pose"]:
        return np.zeros((1, PARAMETERS["left_hand_pose"]))
    known = poses[np.isfinite(poses).all(1) & (poses != 0).any(1)]
    return known if len(known) else poses[:1] * 0
