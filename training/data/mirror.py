"""Horizontal flip of an image and its targets, with left and right parts exchanged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from ..joints import BODY_POSE_MIRROR, FACE_MIRROR, JOINTS_MIRROR, KEYPOINTS_MIRROR
from ..targets import Targets
from .batch import Sample

_MIRROR_AXIS_ANGLE = (1.0, -1.0, -1.0)


def _mirror_x(points: Tensor) -> Tensor:
    """Replace x by 1 - x in (..., 2) points or (..., 4) cxcywh boxes."""
    mirrored = points.clone()
    mirrored[..., 0] = 1 - mirrored[..., 0]
    return mirrored


def _mirror_rotations(axis_angle: Tensor, order: tuple[int, ...] | None = None) -> Tensor:
    """Axis-angle rotations (G, 3 * J) of the mirrored body, joints in the given order."""
    joints = axis_angle.unflatten(-1, (-1, 3))
    if order is not None:
        joints = joints[:, list(order)]
    return (joints * joints.new_tensor(_MIRROR_AXIS_ANGLE)).flatten(1)


def flip_targets(targets: Targets) -> Targets:
    """Flip targets horizontally, exchanging left and right parts.

    Applied twice it is the identity, exactly if the 2D values are `mirrorable`, as those of files
    and windows are.  Shape and expression stay: the body model has no mirrored coefficients.
    """
    values: dict[str, Any] = {}
    for side, other in (("left", "right"), ("right", "left")):
        values[f"{side}_hand_boxes"] = _mirror_x(getattr(targets, f"{other}_hand_boxes"))
        values[f"{side}_hand_box_valid"] = getattr(targets, f"{other}_hand_box_valid")
        points = getattr(targets, f"{other}_hand_keypoints_2d")
        values[f"{side}_hand_keypoints_2d"] = _mirror_x(points)
        visible = getattr(targets, f"{other}_hand_keypoints_visible")
        values[f"{side}_hand_keypoints_visible"] = visible
        pose = getattr(targets, f"{other}_hand_pose")
        values[f"{side}_hand_pose"] = _mirror_rotations(pose)
        values[f"{side}_hand_pose_valid"] = getattr(targets, f"{other}_hand_pose_valid")
    body, face, joints = list(KEYPOINTS_MIRROR), list(FACE_MIRROR), list(JOINTS_MIRROR)
    across = targets.transl.new_tensor([-1.0, 1.0, 1.0])
    return replace(
        targets,
        boxes=_mirror_x(targets.boxes),
        face_boxes=_mirror_x(targets.face_boxes),
        keypoints_2d=_mirror_x(targets.keypoints_2d)[:, body],
        keypoints_visible=targets.keypoints_visible[:, body],
        keypoints_occluded=targets.keypoints_occluded[:, body],
        face_keypoints_2d=_mirror_x(targets.face_keypoints_2d)[:, face],
        face_keypoints_visible=targets.face_keypoints_visible[:, face],
        global_orient=_mirror_rotations(targets.global_orient),
        body_pose=_mirror_rotations(targets.body_pose, BODY_POSE_MIRROR),
        jaw_pose=_mirror_rotations(targets.jaw_pose),
        transl=targets.transl * across,
        joints_3d=(targets.joints_3d * across)[:, joints],
        joints_3d_confidence=targets.joints_3d_confidence[:, joints],
        joints_2d=_mirror_x(targets.joints_2d)[:, joints],
        joints_2d_visible=targets.joints_2d_visible[:, joints],
        **values,
    )


def flip(sample: Sample) -> Sample:
    """Flip image and targets horizontally; applied twice it is the identity."""
    picture = np.ascontiguousarray(sample.picture[:, ::-1])
    return Sample(picture, flip_targets(sample.targets))
