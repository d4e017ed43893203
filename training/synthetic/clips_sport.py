"""Pose clips of sports, play and dance."""

from __future__ import annotations

from .clips import Clip

_READY = {"hip_flex": 0.7, "knee": 0.8, "ankle": -0.3, "hip_out": 0.25, "pitch": 0.25,
          "spine_flex": 0.2}  # fmt: skip
_TUCK = {"hip_flex": 0.9, "knee": 1.1, "ankle": -0.45, "spine_flex": 0.35, "pitch": 0.3}
_SIDEWAYS = {"hip_flex": 0.5, "knee": 0.8, "ankle": -0.3, "hip_out": 0.4, "spine_twist": 0.35,
             "neck_twist": 0.8}  # fmt: skip

SPORT: tuple[Clip, ...] = (
    Clip("ski", "snow", 3, (
        _TUCK | {"shoulder_flex": 0.7, "elbow": 1.1, "shoulder_out": 0.35, "roll": 0.2},
        _TUCK | {"shoulder_flex": 0.6, "elbow": 1.3, "roll": -0.25, "l_hip_flex": 1.2,
                 "l_knee": 1.5},
        _TUCK | {"hip_flex": 0.5, "knee": 0.6, "shoulder_out": 0.6, "shoulder_flex": 0.4}),
        held="poles", two_hands=False, feet="ski", hands="grip"),
    Clip("ski_stand", "snow", 1.5, (
        {"shoulder_flex": 0.4, "elbow": 1.2, "shoulder_out": 0.4}, {"hip_out": 0.1, "knee": 0.2}),
        held="poles", feet="ski", hands="grip", gestures=0.2),
    Clip("ski_jump", "snow", 1, (
        _TUCK | {"lift": 0.6, "shoulder_out": 1.0, "roll": 0.2},
        {"hip_flex": 1.5, "knee": 1.7, "lift": 0.9, "shoulder_out": 1.3, "spine_flex": 0.4},),
        held="poles", feet="ski", hands="grip", test=True),
    Clip("snowboard", "snow", 2, (
        _SIDEWAYS | {"shoulder_out": 0.9}, _SIDEWAYS | {"roll": 0.35, "l_shoulder_out": 1.3},
        _SIDEWAYS | {"hip_flex": 1.1, "knee": 1.4, "lift": 0.4}), feet="board", hands="any"),
    Clip("surf", "board", 2.5, (
        _SIDEWAYS | {"hip_flex": 1.0, "knee": 1.3, "shoulder_out": 1.2, "spine_flex": 0.3},
        _SIDEWAYS | {"shoulder_out": 1.5, "roll": 0.3, "spine_flex": 0.2},
        _SIDEWAYS | {"hip_flex": 1.3, "knee": 1.6, "l_shoulder_flex": 1.0, "r_shoulder_out": 1.4}),
        feet="board", hands="open"),
    Clip("skateboard", "board", 2.5, (
        _SIDEWAYS | {"shoulder_out": 0.8}, _SIDEWAYS | {"lift": 0.5, "hip_flex": 1.5, "knee": 1.8,
        "shoulder_out": 1.3}, {"l_hip_flex": 0.3, "l_knee": 0.4, "r_hip_flex": -0.4,
        "r_knee": 0.5, "pitch": 0.2}), feet="board"),
    Clip("skate", "snow", 1.5, (
        {"l_hip_flex": 0.8, "l_knee": 0.9, "r_hip_flex": -0.3, "r_hip_out": 0.5, "pitch": 0.4,
         "l_shoulder_flex": -0.5, "r_shoulder_flex": 0.8},
        {"hip_flex": 0.6, "knee": 0.7, "pitch": 0.35, "shoulder_flex": -0.3},
        {"r_hip_flex": -0.5, "r_knee": 0.2, "pitch": 0.6, "shoulder_out": 1.3}), feet="skate"),
    Clip("tennis_stroke", "racket", 3, (
        _READY | {"r_shoulder_flex": 0.6, "r_elbow": 1.2, "l_shoulder_flex": 0.6, "l_elbow": 1.2},
        {"r_shoulder_out": 1.2, "r_shoulder_flex": -0.4, "r_elbow": 0.6, "spine_twist": -0.6,
         "l_shoulder_flex": 0.9, "l_knee": 0.6, "l_hip_flex": 0.5, "neck_twist": 0.5},
        {"r_shoulder_flex": 1.1, "r_shoulder_out": 0.4, "r_elbow": 0.3, "spine_twist": 0.2,
         "l_shoulder_out": 0.6, "l_hip_flex": 0.5, "l_knee": 0.5},
        {"r_shoulder_flex": 1.7, "r_elbow": 1.8, "r_shoulder_twist": 0.9, "spine_twist": 0.6,
         "r_hip_flex": -0.2, "r_ankle": 0.5}), held="racket", hands="grip"),
    Clip("tennis_serve", "racket", 2, (
        {"l_shoulder_flex": 2.6, "r_shoulder_out": 1.3, "r_elbow": 1.7, "r_shoulder_twist": -1.2,
         "spine_flex": -0.25, "neck_flex": -0.5, "knee": 0.5, "hip_flex": 0.3},
        {"r_shoulder_flex": 2.7, "r_elbow": 0.2, "r_collar_up": 0.4, "ankle": 0.6, "lift": 0.1,
         "l_shoulder_flex": 0.8, "l_elbow": 1.2},
        {"r_shoulder_flex": 1.0, "r_shoulder_twist": 1.0, "r_elbow": 0.4, "spine_flex": 0.6,
         "l_hip_flex": 0.5, "r_hip_flex": -0.4, "r_knee": 0.8}), held="racket", hands="grip"),
    Clip("badminton", "racket", 2, (
        {"r_shoulder_flex": 2.5, "r_elbow": 0.9, "r_shoulder_twist": -0.6, "l_shoulder_flex": 1.6,
         "neck_flex": -0.4, "lift": 0.15, "spine_twist": -0.3},
        {"r_shoulder_flex": 1.2, "r_elbow": 0.2, "l_hip_flex": -0.4, "r_hip_flex": 1.2,
         "r_knee": 1.2, "l_shoulder_out": 1.0, "pitch": 0.3}),
        held="racket", hands="grip", test=True),
    Clip("golf", "club", 2.5, (
        {"hip_flex": 0.4, "knee": 0.3, "pitch": 0.35, "shoulder_flex": 0.75, "elbow": 0.15,
         "neck_flex": 0.4, "hip_out": 0.15},
        {"hip_flex": 0.3, "knee": 0.3, "pitch": 0.2, "spine_twist": -0.8, "l_shoulder_flex": 1.4,
         "l_shoulder_twist": 0.6, "r_elbow": 1.7, "r_shoulder_out": 0.8, "neck_twist": 0.8},
        {"r_hip_flex": -0.2, "r_knee": 0.6, "r_ankle": 0.6, "spine_twist": 0.8, "l_elbow": 1.8,
         "r_shoulder_flex": 2.0, "l_shoulder_flex": 1.8, "hip_out": 0.1}),
        held="club", two_hands=True, hands="grip", noise=0.7),
    Clip("baseball", "club", 2, (
        {"hip_flex": 0.4, "knee": 0.5, "hip_out": 0.25, "spine_twist": -0.5, "shoulder_flex": 1.2,
         "elbow": 1.7, "neck_twist": 0.9},
        {"l_hip_flex": 0.5, "hip_out": 0.35, "l_knee": 0.1, "r_knee": 0.8, "spine_twist": 0.3,
         "shoulder_flex": 1.2, "elbow": 0.3},
        {"hip_out": 0.3, "spine_twist": 0.8, "shoulder_flex": 1.7, "elbow": 1.3, "r_knee": 0.7}),
        held="bat", two_hands=True, hands="grip", noise=0.8),
    Clip("hockey", "club", 1, (
        _READY | {"shoulder_flex": 0.7, "elbow": 0.5, "pitch": 0.5},
        _READY | {"spine_twist": -0.6, "shoulder_flex": 0.9, "elbow": 0.7}),
        held="club", two_hands=True, hands="grip", test=True),
    Clip("kick", "ball", 2.5, (
        {"r_hip_flex": -0.5, "r_knee": 1.3, "l_hip_flex": 0.4, "l_knee": 0.4, "shoulder_out": 0.8},
        {"r_hip_flex": 0.9, "r_knee": 0.3, "r_ankle": 0.6, "pitch": -0.15, "l_knee": 0.2,
         "l_shoulder_flex": 0.9, "l_shoulder_out": 0.7, "r_shoulder_out": 0.7},
        {"r_hip_flex": 1.6, "r_knee": 0.2, "pitch": -0.3, "shoulder_out": 1.1, "l_ankle": 0.4})),
    Clip("throw", "ball", 2.5, (
        {"r_shoulder_out": 1.5, "r_elbow": 1.6, "r_shoulder_twist": -1.2, "spine_twist": -0.6,
         "l_shoulder_flex": 1.3, "l_hip_flex": 0.7, "l_knee": 0.6},
        {"r_shoulder_flex": 1.9, "r_elbow": 0.6, "l_hip_flex": 0.6, "l_knee": 0.4,
         "r_hip_flex": -0.3, "spine_flex": 0.2, "spine_twist": 0.2},
        {"r_shoulder_flex": 0.9, "r_shoulder_twist": 0.9, "spine_flex": 0.6, "l_hip_flex": 0.9,
         "l_knee": 0.7, "r_hip_flex": -0.4, "r_knee": 0.5}), held="ball"),
    Clip("ball_overhead", "ball", 2, (
        {"shoulder_flex": 2.7, "elbow": 0.6, "collar_up": 0.3, "neck_flex": -0.4},
        {"shoulder_flex": 2.3, "elbow": 1.3, "lift": 0.25, "knee": 0.3, "ankle": 0.6},
        _READY | {"shoulder_flex": 1.2, "elbow": 0.9}),
        held="ball", two_hands=True, hands="open", test=True),
    Clip("frisbee", "ball", 1.5, (
        {"r_shoulder_flex": 1.3, "r_shoulder_twist": 1.1, "r_elbow": 1.5, "spine_twist": 0.6},
        {"r_shoulder_out": 1.5, "r_elbow": 0.1, "spine_twist": -0.4, "r_hip_flex": 0.5,
         "r_knee": 0.5}), held="disc", hands="grip"),
    Clip("jump", "leap", 3, (
        {"hip_flex": 1.0, "knee": 1.2, "ankle": -0.4, "pitch": 0.4, "shoulder_flex": -0.7},
        {"shoulder_flex": 2.7, "lift": 0.5, "ankle": 0.8, "spine_flex": -0.2},
        {"hip_flex": 1.6, "knee": 1.9, "lift": 0.7, "shoulder_out": 1.4, "hip_out": 0.4},
        {"hip_out": 0.8, "shoulder_out": 2.1, "lift": 0.6, "knee": 0.2}), noise=1.3),
    Clip("leap", "leap", 2.5, (
        {"l_hip_flex": 1.4, "l_knee": 0.4, "r_hip_flex": -0.6, "r_knee": 0.6, "lift": 0.5,
         "shoulder_out": 1.4, "ankle": 0.7},
        {"l_hip_flex": 1.5, "l_knee": 1.6, "r_hip_flex": -0.3, "lift": 0.6,
         "l_shoulder_flex": -0.6, "r_shoulder_flex": 1.5, "elbow": 0.8}), noise=1.3),
    Clip("somersault", "leap", 2, (
        {"pitch": 2.0, "hip_flex": 1.9, "knee": 2.1, "spine_flex": 0.7, "lift": 0.7,
         "shoulder_flex": 1.0, "elbow": 1.0},
        {"pitch": 4.0, "hip_flex": 1.5, "knee": 1.0, "spine_flex": 0.4, "lift": 0.6},
        {"pitch": -2.2, "hip_flex": 0.3, "spine_flex": -0.3, "lift": 0.8, "shoulder_flex": 2.2},
        {"roll": 1.8, "hip_flex": 0.8, "knee": 0.9, "lift": 0.6, "shoulder_out": 1.0}), noise=1.2),
    Clip("handstand", "leap", 1.5, (
        {"pitch": 3.14, "shoulder_flex": 3.0, "elbow": 0.05, "wrist_flex": -0.8, "ankle": 0.6},
        {"pitch": 3.0, "shoulder_flex": 2.9, "l_hip_flex": 0.9, "r_hip_flex": -0.5,
         "wrist_flex": -0.8},
        {"roll": 2.2, "shoulder_flex": 2.7, "shoulder_out": 0.6, "hip_out": 0.9}), hands="open"),
    Clip("vault", "leap", 1.5, (
        {"pitch": 0.6, "roll": 0.7, "l_shoulder_flex": 0.8, "l_elbow": 0.2, "hip_flex": 1.3,
         "knee": 1.2, "r_shoulder_out": 1.2, "lift": 0.3},
        {"pitch": 1.1, "shoulder_flex": 1.7, "hip_flex": 1.9, "knee": 1.9, "lift": 0.4}),
        test=True),
    Clip("push_up", "gym", 1.5, (
        {"pitch": 1.35, "shoulder_flex": 1.45, "elbow": 0.1, "wrist_flex": -0.9, "toes": 0.6,
         "neck_flex": -0.3},
        {"pitch": 1.5, "shoulder_flex": 0.7, "shoulder_out": 0.5, "elbow": 1.7,
         "wrist_flex": -0.9, "toes": 0.6}), hands="open"),
    Clip("sit_up", "gym", 1, (
        {"pitch": -1.45, "hip_flex": 0.8, "knee": 1.5, "shoulder_out": 1.6, "elbow": 2.2,
         "shoulder_twist": -1.2},
        {"pitch": -0.8, "hip_flex": 1.4, "knee": 1.5, "spine_flex": 0.8, "shoulder_flex": 1.5})),
    Clip("stretch", "gym", 2, (
        {"hip_flex": 1.4, "spine_flex": 1.0, "pitch": 0.7, "shoulder_flex": 1.7},
        {"hip_out": 0.6, "spine_side": 0.5, "l_shoulder_out": 2.7, "r_hip_flex": 0.2},
        {"l_hip_flex": 1.6, "l_knee": 0.1, "r_hip_flex": -0.4, "pitch": 0.2, "spine_flex": 0.3},
        {"hip_flex": 1.5, "hip_out": 0.9, "knee": 0.1, "spine_flex": 0.6, "shoulder_flex": 1.2})),
    Clip("lunge", "gym", 2, (
        {"l_hip_flex": 1.4, "l_knee": 1.4, "r_hip_flex": -0.4, "r_knee": 0.6, "r_toes": 0.5},
        {"l_hip_out": 0.9, "l_hip_twist": 0.5, "l_knee": 1.3, "l_hip_flex": 0.8, "r_hip_out": 0.6}),
        gestures=0.6),
    Clip("weights", "gym", 1.5, (
        {"shoulder_flex": 2.6, "shoulder_out": 0.4, "elbow": 0.3, "hip_out": 0.15},
        {"shoulder_out": 0.9, "elbow": 2.2, "shoulder_twist": -0.9, "shoulder_flex": 0.4},
        {"hip_flex": 1.2, "knee": 1.1, "pitch": 0.6, "shoulder_flex": 0.9, "elbow": 0.05}),
        held="bar", two_hands=True, hands="grip"),
    Clip("yoga", "gym", 1.5, (
        {"l_hip_flex": 0.9, "l_hip_out": 0.9, "l_knee": 2.2, "l_hip_twist": 0.7,
         "shoulder_flex": 2.9, "elbow": 0.5},
        {"r_hip_flex": -0.5, "pitch": 1.1, "l_hip_flex": 1.1, "shoulder_out": 1.6,
         "neck_flex": -0.4},
        {"l_hip_flex": 1.3, "l_knee": 1.3, "r_hip_flex": -0.4, "r_hip_out": 0.3,
         "shoulder_out": 1.6, "elbow": 0.05}), hands="open", test=True),
    Clip("fight", "fight", 2.5, (
        _READY | {"shoulder_flex": 0.8, "elbow": 2.1, "shoulder_twist": 0.4},
        {"l_shoulder_flex": 1.5, "l_elbow": 0.1, "r_elbow": 2.1, "r_shoulder_flex": 0.6,
         "spine_twist": -0.5, "l_hip_flex": 0.5, "l_knee": 0.5},
        {"r_hip_flex": 1.4, "r_hip_out": 0.7, "r_knee": 0.4, "spine_side": -0.4, "elbow": 1.8,
         "shoulder_flex": 0.7}), hands="fist"),
    Clip("bow", "fight", 1, (
        {"l_shoulder_out": 1.5, "l_elbow": 0.05, "r_shoulder_out": 1.5, "r_elbow": 2.3,
         "neck_twist": 0.9, "hip_out": 0.2},), hands="grip", test=True),
    Clip("swim", "leap", 1, (
        {"pitch": 1.5, "l_shoulder_flex": 3.0, "r_shoulder_flex": 0.3, "l_hip_flex": 0.2,
         "r_hip_flex": -0.2, "ankle": 0.8, "lift": 0.3},
        {"pitch": 1.4, "shoulder_flex": 2.9, "hip_flex": 0.1, "ankle": 0.8, "lift": 0.8})),
    Clip("dance", "dance", 4, (
        {"l_shoulder_out": 2.2, "r_shoulder_out": 0.8, "r_elbow": 1.4, "roll": 0.15,
         "spine_side": 0.3, "r_knee": 0.4, "r_hip_flex": 0.3},
        {"shoulder_flex": 2.5, "elbow": 1.0, "shoulder_out": 0.5, "spine_twist": 0.4,
         "l_hip_flex": 0.8, "l_knee": 1.2},
        {"l_shoulder_flex": 0.9, "l_elbow": 1.5, "r_shoulder_flex": -0.5, "r_elbow": 1.2,
         "knee": 0.6, "hip_flex": 0.5, "spine_twist": -0.3, "neck_side": 0.2},
        {"shoulder_out": 1.4, "elbow": 0.4, "l_hip_out": 0.7, "roll": -0.1, "r_knee": 0.3}),
        cyclic=True, noise=1.5, gestures=0.2),
    Clip("ballet", "dance", 2, (
        {"r_hip_flex": -0.6, "pitch": 0.5, "spine_flex": -0.5, "l_ankle": 0.7,
         "l_shoulder_flex": 2.2, "r_shoulder_out": 1.4, "r_ankle": 0.8},
        {"shoulder_out": 2.4, "elbow": 0.6, "hip_twist": 0.7, "ankle": 0.8, "l_hip_out": 0.9,
         "l_knee": 1.6},
        {"shoulder_out": 1.3, "elbow": 0.4, "hip_twist": 0.7, "r_hip_out": 1.1, "r_ankle": 0.8}),
        hands="open"),
    Clip("hop", "dance", 2, (
        {"l_hip_flex": 1.3, "l_knee": 1.6, "lift": 0.2, "shoulder_out": 1.0, "elbow": 1.2},
        {"knee": 0.7, "hip_flex": 0.6, "shoulder_flex": 0.8, "elbow": 1.6, "spine_side": 0.3},
        {"shoulder_out": 2.0, "elbow": 1.4, "shoulder_twist": -1.0, "r_hip_out": 0.5}),
        cyclic=True, noise=1.4, test=True),
)  # fmt: skip
