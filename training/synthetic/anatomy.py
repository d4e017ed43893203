"""Anatomical joint angles, their limits, and their conversion to SMPL-X joint rotations.

Suffixes: `flex` is flexion, `out` abduction, `side` lateral bending, `twist` axial rotation. Signs
are those of the left side; the right side is its mirror image. All angles are in radians.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from aios.geometry.rotations import quaternion_to_axis_angle, rotmat_to_quaternion

from .rng import constant

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
    "hip_out": (-0.4, 1.1),
    "hip_twist": (-0.7, 0.8),
    "knee": (0.0, 2.5),
    "ankle": (-0.6, 0.9),
    "toes": (-0.3, 0.8),
    "collar_up": (-0.15, 0.5),
    "collar_front": (-0.3, 0.35),
    "shoulder_flex": (-1.0, 3.1),
    "shoulder_out": (-0.35, 2.9),
    "shoulder_twist": (-1.4, 1.5),
    "elbow": (0.0, 2.5),
    "forearm_twist": (-1.3, 1.3),
    "wrist_flex": (-0.9, 0.9),
    "wrist_side": (-0.4, 0.4),
}
LIMITS = {
    **TRUNK_LIMITS,
    **{f"{side}_{name}": limit for side in "lr" for name, limit in LIMB_LIMITS.items()},
}
ANGLES = tuple(LIMITS)
"""Names of the A columns of an angle tensor."""
COLUMN = {name: number for number, name in enumerate(ANGLES)}
LOW = torch.tensor([limit[0] for limit in LIMITS.values()])
HIGH = torch.tensor([limit[1] for limit in LIMITS.values()])

_TRUNK, _LIMB = len(TRUNK_LIMITS), len(LIMB_LIMITS)
_SIDE_ROWS = (0, 3, 6, 9, 12, 15, 17, 19)
"""Rows of the left hip, knee, ankle, foot, collar, shoulder, elbow and wrist in `body_pose`."""


def _mirror_order() -> tuple[tuple[int, ...], tuple[float, ...]]:
    order, sign = [], []
    for name in ANGLES:
        other = {"l_": "r_", "r_": "l_"}.get(name[:2])
        order.append(COLUMN[other + name[2:]] if other else COLUMN[name])
        sign.append(-1.0 if not other and name.endswith(("side", "twist")) else 1.0)
    return tuple(order), tuple(sign)


_MIRROR_ORDER, _MIRROR_SIGN = _mirror_order()


def mirror_angles(angles: Tensor) -> Tensor:
    """Angles (..., A) of the pose mirrored left to right."""
    order = constant(_MIRROR_ORDER, angles.device, torch.int64)
    return angles[..., order] * constant(_MIRROR_SIGN, angles.device)


def within_limits(angles: Tensor) -> Tensor:
    """Clamp angles (..., A) to the joint limits."""
    low, high = limits(angles.device)
    return torch.minimum(torch.maximum(angles, low), high)


@lru_cache(maxsize=8)
def limits(device: torch.device) -> tuple[Tensor, Tensor]:
    """(A,) lower and (A,) upper limit of each angle."""
    return LOW.to(device), HIGH.to(device)


def axis_rotation(axis: str, angle: Tensor) -> Tensor:
    """Rotation about the axis "X", "Y" or "Z": angle (...) -> (..., 3, 3)."""
    sine, cosine, one, zero = angle.sin(), angle.cos(), angle * 0 + 1, angle * 0
    rows = {
        "X": (one, zero, zero, zero, cosine, -sine, zero, sine, cosine),
        "Y": (cosine, zero, sine, zero, one, zero, -sine, zero, cosine),
        "Z": (cosine, -sine, zero, sine, cosine, zero, zero, zero, one),
    }[axis]
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def euler(order: str, first: Tensor, second: Tensor, third: Tensor) -> Tensor:
    """Intrinsic Euler rotation, three angles (...) -> (..., 3, 3)."""
    return (
        axis_rotation(order[0], first)
        @ axis_rotation(order[1], second)
        @ axis_rotation(order[2], third)
    )


def angles_to_rotations(angles: Tensor) -> Tensor:
    """Angles (..., A) -> local rotations (..., 21, 3, 3) of joints 1-21 in SMPL-X order."""
    a = {name: angles[..., column] for name, column in COLUMN.items()}
    rows: list[Tensor | None] = [None] * 21
    for joint, share in ((3, 0.3), (6, 0.35), (9, 0.35)):
        rows[joint - 1] = euler(
            "XYZ", share * a["spine_flex"], share * a["spine_twist"], share * a["spine_side"]
        )
    neck = euler("XYZ", 0.5 * a["neck_flex"], 0.5 * a["neck_twist"], 0.5 * a["neck_side"])
    rows[12 - 1] = rows[15 - 1] = neck
    mirror = constant(((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), angles.device)
    for side, name in enumerate("lr"):
        limb = _limb({key: a[f"{name}_{key}"] for key in LIMB_LIMITS})
        for row, rotation in zip(_SIDE_ROWS, limb, strict=True):
            rows[row + side] = mirror @ rotation @ mirror if side else rotation
    return torch.stack([row for row in rows if row is not None], -3)


def angles_to_body_pose(angles: Tensor) -> Tensor:
    """Angles (..., A) -> `body_pose` (..., 21, 3) axis-angle, joints 1-21 in SMPL-X order."""
    return rotations_to_axis_angle(angles_to_rotations(angles))


def rotations_to_axis_angle(rotations: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) -> axis-angle (..., 3) of length at most pi."""
    quaternion = rotmat_to_quaternion(rotations)
    return quaternion_to_axis_angle(torch.where(quaternion[..., :1] < 0, -quaternion, quaternion))


