"""The SMPL-X skeleton as animation programs want it: names, parents, rest pose, turns.

Frame: that of a program with y up.  Points are (x, -y, -z) of the camera frame, in metres, so the
camera stands at the origin and looks along -z.  The rest pose is SMPL-X's own: a T-pose with flat
hands, y up, face towards +z, left arm towards +x; in it every joint's axes are those of the world.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..geometry.quaternions import axis_angle_to_quaternion, multiply
from ..predictor import AiOSPredictor

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
"""The 55 joints of SMPL-X, in its order."""
PARENTS = tuple(JOINT_NAMES.index(parent) if parent else -1 for _, parent in (*_BODY, *_HANDS))
"""Number of each joint's parent, -1 for the pelvis."""
UP_FROM_CAMERA = np.array([1.0, -1.0, -1.0])
"""Camera frame -> y up: half a turn about x."""

_HALF_TURN = np.array([0.0, 1.0, 0.0, 0.0])
_EYES = 2


@dataclass(frozen=True)
class Rig:
    """One person's body before it moves.

    Attributes:
        joints: (55, 3) float64 metres, y up, in the rest pose, with the origin of the body model.
        left_hand_mean: (45,) axis-angle that the body adds to every left hand.
        right_hand_mean: (45,) the same for the right hand.
    """

    joints: np.ndarray
    left_hand_mean: np.ndarray
    right_hand_mean: np.ndarray


def build_rig(predictor: AiOSPredictor, betas: np.ndarray) -> Rig:
    """The rest pose of a person of this shape, betas (10,), on the predictor's body."""
    body = predictor.body
    joints = body.joints(rest_parameters(predictor, betas))[0, : len(JOINT_NAMES)]
    return Rig(joints.double().cpu().numpy(), body.left_hand_mean, body.right_hand_mean)


def rest_parameters(predictor: AiOSPredictor, betas: np.ndarray) -> dict[str, torch.Tensor]:
    """What to pose the predictor's body with for a rest pose with flat hands.

    Args:
        predictor: whose body, and whose weights say what shapes mean.
        betas: (10,) or (N, 10).
    """
    rows = torch.from_numpy(np.atleast_2d(np.asarray(betas, np.float32)))
    hands = {
        f"{side}_hand_pose": -torch.from_numpy(np.asarray(mean)).float().expand(len(rows), -1)
        for side, mean in (
            ("left", predictor.body.left_hand_mean),
            ("right", predictor.body.right_hand_mean),
        )
    }
    parameters = {name: value.to(predictor.device) for name, value in hands.items()}
    parameters["betas"] = rows.to(predictor.device)
    return predictor.body.adapt(parameters, predictor.weights.body_convention == "smplx")


def joint_turns(rig: Rig, rows: np.ndarray) -> np.ndarray:
    """Turn of each joint against its parent, and of the pelvis against the world, y up.

    Args:
        rig: of this person.
        rows: T records with the pose fields of `People`.

    Returns:
        (T, 55, 4) unit quaternions w, x, y, z.
    """
    count = len(rows)
    parts = [
        rows["global_orient"],
        rows["body_pose"],
        rows["jaw_pose"],
        np.zeros((count, 3 * _EYES)),
        rows["left_hand_pose"] + rig.left_hand_mean,
        rows["right_hand_pose"] + rig.right_hand_mean,
    ]
    turns = axis_angle_to_quaternion(np.concatenate(parts, 1).reshape(count, -1, 3))
    turns[:, 0] = multiply(_HALF_TURN, turns[:, 0])
    return turns


def pelvis_places(rig: Rig, rows: np.ndarray) -> np.ndarray:
    """(T, 3) metres, y up: where the pelvis is, around which the body turns."""
    return (rows["transl"].astype(np.float64) + rig.joints[0]) * UP_FROM_CAMERA
