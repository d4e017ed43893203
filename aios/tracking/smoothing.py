"""Steady motion from frames that were seen one by one: one-euro filters over a person's values.

The one-euro filter (Casiez et al., CHI 2012) is a low-pass whose cutoff rises with speed: still
people stop trembling, fast ones are not held back.  It looks at the past alone, so that a live
stream and a file are smoothed alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Self

import numpy as np

from ..geometry.quaternions import (
    axis_angle_to_quaternion,
    conjugate,
    multiply,
    quaternion_to_axis_angle,
)
from ..people import People


@dataclass(frozen=True)
class OneEuro:
    """How strongly to smooth.

    Attributes:
        min_cutoff: Hz, for what stands still: lower is smoother and later.
        speed_weight: Hz by which the cutoff rises for each unit of value a second.
        speed_cutoff: Hz, of the low-pass over the speed itself.
    """

    min_cutoff: float
    speed_weight: float
    speed_cutoff: float = 1.0


@dataclass(frozen=True)
class Smoothing:
    """One-euro filters for the parts of a person.

    Attributes:
        rotation: of body joints and jaw; speeds in radians a second.
        hand: of finger joints, whose vectors are added to a mean and are no rotations alone.
        place: sideways, metres at the distance at which the track began.
        depth: logarithm of the distance.
        expression: coefficients.
    """

    rotation: OneEuro = OneEuro(1.2, 1.5)
    hand: OneEuro = OneEuro(1.0, 0.8)
    place: OneEuro = OneEuro(1.5, 4.0)
    depth: OneEuro = OneEuro(0.5, 2.0)
    expression: OneEuro = OneEuro(1.0, 0.5)


SMOOTHING = Smoothing()
"""For people filmed at ten frames a second or more."""


class VectorFilter:
    """One-euro filter over vectors (..., C), each with one speed: no axis is special."""

    def __init__(self, settings: OneEuro) -> None:
        """Start without a past: the first value passes as it is."""
        self._settings = settings
        self._value: np.ndarray | None = None
        self._speed: np.ndarray | None = None
        self._time = 0.0

    def __call__(self, value: np.ndarray, time: float) -> np.ndarray:
        """The smoothed value.

        Args:
            value: (..., C), the same shape each time.
            time: seconds; a moment not after the last one leaves the value as it was.
        """
        elapsed = time - self._time
        if self._value is None or self._speed is None:
            self._value = np.array(value, np.float64)
            self._speed = np.zeros_like(self._difference(self._value, self._value))
            self._time = time
        elif elapsed > 0:
            step = self._difference(self._value, value)
            share = _share(np.array(self._settings.speed_cutoff), elapsed)
            self._speed = self._speed + share * (step / elapsed - self._speed)
            size = np.linalg.norm(self._speed, axis=-1, keepdims=True)
            cutoff = self._settings.min_cutoff + self._settings.speed_weight * size
            self._value = self._moved(self._value, step * _share(cutoff, elapsed))
            self._time = time
        return self._value

    def _difference(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        return end - start

    def _moved(self, start: np.ndarray, step: np.ndarray) -> np.ndarray:
        return start + step


class RotationFilter(VectorFilter):
    """The same over unit quaternions (..., 4): steps are turns, along the shorter way."""

    def _difference(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        return quaternion_to_axis_angle(multiply(conjugate(start), end))

    def _moved(self, start: np.ndarray, step: np.ndarray) -> np.ndarray:
        moved = multiply(start, axis_angle_to_quaternion(step))
        return moved / np.linalg.norm(moved, axis=-1, keepdims=True)


def _share(cutoff: np.ndarray, elapsed: float) -> np.ndarray:
    """How far a low-pass of `cutoff` Hz moves towards a new value after `elapsed` seconds."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff * elapsed))


@dataclass
class ShapeMean:
    """The mean shape of a track, weighted by score: a body does not change from frame to frame."""

    total: np.ndarray = field(default_factory=lambda: np.zeros(10))
    weight: float = 0.0

    def add(self, betas: np.ndarray, score: float) -> Self:
        """Take in one frame: betas (10,)."""
        weight = max(score, 1e-3)
        self.total = self.total + weight * betas.astype(np.float64)
        self.weight += weight
        return self

    @property
    def betas(self) -> np.ndarray:
        """(10,) float32."""
        return (self.total / max(self.weight, 1e-9)).astype(np.float32)


class PersonFilter:
    """Smooths one tracked person, frame by frame."""

    def __init__(self, settings: Smoothing = SMOOTHING) -> None:
        """Start a track."""
        self.shape = ShapeMean()
        self._rotation = RotationFilter(settings.rotation)
        self._hand = VectorFilter(settings.hand)
        self._place = VectorFilter(settings.place)
        self._depth = VectorFilter(settings.depth)
        self._expression = VectorFilter(settings.expression)
        self._distance = 0.0

    def __call__(self, person: People, time: float) -> People:
        """The person smoothed, with the mean shape so far.

        Boxes, keypoints and score stay as they were seen.  Body rotations come back with angles
        of at most pi; hand vectors are smoothed as vectors, because posing adds them to the mean
        hand; the place is smoothed in the picture and in depth, whose errors differ widely.

        Args:
            person: of one (P = 1).
            time: seconds, rising.
        """
        joints = [person.global_orient, person.body_pose, person.jaw_pose]
        turns = np.concatenate(joints, 1).reshape(-1, 3)
        smooth = self._rotation(axis_angle_to_quaternion(turns), time)
        turns = quaternion_to_axis_angle(smooth).reshape(1, -1)
        hands = np.concatenate([person.left_hand_pose, person.right_hand_pose], 1)
        hands = self._hand(hands.reshape(-1, 3), time).reshape(1, -1)
        self.shape.add(person.betas[0], float(person.scores[0]))
        transl = self._smooth_place(person.transl[0].astype(np.float64), time)
        changes = {
            "global_orient": turns[:, :3],
            "body_pose": turns[:, 3:66],
            "jaw_pose": turns[:, 66:],
            "left_hand_pose": hands[:, :45],
            "right_hand_pose": hands[:, 45:],
            "betas": self.shape.betas[None],
            "expression": self._expression(person.expression, time),
            "weak_camera": np.array([[1.0, *transl[:2]]]) / transl[2],
            "transl": transl[None],
        }
        kept = {f.name: getattr(person, f.name) for f in fields(person)}
        return People(**kept | {n: v.astype(np.float32) for n, v in changes.items()})

    def _smooth_place(self, transl: np.ndarray, time: float) -> np.ndarray:
        """(3,) metres; a person behind the camera, where there is no logarithm, stays."""
        if transl[2] <= 0:
            return transl
        self._distance = self._distance or transl[2]
        place = self._place(transl[:2] / transl[2] * self._distance, time)
        depth = np.exp(self._depth(np.log(transl[2:]), time))
        return np.concatenate([place / self._distance * depth, depth])
