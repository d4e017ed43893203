"""How people hold themselves: poses, hands and jaws.

A pose is drawn as anatomical angles (flexion, abduction, twist ...) around the habit of a family
(standing, walking, sitting ...), with noise that is partly shared between both sides, cut at the
limits of each joint, and only then turned into axis-angle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from .anatomy import LIMB_LIMITS, LIMITS, angles_to_body_pose
from .families import FAMILIES

Rng = np.random.Generator

_DEFAULT_SPREAD = {
    "spine_flex": 0.10, "spine_side": 0.07, "spine_twist": 0.12, "neck_flex": 0.18,
    "neck_side": 0.10, "neck_twist": 0.35, "hip_flex": 0.10, "hip_out": 0.08, "hip_twist": 0.12,
    "knee": 0.12, "ankle": 0.10, "collar_up": 0.06, "collar_front": 0.06, "shoulder_flex": 0.25,
    "shoulder_out": 0.15, "shoulder_twist": 0.3, "elbow": 0.35, "forearm_twist": 0.35,
    "wrist_flex": 0.25, "wrist_side": 0.12,
}  # fmt: skip
_HABIT = {"hip_out": -0.03, "knee": 0.08, "shoulder_out": 0.2, "elbow": 0.3, "shoulder_twist": 0.2}
JAW_LIMIT = 0.45


_NAMES = tuple(FAMILIES)
_CHANCES = np.array([weight for weight, _ in FAMILIES.values()])


@dataclass(frozen=True)
class PersonPose:
    """One person's parameters before a place in the world is known.

    Attributes:
        body_pose: (21, 3) axis-angle.
        left_hand_pose: (15, 3) relative to the mean hand; index, middle, pinky, ring, thumb.
        right_hand_pose: (15, 3).
        jaw_pose: (3,).
        tilt: (3, 3) rotation of the pelvis before the person is turned about the vertical.
        lift: metres between the ground and the lowest point.
    """

    body_pose: np.ndarray
    left_hand_pose: np.ndarray
    right_hand_pose: np.ndarray
    jaw_pose: np.ndarray
    tilt: np.ndarray
    lift: float


def draw_angles(rng: Rng, family: str) -> dict[str, float]:
    """Anatomical angles in radians, every name of `LIMITS`, within them."""
    habit = FAMILIES[family][1](rng)
    looseness = rng.uniform(0.4, 1.3)
    shared = {name: rng.standard_normal() for name in LIMB_LIMITS}
    answer = {}
    for name, (low, high) in LIMITS.items():
        bare = name[2:] if name[:2] in ("l_", "r_") else name
        noise = rng.standard_normal()
        if bare in shared:
            noise = 0.5 * shared[bare] + 0.87 * noise
        middle = habit.get(name, _HABIT.get(bare, 0.0))
        answer[name] = float(np.clip(middle + looseness * _DEFAULT_SPREAD[bare] * noise, low, high))
    return answer


# Bend of index, middle, pinky, ring (knuckle, middle, tip) and of the thumb, as left hand.
# Beyond the mean hand, whose fingers are half bent already.
_OPEN, _RELAXED, _GRIP, _FIST = 0.28, 0.0, -0.4, -0.8


def draw_hand(rng: Rng, side: str) -> np.ndarray:
    """(15, 3) axis-angle relative to the mean hand: open, relaxed, gripping, fist or pointing."""
    kind = rng.choice(5, p=[0.2, 0.4, 0.15, 0.15, 0.1])
    bends = np.full(4, (_OPEN, _RELAXED, _GRIP, _FIST, _FIST)[kind])
    bends = bends + rng.normal(0, 0.12) + rng.normal(0, 0.07, 4)
    if kind == 4:
        bends[0] = _OPEN
    hand = np.zeros((5, 3, 3))
    hand[:4, :, 2] = bends[:, None] * np.array([1.0, 1.1, 0.8])
    spread = rng.normal(0.0, 0.08) + (0.12 if kind == 0 else 0.0)
    hand[:4, 0, 1] = spread * np.array([-1.0, -0.2, 1.2, 0.5])
    hand[4, :, 1] = np.clip(-0.4 * bends.mean(), -0.15, 0.45) + rng.normal(0, 0.06, 3)
    hand[..., 2] = hand[..., 2].clip(-1.1, 0.5)
    mirror = np.array([1.0, 1.0, 1.0] if side == "left" else [1.0, -1.0, -1.0])
    return (hand * mirror).reshape(15, 3).astype(np.float32)


def draw_tilt(rng: Rng, family: str) -> tuple[np.ndarray, float]:
    """How the pelvis leans (3, 3) and how high the lowest point is above the ground, metres."""
    pitch, roll, lift = rng.normal(0, 0.06), rng.normal(0, 0.04), 0.0
    if family == "lie":
        pitch = rng.choice([-1, 1]) * np.pi / 2 + rng.normal(0, 0.1)
        roll = rng.choice([0.0, np.pi / 2, -np.pi / 2]) + rng.normal(0, 0.15)
        return Rotation.from_euler("XY", [pitch, roll]).as_matrix(), 0.0
    if family == "run":
        pitch += rng.uniform(0.0, 0.3)
    elif family == "sit":
        pitch += rng.uniform(-0.4, 0.1)
    elif family == "bend":
        pitch += rng.uniform(0.0, 0.5)
    if family in ("sport", "free"):
        pitch, roll = rng.normal(0, 0.3), rng.normal(0, 0.2)
        if rng.random() < 0.25:  # in the air, any way up
            pitch, roll = rng.uniform(-np.pi, np.pi), rng.normal(0, 0.8)
        lift = rng.uniform(0.0, 0.6) if rng.random() < 0.5 else 0.0
    return Rotation.from_euler("XZ", [pitch, roll]).as_matrix(), lift


def draw_pose(rng: Rng) -> PersonPose:
    """One person's pose, hands and jaw."""
    family = _NAMES[rng.choice(len(_NAMES), p=_CHANCES / _CHANCES.sum())]
    tilt, lift = draw_tilt(rng, family)
    opened = rng.uniform(0.05, JAW_LIMIT) if rng.random() < 0.35 else rng.uniform(0, 0.05)
    return PersonPose(
        body_pose=angles_to_body_pose(draw_angles(rng, family)),
        left_hand_pose=draw_hand(rng, "left"),
        right_hand_pose=draw_hand(rng, "right"),
        jaw_pose=np.array([opened, rng.normal(0, 0.02), 0], np.float32),
        tilt=tilt,
        lift=lift,
    )
