"""Arm gestures, which replace one arm of a pose clip.

A gesture is a set of angles of the left arm. If it has a `touch`, inverse kinematics then moves the
palm onto that part of the body (`contacts.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .clips import Keyframe


@dataclass(frozen=True)
class Gesture:
    """Gesture of one arm.

    Attributes:
        weight: relative sampling frequency.
        angles: of the left arm, names without `l_`.
        hand: finger pose: "any", "open", "relaxed", "grip", "fist", "point" or "flat".
        touch: target of the palm: a key of `contacts.CONTACT_POINTS`, or "".
        holds: object in the hand: "" or a key of `accessories.HELD`.
        test: used only by the test set; all other gestures are used only in training.
    """

    weight: float
    angles: Keyframe = field(default_factory=dict)
    hand: str = "any"
    touch: str = ""
    holds: str = ""
    test: bool = False


_UP = {"shoulder_flex": 2.5, "elbow": 0.5, "collar_up": 0.25}

GESTURES: dict[str, Gesture] = {
    "hang": Gesture(5, {}, "relaxed"),
    "on_hip": Gesture(2, {"shoulder_out": 0.8, "elbow": 1.7, "shoulder_twist": 1.0}, touch="hip"),
    "in_pocket": Gesture(1.5, {"shoulder_out": 0.3, "elbow": 0.7, "shoulder_twist": 0.3},
                         "relaxed", touch="pocket"),
    "on_belly": Gesture(1, {"elbow": 1.6, "shoulder_twist": 0.9}, "relaxed", touch="belly"),
    "arms_crossed": Gesture(1.2, {"shoulder_flex": 0.5, "elbow": 1.8, "shoulder_twist": 0.9},
                            "relaxed", touch="other_elbow"),
    "on_chest": Gesture(0.6, {"shoulder_flex": 0.5, "elbow": 2.1, "shoulder_twist": 0.8},
                        "flat", touch="chest", test=True),
    "chin": Gesture(1, {"shoulder_flex": 0.9, "elbow": 2.2, "shoulder_twist": 0.6}, touch="chin"),
    "cheek": Gesture(0.8, {"shoulder_flex": 1.0, "elbow": 2.2, "shoulder_twist": 0.3}, "flat",
                     touch="cheek", test=True),
    "phone_at_ear": Gesture(1.2, {"shoulder_flex": 0.8, "shoulder_out": 0.6, "elbow": 2.3},
                            "grip", touch="ear", holds="phone"),
    "on_head": Gesture(0.8, {"shoulder_out": 1.9, "elbow": 2.0, "shoulder_twist": -0.6}, "flat",
                       touch="crown"),
    "neck": Gesture(0.6, {"shoulder_out": 2.0, "elbow": 2.2, "shoulder_twist": -0.6}, "flat",
                    touch="nape"),
    "eyes_shaded": Gesture(0.5, {"shoulder_flex": 1.3, "shoulder_out": 0.6, "elbow": 2.1}, "flat",
                           touch="brow"),
    "on_thigh": Gesture(1, {"shoulder_flex": 0.4, "elbow": 0.6}, "flat", touch="thigh"),
    "on_knee": Gesture(0.6, {"shoulder_flex": 0.7, "elbow": 0.5}, "relaxed", touch="knee"),
    "on_shoulder": Gesture(0.5, {"shoulder_flex": 0.9, "elbow": 2.2, "shoulder_twist": 0.9},
                           touch="other_shoulder"),
    "looking_at_phone": Gesture(1.5, {"shoulder_flex": 0.6, "elbow": 1.8, "shoulder_twist": 0.5},
                                "grip", holds="phone"),
    "taking_photo": Gesture(0.8, {"shoulder_flex": 1.3, "elbow": 1.3, "shoulder_twist": 0.3},
                            "grip", holds="phone", test=True),
    "drinking": Gesture(0.8, {"shoulder_flex": 0.9, "elbow": 2.2, "shoulder_out": 0.4}, "grip",
                        touch="mouth", holds="cup"),
    "carrying": Gesture(1.5, {"elbow": 0.1, "shoulder_out": 0.1}, "fist", holds="bag"),
    "carrying_bent": Gesture(0.8, {"elbow": 1.6, "shoulder_out": 0.2}, "grip", holds="box"),
    "stick": Gesture(0.8, {"shoulder_flex": 0.4, "elbow": 0.7, "shoulder_out": 0.3}, "grip",
                     holds="stick"),
    "umbrella": Gesture(0.6, {"shoulder_flex": 0.5, "elbow": 1.9}, "grip", holds="umbrella"),
    "reading": Gesture(0.7, {"shoulder_flex": 0.6, "elbow": 1.4, "shoulder_twist": 0.5}, "grip",
                       holds="book", test=True),
    "pointing": Gesture(1.2, {"shoulder_flex": 1.4, "shoulder_out": 0.5, "elbow": 0.15}, "point"),
    "pointing_up": Gesture(0.4, _UP | {"shoulder_out": 0.4}, "point", test=True),
    "waving": Gesture(1.2, {"shoulder_out": 1.6, "shoulder_twist": -1.1, "elbow": 1.5}, "open"),
    "raised": Gesture(1.2, _UP, "any"),
    "spread": Gesture(1.2, {"shoulder_out": 1.5, "elbow": 0.2}, "open"),
    "forward": Gesture(1, {"shoulder_flex": 1.4, "elbow": 0.3}, "open"),
    "talking": Gesture(2, {"shoulder_flex": 0.5, "elbow": 1.5, "shoulder_out": 0.3,
                           "shoulder_twist": -0.2, "forearm_twist": -0.7}, "open"),
    "thumbs": Gesture(0.7, {"shoulder_flex": 0.7, "elbow": 1.7, "forearm_twist": -0.2}, "fist"),
    "behind_back": Gesture(0.8, {"shoulder_flex": -0.5, "shoulder_out": 0.2, "elbow": 0.9,
                                 "shoulder_twist": 1.3}, "relaxed"),
    "flexing": Gesture(0.4, {"shoulder_out": 1.5, "elbow": 2.1, "shoulder_twist": -1.2}, "fist",
                       test=True),
}  # fmt: skip
