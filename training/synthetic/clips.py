"""Pose clips: a few keyframes of one activity, in anatomical angles.

`poses.py` interpolates between keyframes and adds variation. The clips are authored by hand for
this project; recorded motion comes from `mocap.py` alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .anatomy import ANGLES, COLUMN

Keyframe = dict[str, float]
"""Angles by name, radians; a limb angle without `l_` or `r_` applies to both sides. `pitch`
(forwards), `spin` (about the long axis of the body) and `roll` rotate the pelvis; `lift` is the
height of the lowest point above the ground, metres."""

ROOT = ("pitch", "spin", "roll", "lift")
NEUTRAL: Keyframe = {
    "hip_out": -0.03, "knee": 0.08, "shoulder_out": 0.12, "elbow": 0.3, "shoulder_twist": 0.2,
    "collar_front": 0.0,
}  # fmt: skip
"""Angles of a relaxed stance; defaults for angles that a keyframe leaves out."""


@dataclass(frozen=True)
class Clip:
    """One activity.

    Attributes:
        name: unique name.
        group: people of one scene often perform clips of the same group.
        weight: relative sampling frequency.
        keyframes: in temporal order.
        cyclic: the last keyframe leads back to the first.
        gestures: probability that an arm performs a gesture (`gestures.py`) instead.
        support: "ground", "seat" (a seat is placed under the pelvis) or "bed".
        held: object in the hands: "", "any" or a key of `accessories.HELD`.
        two_hands: both hands hold the object.
        feet: footwear: "", "ski", "board" or "skate".
        hands: finger pose: "any", "grip", "fist" or "open".
        noise: factor on the random variation around the keyframes.
        test: used only by the test set; all other clips are used only in training.
    """

    name: str
    group: str
    weight: float
    keyframes: tuple[Keyframe, ...]
    cyclic: bool = False
    gestures: float = 0.0
    support: str = "ground"
    held: str = ""
    two_hands: bool = False
    feet: str = ""
    hands: str = "any"
    noise: float = 1.0
    test: bool = False


def keyframe_angles(keyframe: Keyframe) -> tuple[Tensor, Tensor]:
    """(A,) angles and (4,) root values of a keyframe, completed with `NEUTRAL`.

    Raises:
        KeyError: a name is neither an angle nor a root value.
    """
    angles = torch.zeros(len(ANGLES))
    for source in (NEUTRAL, keyframe):
        # A one-sided angle overrides the angle of both sides.
        for name in sorted(source, key=lambda key: key[:2] in ("l_", "r_")):
            if name in ROOT:
                continue
            names = [name] if name in COLUMN else [f"l_{name}", f"r_{name}"]
            for one in names:
                angles[COLUMN[one]] = source[name]
    root = torch.tensor([keyframe.get(name, 0.0) for name in ROOT])
    return angles, root
