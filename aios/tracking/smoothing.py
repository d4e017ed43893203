"""Temporal smoothing of a person's parameters with one-euro filters.

The one-euro filter (Casiez et al., CHI 2012) is a low-pass filter whose cutoff rises with speed:
little jitter at rest, little lag in fast motion.  It is causal, so live streams and files are
smoothed in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Self

import numpy as np
from scipy.spatial.transform import Rotation

from ..people import People


@dataclass(frozen=True)
class OneEuro:
    """Parameters of a one-euro filter.

    Attributes:
        min_cutoff: Hz, cutoff at rest; lower means smoother and more lag.
        speed_weight: increase of the cutoff in Hz per unit of speed (value per second).
        speed_cutoff: Hz, cutoff of the low-pass filter on the speed.
    """

    min_cutoff: float
    speed_weight: float
    speed_cutoff: float = 1.0


@dataclass(frozen=True)
class Smoothing:
    """One-euro filter parameters for the parts of a person.

    Attributes:
        rotation: body joints and jaw; speed in radians per second.
        hand: hand pose vectors, which are offsets to the mean hand and not rotations.
        position: lateral position, in metres at the distance of the first frame of the track.
        depth: logarithm of the distance.
        expression: expression coefficients.
    """

    rotation: OneEuro = OneEuro(1.2, 1.5)
    hand: OneEuro = OneEuro(1.0, 0.8)
    position: OneEuro = OneEuro(1.5, 4.0)
    depth: OneEuro = OneEuro(0.5, 2.0)
    expression: OneEuro = OneEuro(1.0, 0.5)


SMOOTHING = Smoothing()
"""Defaults for frame rates of 10 Hz and more."""


class VectorFilter:
    """One-euro filter on vectors (..., C); the speed is the norm, so all axes are equal."""

    def __init__(self, settings: OneEuro) -> None:
        """Create a filter; it returns the first value unchanged."""
        self._settings = settings
        self._value: np.ndarray | None = None
        self._speed: np.ndarray | None = None
        self._time = 0.0

    def __call__(self, value: np.ndarray, time: float) -> np.ndarray:
        """Filter the next value.

        Args:
            value: (..., C), of the same shape in every call.
            time: seconds; if it does not increase, the value is ignored.

        Returns:
            (..., C) float64 smoothed value.
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
    """One-euro filter on axis-angle rotations (..., 3), along the shortest arc.

    The first value is returned unchanged, later ones with an angle of at most pi.
    """

    def _difference(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        return (Rotation.from_rotvec(start).inv() * Rotation.from_rotvec(end)).as_rotvec()

    def _moved(self, start: np.ndarray, step: np.ndarray) -> np.ndarray:
        return (Rotation.from_rotvec(start) * Rotation.from_rotvec(step)).as_rotvec()


def _share(cutoff: np.ndarray, elapsed: float) -> np.ndarray:
    """Weight of a new value in a low-pass filter of `cutoff` Hz after `elapsed` seconds, 0-1."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff * elapsed))


@dataclass
class ShapeMean:
    """Mean shape of a track, weighted by score."""

    total: np.ndarray = field(default_factory=lambda: np.zeros(10))
    weight: float = 0.0

    def add(self, betas: np.ndarray, score: float) -> Self:
        """Add the `betas` (10,) of one frame."""
        weight = max(score, 1e-3)
        self.total = self.total + weight * betas.astype(np.float64)
        self.weight += weight
        return self

    @property
    def betas(self) -> np.ndarray:
        """(10,) float32 mean."""
        return (self.total / max(self.weight, 1e-9)).astype(np.float32)


class PersonFilter:
    """Smooths one tracked person, frame by frame."""

    def __init__(self, settings: Smoothing = SMOOTHING) -> None:
        """Create the filters of a new track."""
        self.shape = ShapeMean()
        self._rotation = RotationFilter(settings.rotation)
        self._hand = VectorFilter(settings.hand)
        self._position = VectorFilter(settings.position)
        self._depth = VectorFilter(settings.depth)
        self._expression = VectorFilter(settings.expression)
        self._distance = 0.0

    def __call__(self, person: People, time: float) -> People:
        """Smooth the next frame of a person and replace the shape by the mean so far.

        Boxes, keypoints and score are unchanged.  Body rotations get angles of at most pi.  Hand
        poses are filtered as vectors, since posing adds them to the mean hand.  Lateral position
        and depth are filtered separately, since their errors differ widely.

        Args:
            person: one person (P = 1).
            time: seconds, increasing.
        """
        joints = [person.global_orient, person.body_pose, person.jaw_pose]
        rotations = np.concatenate(joints, 1).reshape(-1, 3).astype(np.float64)
        rotations = Rotation.from_rotvec(rotations).as_rotvec()  # angles of at most pi
        rotations = self._rotation(rotations, time).reshape(1, -1)
        hands = np.concatenate([person.left_hand_pose, person.right_hand_pose], 1)
        hands = self._hand(hands.reshape(-1, 3), time).reshape(1, -1)
        self.shape.add(person.betas[0], float(person.scores[0]))
        transl = self._smooth_position(person.transl[0].astype(np.float64), time)
        changes = {
            "global_orient": rotations[:, :3],
            "body_pose": rotations[:, 3:66],
            "jaw_pose": rotations[:, 66:],
            "left_hand_pose": hands[:, :45],
            "right_hand_pose": hands[:, 45:],
            "betas": self.shape.betas[None],
            "expression": self._expression(person.expression, time),
            "weak_camera": np.array([[1.0, *transl[:2]]]) / transl[2],
            "transl": transl[None],
        }
        kept = {f.name: getattr(person, f.name) for f in fields(person)}
        return People(**kept | {n: v.astype(np.float32) for n, v in changes.items()})

    def _smooth_position(self, transl: np.ndarray, time: float) -> np.ndarray:
        """Smooth `transl` (3,) metres; not behind the camera, where log depth is undefined."""
        if transl[2] <= 0:
            return transl
        self._distance = self._distance or transl[2]
        lateral = self._position(transl[:2] / transl[2] * self._distance, time)
        depth = np.exp(self._depth(np.log(transl[2:]), time))
        return np.concatenate([lateral / self._distance * depth, depth])
