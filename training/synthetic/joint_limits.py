"""Joint limits for arbitrary body poses, e.g. from motion capture.

Procedural poses are sampled as anatomical angles and cannot exceed the limits. Other poses are
rotation matrices: each joint is decomposed into Euler angles, which are clamped and recombined.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from .anatomy import LIMITS, euler, shoulder_angles

_SPINE_SHARE, _NECK_SHARE = 0.5, 0.8
"""Limit of one joint relative to the whole spine (3 joints) and neck (2 joints)."""
_SHOULDERS = (16, 17)
_SIDEWAYS = 0.9
"""Cosine between the upper arm and its T-pose direction from which on shoulders are not clamped."""


def _limits(*entries: str | float) -> tuple[tuple[float, float], ...]:
    """Limits of three Euler angles: "+name", "-name" (negated angle), or a symmetric bound."""
    found = []
    for entry in entries:
        if isinstance(entry, float):
            found.append((-entry, entry))
            continue
        low, high = LIMITS.get(entry[1:]) or LIMITS[f"l_{entry[1:]}"]
        found.append((low, high) if entry[0] == "+" else (-high, -low))
    return tuple(found)


def _scaled(
    limits: tuple[tuple[float, float], ...], share: float
) -> tuple[tuple[float, float], ...]:
    return tuple((share * low, share * high) for low, high in limits)


_SHOULDER = _limits("+shoulder_flex", "+shoulder_out", "+shoulder_twist")
_SPINE = ("XYZ", _scaled(_limits("+spine_flex", "+spine_twist", "+spine_side"), _SPINE_SHARE))
_NECK = ("XYZ", _scaled(_limits("+neck_flex", "+neck_twist", "+neck_side"), _NECK_SHARE))
_LEFT = {
    1: ("XZY", _limits("-hip_flex", "+hip_out", "+hip_twist")),
    4: ("XZY", _limits("+knee", 0.1, 0.1)),
    7: ("XZY", _limits("+ankle", 0.4, 0.4)),
    10: ("XZY", _limits("-toes", 0.1, 0.1)),
    13: ("YZX", _limits("-collar_front", "+collar_up", 0.4)),
    18: ("YXZ", _limits("-elbow", "+forearm_twist", 0.4)),
    20: ("XZY", _limits("+forearm_twist", "-wrist_flex", "+wrist_side")),
}
_JOINTS = dict.fromkeys((3, 6, 9), _SPINE) | dict.fromkeys((12, 15), _NECK) | _LEFT
"""Euler order and limits by SMPL-X joint; the right side is clamped as its mirror image."""


def clamp_to_limits(rotations: Tensor) -> tuple[Tensor, Tensor]:
    """Clamp local joint rotations to the joint limits.

    Args:
        rotations: (..., 21, 3, 3) of joints 1-21 in SMPL-X order.

    Returns:
        (..., 21, 3, 3) clamped rotations, and (..., 21) angle in radians by which the joint
        exceeded its limits, the largest of its three.
    """
    clamped, excess = rotations.clone(), rotations.new_zeros(rotations.shape[:-2])
    for joint, (order, limits) in _JOINTS.items():
        sides = (joint, joint + 1) if joint in _LEFT else (joint,)
        for side, number in enumerate(sides):
            local = _mirror(rotations[..., number - 1, :, :], side)
            inside, over = _clamp(order, limits, local)
            clamped[..., number - 1, :, :] = _mirror(inside, side)
            excess[..., number - 1] = over
    for side, number in enumerate(_SHOULDERS):
        inside, over = _clamp_shoulder(_mirror(rotations[..., number - 1, :, :], side))
        clamped[..., number - 1, :, :] = _mirror(inside, side)
        excess[..., number - 1] = over
    return clamped, excess


def _clamp(
    order: str, limits: tuple[tuple[float, float], ...], rotation: Tensor
) -> tuple[Tensor, Tensor]:
    angles = euler_angles(order, rotation)
    low, high = _bounds(limits)
    inside = torch.minimum(torch.maximum(angles, low), high)
    return euler(order, *inside.unbind(-1)), (angles - inside).abs().amax(-1)


def _clamp_shoulder(rotation: Tensor) -> tuple[Tensor, Tensor]:
    """Clamp a left shoulder, unless the arm points sideways.

    There flexion and twist rotate about nearly the same axis and cannot be told apart.
    """
    angles = shoulder_angles(rotation)
    low, high = _bounds(_SHOULDER)
    inside = torch.minimum(torch.maximum(angles, low), high)
    flex, out, twist = inside.unbind(-1)
    clamped = euler("XZX", -flex, out - torch.pi / 2, twist)
    sideways = rotation[..., 0, 0] > _SIDEWAYS
    excess = (angles - inside).abs().amax(-1).masked_fill(sideways, 0.0)
    return torch.where(sideways[..., None, None], rotation, clamped), excess


@cache
def _bounds(limits: tuple[tuple[float, float], ...]) -> tuple[Tensor, Tensor]:
    low, high = torch.tensor(limits).unbind(-1)
    return low, high


def _mirror(rotation: Tensor, side: int) -> Tensor:
    """Mirror a rotation left to right if `side` is 1."""
    if not side:
        return rotation
    sign = rotation.new_tensor([-1.0, 1.0, 1.0])
    return sign[:, None] * rotation * sign


def euler_angles(order: str, rotation: Tensor) -> Tensor:
    """Intrinsic Euler angles, the inverse of `anatomy.euler` for three different axes.

    Args:
        order: e.g. "XZY".
        rotation: (..., 3, 3).

    Returns:
        (..., 3) radians, the second within +-pi/2.
    """
    i, j, k = ("XYZ".index(axis) for axis in order)
    sign = 1.0 if (j - i) % 3 == 1 else -1.0  # parity of the permutation
    first = torch.atan2(-sign * rotation[..., j, k], rotation[..., k, k])
    second = torch.asin((sign * rotation[..., i, k]).clamp(-1, 1))
    third = torch.atan2(-sign * rotation[..., i, j], rotation[..., i, i])
    return torch.stack([first, second, third], -1)
