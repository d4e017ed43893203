"""Anatomical angles: their limits, and what they are as rotations of the body model's joints.

Signs are those of the left side; the right side is its mirror image.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

TRUNK_LIMITS: dict[str, tuple[float, float]] = {
    "spine_flex": (-0.55, 1.4),
    "spine_side": (-0.6, 0.6),
    "spine_twist": (-0.8, 0.8),
    "neck_flex": (-0.8, 0.8),
    "neck_side": (-0.5, 0.5),
    "neck_twist": (-1.2, 1.2),
}
LIMB_LIMITS: dict[str, tuple[float, float]] = {
    "hip_flex": (-0.6, 2.2),
    "hip_out": (-0.35, 1.0),
    "hip_twist": (-0.7, 0.7),
    "knee": (0.0, 2.5),
    "ankle": (-0.6, 0.9),
    "collar_up": (-0.15, 0.5),
    "collar_front": (-0.3, 0.35),
    "shoulder_flex": (-1.0, 3.1),
    "shoulder_out": (-0.25, 2.9),
    "shoulder_twist": (-1.4, 1.4),
    "elbow": (0.0, 2.5),
    "forearm_twist": (-1.2, 1.2),
    "wrist_flex": (-0.9, 0.9),
    "wrist_side": (-0.4, 0.4),
}
LIMITS = {
    **TRUNK_LIMITS,
    **{f"{side}_{name}": limit for side in "lr" for name, limit in LIMB_LIMITS.items()},
}


def angles_to_body_pose(angles: dict[str, float]) -> np.ndarray:
    """Anatomical angles -> (21, 3) axis-angle of joints 1-21 (SMPL-X order)."""
    euler = np.zeros((21, 3))  # intrinsic: the meaning of the columns is given by `orders`
    a = angles
    spine = np.array([a["spine_flex"], a["spine_twist"], a["spine_side"]])
    for joint, share in ((3, 0.3), (6, 0.35), (9, 0.35)):
        euler[joint - 1] = share * spine
    neck = np.array([a["neck_flex"], a["neck_twist"], a["neck_side"]])
    euler[12 - 1], euler[15 - 1] = 0.5 * neck, 0.5 * neck
    pose = Rotation.from_euler("XYZ", euler).as_rotvec()
    for side, mirror in (("l", 1.0), ("r", -1.0)):
        pose[_limb_rows(side)] = _limb(a, side) * np.array([1.0, mirror, mirror])
    return pose.astype(np.float32)


def _limb_rows(side: str) -> list[int]:
    """Rows of hip, knee, ankle, collar, shoulder, elbow, wrist in the body pose."""
    first = 0 if side == "l" else 1
    return [first + row for row in (0, 3, 6, 12, 15, 17, 19)]


def _limb(a: dict[str, float], side: str) -> np.ndarray:
    """(7, 3) axis-angle of one side as if it were the left."""
    g = {name: a[f"{side}_{name}"] for name in LIMB_LIMITS}
    hip = Rotation.from_euler("XZY", [-g["hip_flex"], g["hip_out"], g["hip_twist"]])
    arm = Rotation.from_euler(
        "XZX", [-g["shoulder_flex"], g["shoulder_out"] - np.pi / 2, g["shoulder_twist"]]
    )
    wrist = Rotation.from_euler("XZY", [g["forearm_twist"], -g["wrist_flex"], g["wrist_side"]])
    return np.stack(
        [
            hip.as_rotvec(),
            [g["knee"], 0, 0],
            [g["ankle"], 0, 0],
            [0, -g["collar_front"], g["collar_up"]],
            arm.as_rotvec(),
            [0, -g["elbow"], 0],
            wrist.as_rotvec(),
        ]
    )
