"""SMPL-X kinematic tree for animation files: joint names, parents, rest pose, local rotations.

World frame: y up, metres.  Points are (x, -y, -z) of the camera frame, with the camera at the
origin looking along -z.  The rest pose is SMPL-X's T-pose with flat hands: y up, face towards +z,
left arm towards +x.  In the rest pose all joint frames are aligned with the world axes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from .model import BodyModel

_FINGERS = ("index", "middle", "pinky", "ring", "thumb")
_BODY = (
    ("pelvis", ""),
    ("left_hip", "pelvis"),
    ("right_hip", "pelvis"),
    ("spine1", "pelvis"),
    ("left_knee", "left_hip"),
    ("right_knee", "right_hip"),
    ("spine2", "spine1"),
    ("left_ankle", "left_knee"),
    ("right_ankle", "right_knee"),
    ("spine3", "spine2"),
    ("left_foot", "left_ankle"),
    ("right_foot", "right_ankle"),
    ("neck", "spine3"),
    ("left_collar", "spine3"),
    ("right_collar", "spine3"),
    ("head", "neck"),
    ("left_shoulder", "left_collar"),
    ("right_shoulder", "right_collar"),
    ("left_elbow", "left_shoulder"),
    ("right_elbow", "right_shoulder"),
    ("left_wrist", "left_elbow"),
    ("right_wrist", "right_elbow"),
    ("jaw", "head"),
    ("left_eye_smplhf", "head"),
    ("right_eye_smplhf", "head"),
)
_HANDS = tuple(
    (f"{side}_{finger}{bone}", f"{side}_{finger}{bone - 1}" if bone > 1 else f"{side}_wrist")
    for side in ("left", "right")
    for finger in _FINGERS
    for bone in (1, 2, 3)
)
JOINT_NAMES = tuple(name for name, _ in (*_BODY, *_HANDS))
"""The 55 SMPL-X joints, in SMPL-X order."""
PARENTS = tuple(JOINT_NAMES.index(parent) if parent else -1 for _, parent in (*_BODY, *_HANDS))
"""Index of the parent of each joint, -1 for the pelvis."""
CAMERA_TO_WORLD = np.array([1.0, -1.0, -1.0])
"""Factors from the camera frame to the y-up world frame: half a turn about x."""

PoseArrays = np.ndarray | Mapping[str, np.ndarray]
"""Records with named fields (T,), or arrays (T, ...) by name."""
_HALF_TURN_X = Rotation.from_rotvec([np.pi, 0.0, 0.0])
_EYE_VALUES = 6


@dataclass(frozen=True)
class RestPose:
    """Rest pose of one body shape.

    Attributes:
        joints: (55, 3) float64 metres, y up, relative to the origin of the body model.
        left_hand_mean: (45,) axis-angle that the body model adds to every left hand pose.
        right_hand_mean: (45,) the same for the right hand.
    """

    joints: np.ndarray
    left_hand_mean: np.ndarray
    right_hand_mean: np.ndarray


def build_rest_pose(body: BodyModel, betas: np.ndarray, from_official: bool) -> RestPose:
    """Compute the rest pose of a body shape.

    Args:
        body: the body model.
        betas: (10,) predicted shape coefficients.
        from_official: convention of `betas`, see `BodyModel.adapt`.
    """
    parameters = rest_parameters(body, betas, from_official)
    joints = body.joints(parameters)[0, : len(JOINT_NAMES)]
    return RestPose(joints.double().cpu().numpy(), body.left_hand_mean, body.right_hand_mean)


def rest_parameters(
    body: BodyModel, betas: np.ndarray, from_official: bool
) -> dict[str, torch.Tensor]:
    """Build body model parameters of the rest pose with flat hands.

    Args:
        body: the body model.
        betas: (10,) or (N, 10) predicted shape coefficients.
        from_official: convention of `betas`, see `BodyModel.adapt`.
    """
    rows = torch.from_numpy(np.atleast_2d(np.asarray(betas, np.float32)))
    means = {"left_hand_pose": body.left_hand_mean, "right_hand_pose": body.right_hand_mean}
    parameters = {
        name: -torch.from_numpy(np.asarray(mean)).float().expand(len(rows), -1).to(body.device)
        for name, mean in means.items()
    }
    parameters["betas"] = rows.to(body.device)
    return body.adapt(parameters, from_official)


def local_rotations(rest: RestPose, rows: PoseArrays) -> Rotation:
    """Rotation of each joint relative to its parent, and of the pelvis relative to the world.

    Args:
        rest: rest pose of the person, for the mean hands.
        rows: the pose fields of `People` for T bodies, by name.

    Returns:
        (T, 55) rotations.
    """
    count = len(rows["global_orient"])
    global_orient = Rotation.from_rotvec(rows["global_orient"].astype(np.float64))
    parts = [
        (_HALF_TURN_X * global_orient).as_rotvec(),
        rows["body_pose"],
        rows["jaw_pose"],
        np.zeros((count, _EYE_VALUES)),
        rows["left_hand_pose"] + rest.left_hand_mean,
        rows["right_hand_pose"] + rest.right_hand_mean,
    ]
    return Rotation.from_rotvec(np.concatenate(parts, 1).reshape(count, -1, 3))


def pelvis_positions(rest: RestPose, rows: PoseArrays) -> np.ndarray:
    """Position of the pelvis joint, the pivot of the global rotation: (T, 3) metres, y up."""
    return (rows["transl"].astype(np.float64) + rest.joints[0]) * CAMERA_TO_WORLD
