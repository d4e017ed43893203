"""The 55 joints of the SMPL-X layout, from the helper cubes and bones of MakeHuman."""

from __future__ import annotations

import numpy as np

SIDES = ("left", "right")
FINGERS = ("index", "middle", "pinky", "ring", "thumb")
JOINTS = (
    "pelvis left_hip right_hip spine1 left_knee right_knee spine2 left_ankle right_ankle spine3 "
    "left_foot right_foot neck left_collar right_collar head left_shoulder right_shoulder "
    "left_elbow right_elbow left_wrist right_wrist jaw left_eye right_eye"
).split() + [f"{s}_{f}{k}" for s in SIDES for f in FINGERS for k in (1, 2, 3)]
JOINT_INDEX = {name: i for i, name in enumerate(JOINTS)}
_BODY_PARENTS = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19]
_FACE_PARENTS = [15, 15, 15]
_NUMBER_OF_FINGER = {"thumb": 1, "index": 2, "middle": 3, "ring": 4, "pinky": 5}
_JAW_BONES = ("oris02", "oris01", "oris06.L", "oris06.R", "oris07.L", "oris07.R", "special04")
_MIDDLE_BONES = {
    "root": "pelvis", "spine05": "pelvis", "spine04": "pelvis", "spine03": "spine1",
    "spine02": "spine2", "spine01": "spine3", "neck01": "neck", "neck02": "neck",
    "neck03": "head", "head": "head", "jaw": "jaw",
}  # fmt: skip
_SIDE_BONES = {
    "pelvis": "pelvis", "breast": "spine3", "upperleg01": "hip", "upperleg02": "hip",
    "lowerleg01": "knee", "lowerleg02": "knee", "foot": "ankle", "clavicle": "collar",
    "shoulder01": "collar", "upperarm01": "shoulder", "upperarm02": "shoulder",
    "lowerarm01": "elbow", "lowerarm02": "elbow", "wrist": "wrist", "eye": "eye",
}  # fmt: skip
_MIDDLE_CUBES = {
    "pelvis": ("pelvis",), "spine1": ("spine-3",), "spine2": ("spine-2",), "spine3": ("spine-1",),
    "neck": ("neck",), "head": ("head",), "jaw": ("head", "mouth"),
}  # fmt: skip
_SIDE_CUBES = {
    "hip": "upper-leg", "knee": "knee", "ankle": "ankle", "collar": "clavicle",
    "shoulder": "shoulder", "elbow": "elbow", "wrist": "hand", "eye": "eye",
}  # fmt: skip


def _parents() -> np.ndarray:
    parents = _BODY_PARENTS + _FACE_PARENTS
    for wrist in (20, 21):
        for _ in FINGERS:
            first = len(parents)
            parents += [wrist, first, first + 1]
    return np.array(parents)


PARENTS = _parents()
MIRRORED_JOINTS = np.array(
    [
        JOINT_INDEX[
            name.replace("left", "right")
            if name.startswith("left")
            else name.replace("right", "left")
        ]
        for name in JOINTS
    ]
)
"""(55,) mirrored joint."""


def descendants(joint: int) -> list[int]:
    """A joint and its descendants, parents first."""
    found = {joint}
    for child in range(joint + 1, len(PARENTS)):
        if PARENTS[child] in found:
            found.add(child)
    return sorted(found)


def _joint_cubes() -> dict[str, tuple[str, ...]]:
    """Names of the helper cubes whose mean centre defines each joint."""
    cubes = {joint: tuple(f"joint-{c}" for c in names) for joint, names in _MIDDLE_CUBES.items()}
    for side in SIDES:
        letter = side[0]
        for joint, cube in _SIDE_CUBES.items():
            cubes[f"{side}_{joint}"] = (f"joint-{letter}-{cube}",)
        cubes[f"{side}_foot"] = tuple(f"joint-{letter}-toe-{k}-1" for k in range(1, 6))
        for finger, number in _NUMBER_OF_FINGER.items():
            for k in (1, 2, 3):
                cubes[f"{side}_{finger}{k}"] = (f"joint-{letter}-finger-{number}-{k}",)
    return cubes


def _bone_joints() -> dict[str, str]:
    """Joint by MakeHuman bone; bones of the face that are missing here belong to the head."""
    joints = dict(_MIDDLE_BONES) | dict.fromkeys(_JAW_BONES, "jaw")
    for side in SIDES:
        letter = side[0].upper()
        for bone, joint in _SIDE_BONES.items():
            alone = joint in _MIDDLE_CUBES
            joints[f"{bone}.{letter}"] = joint if alone else f"{side}_{joint}"
        for k in range(1, 6):
            joints[f"metacarpal{k}.{letter}"] = f"{side}_wrist"
            for q in (1, 2, 3):
                joints[f"toe{k}-{q}.{letter}"] = f"{side}_foot"
        for finger, number in _NUMBER_OF_FINGER.items():
            for q in (1, 2, 3):
                joints[f"finger{number}-{q}.{letter}"] = f"{side}_{finger}{q}"
    return joints


def skin_weights(bones: dict[str, list[tuple[int, float]]], num_vertices: int) -> np.ndarray:
    """Skinning weights (N, 55); rows of vertices with a bone sum to 1, other rows are 0."""
    joints = _bone_joints()
    weights = np.zeros((num_vertices, len(JOINTS)))
    for bone, pairs in bones.items():
        joint = joints.get(bone) or ("jaw" if bone.startswith("tongue") else "head")
        for vertex, weight in pairs:
            weights[vertex, JOINT_INDEX[joint]] += weight
    return weights / np.maximum(weights.sum(1, keepdims=True), 1e-9)


class JointFinder:
    """Locates joints and finger tips of a mesh as centres of its helper cubes."""

    def __init__(self, groups: dict[str, np.ndarray]) -> None:
        """Collect the helper vertices of each joint from vertex indices by group name."""
        cubes = _joint_cubes()
        self._joints = [[groups[cube] for cube in cubes[name]] for name in JOINTS]
        self._tips = {
            (side, finger): groups[f"joint-{side[0]}-finger-{number}-4"]
            for side in SIDES
            for finger, number in _NUMBER_OF_FINGER.items()
        }

    def joints(self, vertices: np.ndarray) -> np.ndarray:
        """Vertices (N, 3) -> joints (55, 3)."""
        return np.stack([np.mean([vertices[i].mean(0) for i in c], 0) for c in self._joints])

    def tips(self, vertices: np.ndarray) -> dict[tuple[str, str], np.ndarray]:
        """Vertices (N, 3) -> finger tips (3,) by side and finger."""
        return {name: vertices[index].mean(0) for name, index in self._tips.items()}
