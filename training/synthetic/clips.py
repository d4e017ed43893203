"""What a pose clip is: a few moments of one thing that people do, in anatomical angles.

Between the moments poses are interpolated; around them they vary (`poses.py`). All of it is made
up by hand for this project: no recorded motion is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .anatomy import ANGLES, COLUMN

Keyframe = dict[str, float]
"""Angles by name; a limb's angle without `l_` or `r_` means both sides. `pitch` (forwards), `spin`
(about the body's own length) and `roll` turn the pelvis, `lift` is the height in metres of the
lowest point above the ground."""

ROOT = ("pitch", "spin", "roll", "lift")
NEUTRAL: Keyframe = {
    "hip_out": -0.03, "knee": 0.08, "shoulder_out": 0.12, "elbow": 0.3, "shoulder_twist": 0.2,
    "collar_front": 0.0,
}  # fmt: skip
"""Angles of somebody who does nothing, where a moment says nothing else."""


@dataclass(frozen=True)
class Clip:
    """One activity.

    Attributes:
        name: of it.
        group: people of one scene often do things of the same group.
        weight: how often it is drawn.
        keyframes: in order.
        cycle: the last moment leads back to the first.
        free_arms: how likely each arm does something of its own (`gestures.py`).
        support: "ground", "seat" (a seat is put under the pelvis) or "bed".
        held: what the hands hold: "", "any" or a key of `props.HELD`.
        two_hands: both hands hold it.
        feet: "" or what is under the feet: "ski", "board", "skate".
        hands: "any", "grip", "fist" or "open".
        loose: factor on the variation about the moments.
        test: belongs to the test set alone; the others to training alone.
    """

    name: str
    group: str
    weight: float
    keyframes: tuple[Keyframe, ...]
    cycle: bool = False
    free_arms: float = 0.0
    support: str = "ground"
    held: str = ""
    two_hands: bool = False
    feet: str = ""
    hands: str = "any"
    loose: float = 1.0
    test: bool = False


def keyframe_angles(keyframe: Keyframe) -> tuple[Tensor, Tensor]:
    """(A,) angles and (4,) root of a moment, habits filled in.

    Raises:
        KeyError: if a name is neither an angle nor a root entry.
    """
    angles = torch.zeros(len(ANGLES))
    for source in (NEUTRAL, keyframe):
        # One side's own angle goes before what is said of both.
        for name in sorted(source, key=lambda key: key[:2] in ("l_", "r_")):
            if name in ROOT:
                continue
            names = [name] if name in COLUMN else [f"l_{name}", f"r_{name}"]
            for one in names:
                angles[COLUMN[one]] = source[name]
    root = torch.tensor([keyframe.get(name, 0.0) for name in ROOT])
    return angles, root
