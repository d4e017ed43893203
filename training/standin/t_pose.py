"""Converts MakeHuman's A-pose to the T-pose of the SMPL-X layout, palms down, fingers straight."""

from __future__ import annotations

import numpy as np

from .smplx_joints import JOINT_INDEX, PARENTS, descendants

PELVIS = np.array([0.0, -0.35, 0.01])
"""Pelvis position of the rest pose, metres, as in SMPL-X."""
_SPREAD_KEPT = 0.8
"""Share of the finger spread that is kept."""


def to_t_pose(
    vertices: np.ndarray,
    joints: np.ndarray,
    tips: dict[tuple[str, str], np.ndarray],
    weights: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Rotate arms, hands and fingers, and move the pelvis to its rest position.

    Args:
        vertices: (N, 3) metres.
        joints: (55, 3) metres.
        tips: finger tips (3,) by side and finger, metres.
        weights: (N, 55) skinning weights.

    Returns:
        Vertices (N, 3) and joints (55, 3) in T-pose.
    """
    rotations = np.tile(np.eye(3), (len(joints), 1, 1))
    for side, axis in (("left", np.array([1.0, 0, 0])), ("right", np.array([-1.0, 0, 0]))):
        _straighten_arm(rotations, joints, side, axis)
        _straighten_fingers(rotations, joints, tips, side)
    posed = np.zeros_like(joints)
    posed[0] = PELVIS
    for joint, parent in enumerate(PARENTS[1:], 1):
        bone = joints[joint] - joints[parent]
        posed[joint] = posed[parent] + rotations[parent] @ bone
    shifts = posed - np.einsum("jab,jb->ja", rotations, joints)
    blended = np.einsum("nj,jab->nab", weights, rotations, optimize=True)
    return np.einsum("nab,nb->na", blended, vertices) + weights @ shifts, posed


def _straighten_arm(rotations: np.ndarray, joints: np.ndarray, side: str, axis: np.ndarray) -> None:
    """Set world rotations that align the arm with `axis`, palm down."""

    def at(name: str) -> np.ndarray:
        return joints[JOINT_INDEX[f"{side}_{name}"]]

    upper_arm = _rotation_between(at("elbow") - at("shoulder"), axis)
    forearm = _rotation_between(at("wrist") - at("elbow"), axis)
    hand = _rotation_between(at("middle1") - at("wrist"), axis)
    across = hand @ (at("index1") - at("pinky1"))
    twist = np.arctan2(across[1], across[2])  # index finger in front of the little finger
    for name, rotation in (
        ("shoulder", upper_arm),
        ("elbow", _rotation_about_x(twist / 2) @ forearm),
        ("wrist", _rotation_about_x(twist) @ hand),
    ):
        rotations[descendants(JOINT_INDEX[f"{side}_{name}"])] = rotation


def _straighten_fingers(
    rotations: np.ndarray,
    joints: np.ndarray,
    tips: dict[tuple[str, str], np.ndarray],
    side: str,
) -> None:
    """Set world rotations that straighten all fingers except the thumb in the plane of the hand."""
    hand = rotations[JOINT_INDEX[f"{side}_wrist"]]
    for finger in ("index", "middle", "ring", "pinky"):
        chain = [JOINT_INDEX[f"{side}_{finger}{k}"] for k in (1, 2, 3)]
        points = [*joints[chain], tips[side, finger]]
        whole = hand @ (points[3] - points[0])
        straight = np.array([whole[0], 0.0, whole[2] * _SPREAD_KEPT])
        for joint, start, end in zip(chain, points, points[1:], strict=False):
            rotations[joint] = _rotation_between(hand @ (end - start), straight) @ hand


def _rotation_between(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Smallest rotation from one direction to another; undefined for opposite directions."""
    start, end = start / np.linalg.norm(start), end / np.linalg.norm(end)
    x, y, z = np.cross(start, end)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + cross + cross @ cross / (1 + start @ end)


def _rotation_about_x(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
