"""Families of poses: the anatomical angles around which people stand, walk, sit, reach ..."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .anatomy import LIMITS

Rng = np.random.Generator

Habit = dict[str, float]


def _both(**angles: float) -> Habit:
    """The same angle left and right."""
    return {f"{side}_{name}": angle for side in "lr" for name, angle in angles.items()}


def _one(side: str, **angles: float) -> Habit:
    return {f"{side}_{name}": angle for name, angle in angles.items()}


def _arms(rng: Rng, side: str) -> Habit:
    """What an arm may do while the legs do something else."""
    kind = rng.choice(9, p=[0.36, 0.1, 0.1, 0.1, 0.08, 0.08, 0.06, 0.06, 0.06])
    u = rng.uniform
    return [
        lambda: {},
        lambda: _one(
            side, shoulder_flex=u(0.2, 1.0), elbow=u(1.2, 2.1), shoulder_twist=u(0.2, 1.0)
        ),
        lambda: _one(side, shoulder_out=u(0.6, 0.9), elbow=u(1.4, 1.9), shoulder_twist=u(0.9, 1.3)),
        lambda: _one(
            side, shoulder_flex=u(1.0, 2.0), elbow=u(0.0, 0.8), shoulder_twist=u(-0.4, 0.6)
        ),
        lambda: _one(side, shoulder_out=u(1.2, 2.7), elbow=u(0.0, 1.0), shoulder_twist=u(-1, 0.3)),
        lambda: _one(
            side, shoulder_flex=u(0.5, 1.3), elbow=u(1.8, 2.4), shoulder_twist=u(0.3, 1.0)
        ),
        lambda: _one(side, shoulder_out=u(1.2, 1.7), elbow=u(1.2, 2.1), shoulder_twist=u(-1.4, -1)),
        lambda: _one(
            side, shoulder_flex=u(-0.7, -0.2), elbow=u(0.3, 1.2), shoulder_twist=u(0.2, 1)
        ),
        lambda: _one(side, shoulder_flex=u(2.0, 3.0), elbow=u(0.0, 1.2), collar_up=u(0.1, 0.4)),
    ][kind]()


def _free_arms(rng: Rng) -> Habit:
    return {**_arms(rng, "l"), **_arms(rng, "r")}


def _stand(rng: Rng) -> Habit:
    legs = _both(hip_out=rng.uniform(-0.08, 0.15))
    if rng.random() < 0.3:  # weight on one leg
        side = rng.choice(["l", "r"])
        bend = rng.uniform(0.1, 0.5)
        legs |= _one(side, knee=bend, hip_flex=bend * 0.7, hip_out=0.05)
    return legs | _free_arms(rng)


def _stride(rng: Rng, size: float, elbow: float, bend: float) -> Habit:
    """One moment of a gait: opposite arm and leg swing together."""
    phase = rng.uniform(0, 2 * np.pi)
    habit: Habit = {"spine_flex": 0.25 * bend, "spine_twist": -0.15 * size * np.sin(phase)}
    for side, shift in (("l", 0.0), ("r", np.pi)):
        swing = np.sin(phase + shift)
        lifted = max(0.0, np.cos(phase + shift))
        habit |= _one(
            side,
            hip_flex=size * (0.75 * swing + 0.15 + 0.35 * bend * lifted),
            knee=0.12 + lifted * (0.6 + 1.1 * bend) + 0.2 * bend,
            ankle=0.25 * size * -swing,
            shoulder_flex=-size * 0.75 * swing,
            elbow=elbow,
            shoulder_out=0.15,
        )
    return habit


def _walk(rng: Rng) -> Habit:
    habit = _stride(rng, rng.uniform(0.3, 0.75), rng.uniform(0.15, 0.6), 0.0)
    if rng.random() < 0.4:
        habit |= _arms(rng, rng.choice(["l", "r"]))
    return habit


def _run(rng: Rng) -> Habit:
    return _stride(rng, rng.uniform(0.8, 1.4), rng.uniform(1.1, 1.9), rng.uniform(0.5, 1.0))


def _sit(rng: Rng) -> Habit:
    flex, knee = rng.uniform(1.3, 1.75), rng.uniform(0.7, 1.9)
    habit = _both(hip_flex=flex, knee=knee, hip_out=rng.uniform(-0.1, 0.35)) | {"spine_flex": 0.15}
    if rng.random() < 0.2:
        habit |= _one(
            rng.choice(["l", "r"]),
            hip_flex=flex + 0.3,
            hip_out=-0.3,
            knee=knee * 0.8,
            hip_twist=-0.4,
        )
    if rng.random() < 0.5:
        habit |= _both(shoulder_flex=rng.uniform(0.3, 0.8), elbow=rng.uniform(0.5, 1.5))
        return habit
    return habit | _free_arms(rng)


def _crouch(rng: Rng) -> Habit:
    depth = rng.uniform(0.4, 1.0)
    habit = _both(
        hip_flex=2.0 * depth, knee=2.3 * depth, ankle=-0.5 * depth, hip_out=rng.uniform(0.0, 0.5)
    )
    return habit | {"spine_flex": rng.uniform(0.1, 0.6)} | _free_arms(rng)


def _kneel(rng: Rng) -> Habit:
    side, other = rng.permutation(["l", "r"])
    habit = _one(side, hip_flex=rng.uniform(-0.1, 0.3), knee=rng.uniform(1.4, 2.0), ankle=0.5)
    if rng.random() < 0.6:
        habit |= _one(other, hip_flex=1.5, knee=1.6)
    else:
        habit |= _one(other, hip_flex=habit[f"{side}_hip_flex"], knee=1.7, ankle=0.5)
    return habit | _free_arms(rng)


def _bend(rng: Rng) -> Habit:
    flex = rng.uniform(0.5, 1.3)
    hip = rng.uniform(0.3, 1.2)
    habit = _both(hip_flex=hip, knee=rng.uniform(0.1, 0.8), shoulder_flex=rng.uniform(0.4, 1.7))
    return habit | {"spine_flex": flex, "neck_flex": rng.uniform(-0.6, 0.2)}


def _arms_up(rng: Rng) -> Habit:
    if rng.random() < 0.5:
        arms = _both(shoulder_out=rng.uniform(1.5, 2.8), elbow=rng.uniform(0.0, 1.0),
                     shoulder_twist=rng.uniform(-1.2, -0.3))  # fmt: skip
    else:
        arms = _both(shoulder_flex=rng.uniform(1.4, 3.0), elbow=rng.uniform(0.0, 1.0))
    return _stand(rng) | arms | _both(collar_up=rng.uniform(0.1, 0.4))


def _reach(rng: Rng) -> Habit:
    side = rng.choice(["l", "r"])
    twist = rng.uniform(0.0, 0.5) * (-1 if side == "l" else 1)
    arm = _one(
        side,
        shoulder_flex=rng.uniform(0.8, 2.6),
        shoulder_out=rng.uniform(0, 0.6),
        elbow=rng.uniform(0, 0.5),
        collar_front=0.2,
    )
    return _stand(rng) | arm | {"spine_flex": rng.uniform(-0.2, 0.5), "spine_twist": twist}


def _sport(rng: Rng) -> Habit:
    side, other = rng.permutation(["l", "r"])
    kind = rng.integers(4)
    u = rng.uniform
    if kind == 0:  # kick
        legs = _one(side, hip_flex=u(0.6, 1.8), knee=u(0.0, 0.6)) | _one(other, knee=u(0.1, 0.5))
        return legs | _both(shoulder_out=u(0.5, 1.4)) | {"spine_flex": u(-0.2, 0.3)}
    if kind == 1:  # throw or strike
        arm = _one(side, shoulder_out=u(1.2, 2.2), shoulder_twist=u(-1.3, 0.0), elbow=u(0.3, 1.8))
        legs = _one(other, hip_flex=u(0.2, 0.9), knee=u(0.1, 0.6)) | _one(side, hip_flex=u(-0.5, 0))
        return arm | legs | _one(other, shoulder_flex=u(0.3, 1.4)) | {"spine_twist": u(-0.6, 0.6)}
    if kind == 2:  # lunge
        legs = _one(side, hip_flex=u(0.9, 1.6), knee=u(0.9, 1.6)) | _one(
            other, hip_flex=u(-0.6, -0.1)
        )
        return legs | _free_arms(rng)
    tuck = u(0.0, 1.0)  # jump: legs tucked or spread
    legs = _both(hip_flex=1.8 * tuck, knee=2.0 * tuck, hip_out=u(0.0, 0.6), ankle=0.6)
    return legs | _both(shoulder_out=u(0.6, 2.6), shoulder_flex=u(0, 0.8))


def _free(rng: Rng) -> Habit:
    """Anything the joints allow, drawn towards the middle of their range."""
    return {
        name: low + (high - low) * rng.beta(2.0, 2.0 if low < -0.2 else 2.6)
        for name, (low, high) in LIMITS.items()
        if "neck" not in name and "collar" not in name
    }


def _lie(rng: Rng) -> Habit:
    if rng.random() < 0.5:
        return _stand(rng)
    return _both(hip_flex=rng.uniform(0, 1.2), knee=rng.uniform(0, 1.6)) | _free_arms(rng)


FAMILIES: dict[str, tuple[float, Callable[[Rng], Habit]]] = {
    "stand": (0.24, _stand),
    "walk": (0.13, _walk),
    "run": (0.08, _run),
    "sit": (0.13, _sit),
    "crouch": (0.06, _crouch),
    "kneel": (0.04, _kneel),
    "bend": (0.06, _bend),
    "arms_up": (0.06, _arms_up),
    "reach": (0.08, _reach),
    "sport": (0.08, _sport),
    "lie": (0.03, _lie),
    "free": (0.01, _free),
}
