"""Names of the 55 SMPL-X joints in other rigs, for retargeting.

Names only: rest pose, proportions and joint frames stay those of SMPL-X (T-pose, see
`body.kinematics`).
"""

from __future__ import annotations

from typing import Literal, get_args

from ..body.kinematics import JOINT_NAMES

BoneStyle = Literal["smplx", "mixamo", "unreal"]
BONE_STYLES: tuple[BoneStyle, ...] = get_args(BoneStyle)
"""SMPL-X, Mixamo, and the mannequin of Unreal Engine."""

_MIXAMO_BODY = {
    "pelvis": "Hips",
    "spine1": "Spine",
    "spine2": "Spine1",
    "spine3": "Spine2",
    "neck": "Neck",
    "head": "Head",
    "jaw": "Jaw",
}
_MIXAMO_SIDE = {
    "hip": "UpLeg",
    "knee": "Leg",
    "ankle": "Foot",
    "foot": "ToeBase",
    "collar": "Shoulder",
    "shoulder": "Arm",
    "elbow": "ForeArm",
    "wrist": "Hand",
    "eye_smplhf": "Eye",
}
_UNREAL_BODY = {
    "pelvis": "pelvis",
    "spine1": "spine_01",
    "spine2": "spine_02",
    "spine3": "spine_03",
    "neck": "neck_01",
    "head": "head",
    "jaw": "jaw",
}
_UNREAL_SIDE = {
    "hip": "thigh",
    "knee": "calf",
    "ankle": "foot",
    "foot": "ball",
    "collar": "clavicle",
    "shoulder": "upperarm",
    "elbow": "lowerarm",
    "wrist": "hand",
    "eye_smplhf": "eye",
}


def bone_names(style: BoneStyle) -> tuple[str, ...]:
    """Names of the 55 joints in SMPL-X order."""
    if style == "smplx":
        return JOINT_NAMES
    convert = _to_mixamo if style == "mixamo" else _to_unreal
    return tuple(convert(name) for name in JOINT_NAMES)


def _to_mixamo(name: str) -> str:
    if name in _MIXAMO_BODY:
        return f"mixamorig:{_MIXAMO_BODY[name]}"
    side, part = name.split("_", 1)
    if part in _MIXAMO_SIDE:
        return f"mixamorig:{side.capitalize()}{_MIXAMO_SIDE[part]}"
    return f"mixamorig:{side.capitalize()}Hand{part.capitalize()}"  # left_index1 -> LeftHandIndex1


def _to_unreal(name: str) -> str:
    if name in _UNREAL_BODY:
        return _UNREAL_BODY[name]
    side, part = name.split("_", 1)
    if part in _UNREAL_SIDE:
        return f"{_UNREAL_SIDE[part]}_{side[0]}"
    return f"{part[:-1]}_0{part[-1]}_{side[0]}"  # left_index1 -> index_01_l