def _limb(g: dict[str, Tensor]) -> list[Tensor]:
    """Local rotations (..., 3, 3) of the joints in `_SIDE_ROWS`, for the left side."""
    return [
        euler("XZY", -g["hip_flex"], g["hip_out"], g["hip_twist"]),
        axis_rotation("X", g["knee"]),
        axis_rotation("X", g["ankle"]),
        axis_rotation("X", -g["toes"]),
        axis_rotation("Y", -g["collar_front"]) @ axis_rotation("Z", g["collar_up"]),
        euler("XZX", -g["shoulder_flex"], g["shoulder_out"] - math.pi / 2, g["shoulder_twist"]),
        axis_rotation("Y", -g["elbow"]),
        euler("XZY", g["forearm_twist"], -g["wrist_flex"], g["wrist_side"]),
    ]


def shoulder_angles(rotation: Tensor) -> Tensor:
    """Left shoulder rotation (..., 3, 3) -> (..., 3) flex, out and twist.

    Two sets of angles describe the same rotation; the one that exceeds the limits less is returned.
    """
    columns = constant(_SHOULDER, rotation.device, torch.int64)
    low, high = (limit[columns] for limit in limits(rotation.device))
    bend = rotation[..., 0, 0].clamp(-1, 1).acos()
    candidates, costs = [], []
    for sign in (1.0, -1.0):
        first = torch.atan2(sign * rotation[..., 2, 0], sign * rotation[..., 1, 0])
        third = torch.atan2(sign * rotation[..., 0, 2], -sign * rotation[..., 0, 1])
        flex = torch.remainder(-first + 2.1, 2 * math.pi) - 2.1  # flexion reaches up to pi
        found = torch.stack([flex, sign * bend + math.pi / 2, third], -1)
        candidates.append(found)
        costs.append(((low - found).clamp_min(0) + (found - high).clamp_min(0)).sum(-1))
    better = (costs[0] <= costs[1])[..., None]
    return torch.where(better, candidates[0], candidates[1])


_SHOULDER = tuple(COLUMN[f"l_shoulder_{name}"] for name in ("flex", "out", "twist"))
