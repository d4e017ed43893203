"""Pose clips of everyday activities: standing, walking, sitting, kneeling, lying, working."""

from __future__ import annotations

from .clips import Clip, Keyframe


def _stride(size: float, elbow: float, bend: float) -> tuple[Keyframe, ...]:
    """Keyframes of a gait: contact, passing, contact, passing; opposite arm and leg in phase."""
    front = {"hip_flex": 0.55 * size + 0.25 * bend, "knee": 0.1 + 0.3 * bend, "ankle": -0.1}
    back = {"hip_flex": -0.35 * size, "knee": 0.25 + 0.35 * bend, "ankle": 0.35 * size,
            "toes": -0.2 * size}  # fmt: skip
    bearing = {"hip_flex": 0.05 + 0.2 * bend, "knee": 0.12 + 0.35 * bend, "ankle": -0.12}
    lifted = {"hip_flex": 0.3 * size + 0.55 * bend, "knee": 0.75 * size + 1.0 * bend, "ankle": 0.1}

    def both(first: Keyframe, second: Keyframe, swing: float) -> Keyframe:
        legs = {f"l_{name}": value for name, value in first.items()}
        legs |= {f"r_{name}": value for name, value in second.items()}
        return legs | {
            "l_shoulder_flex": -swing, "r_shoulder_flex": swing, "elbow": elbow,
            "spine_twist": 0.2 * swing, "spine_flex": 0.12 * bend, "pitch": 0.04 + 0.12 * bend,
            "lift": 0.0,
        }  # fmt: skip

    swing = 0.45 * size + 0.25 * bend
    return (
        both(front, back, swing), both(bearing, lifted, 0.3 * swing),
        both(back, front, -swing), both(lifted, bearing, -0.3 * swing),
    )  # fmt: skip


_SIT: Keyframe = {"hip_flex": 1.5, "knee": 1.5, "hip_out": 0.12, "spine_flex": 0.12,
                "pitch": -0.12, "shoulder_flex": 0.25}  # fmt: skip

DAILY: tuple[Clip, ...] = (
    Clip("stand", "stand", 9, (
        {}, {"hip_out": 0.12, "l_hip_twist": 0.25, "r_hip_twist": 0.25},
        {"l_hip_flex": 0.25, "l_knee": 0.4, "r_hip_out": -0.08, "roll": 0.06, "spine_side": -0.1},
        {"hip_out": 0.02, "spine_flex": 0.12, "neck_flex": 0.2}), gestures=0.7),
    Clip("stand_leaning", "stand", 3, (
        {"l_hip_out": -0.14, "l_hip_flex": 0.15, "r_hip_out": 0.05, "spine_side": 0.2},
        {"pitch": -0.12, "hip_flex": 0.25, "knee": 0.12, "spine_flex": 0.1},
        {"l_hip_flex": 0.15, "l_hip_out": -0.25, "l_knee": 0.25, "roll": -0.04}), gestures=0.8),
    Clip("stand_wide", "stand", 4, (
        {"hip_out": 0.22, "hip_twist": 0.2},
        {"hip_out": 0.1, "l_hip_flex": 0.35, "r_hip_flex": -0.1},
        {"hip_out": 0.15, "knee": 0.2, "hip_flex": 0.2}), gestures=0.75, test=True),
    Clip("walk", "move", 8, _stride(0.9, 0.3, 0.0), cyclic=True, gestures=0.2),
    Clip("stroll", "move", 4, _stride(0.55, 0.2, 0.0), cyclic=True, gestures=0.5),
    Clip("march", "move", 3, _stride(1.15, 0.5, 0.12), cyclic=True, gestures=0.15, test=True),
    Clip("stairs", "move", 2.5, (
        {"l_hip_flex": 1.2, "l_knee": 1.2, "r_hip_flex": 0.0, "r_knee": 0.1, "pitch": 0.12},
        {"l_hip_flex": 0.5, "l_knee": 0.6, "r_hip_flex": 0.3, "r_knee": 0.9, "r_ankle": 0.4}),
        gestures=0.4),
    Clip("sit", "sit", 6, (
        _SIT, _SIT | {"knee": 1.1, "pitch": -0.3}, _SIT | {"hip_out": 0.35, "knee": 1.4},
        _SIT | {"knee": 1.9, "ankle": 0.4, "spine_flex": 0.35},
        _SIT | {"spine_flex": 0.6, "shoulder_flex": 0.7, "pitch": 0.1}),
        gestures=0.55, support="seat"),
    Clip("sit_crossed", "sit", 3, (
        _SIT | {"l_hip_flex": 1.8, "l_hip_out": -0.35, "l_knee": 1.25, "l_hip_twist": -0.1},
        _SIT | {"l_hip_flex": 1.55, "l_hip_out": 0.75, "l_knee": 1.9, "l_hip_twist": 0.7}),
        gestures=0.6, support="seat"),
    Clip("sit_at_table", "sit", 4, (
        _SIT | {"shoulder_flex": 0.6, "elbow": 1.3, "shoulder_twist": 0.5, "spine_flex": 0.25},
        _SIT | {"shoulder_flex": 0.9, "elbow": 1.0, "spine_flex": 0.45, "neck_flex": 0.35},
        _SIT | {"l_shoulder_flex": 0.5, "l_elbow": 2.1, "shoulder_twist": 0.5, "neck_flex": 0.2}),
        support="seat", gestures=0.15),
    Clip("sit_on_stool", "sit", 3, (
        _SIT | {"hip_flex": 1.1, "knee": 1.3, "l_knee": 0.9, "pitch": 0.0},
        _SIT | {"hip_flex": 1.2, "r_hip_flex": 0.7, "r_knee": 0.5, "hip_out": 0.25}),
        gestures=0.6, support="seat", test=True),
    Clip("sit_on_ground", "low", 3, (
        {"hip_flex": 1.9, "knee": 2.1, "spine_flex": 0.4, "pitch": -0.3, "shoulder_flex": 0.9,
         "elbow": 1.0, "shoulder_twist": 0.7},
        {"hip_flex": 1.5, "hip_out": 0.9, "hip_twist": 0.75, "knee": 2.2, "spine_flex": 0.3},
        {"hip_flex": 1.45, "knee": 0.15, "pitch": -0.2, "spine_flex": 0.2, "shoulder_flex": -0.6,
         "hip_out": 0.15}), gestures=0.35),
    Clip("crouch", "low", 2.5, (
        {"hip_flex": 2.1, "knee": 2.3, "ankle": -0.5, "hip_out": 0.25, "spine_flex": 0.4},
        {"hip_flex": 1.4, "knee": 1.5, "ankle": -0.5, "hip_out": 0.2, "spine_flex": 0.35,
         "pitch": 0.25},
        {"hip_flex": 2.1, "knee": 2.4, "ankle": 0.2, "toes": -0.3, "spine_flex": 0.3}),
        gestures=0.5),
    Clip("squat", "low", 1.5, (
        {"hip_flex": 0.9, "knee": 1.1, "ankle": -0.35, "hip_out": 0.3, "pitch": 0.3},
        {"hip_flex": 1.7, "knee": 1.8, "ankle": -0.5, "hip_out": 0.4, "pitch": 0.35}),
        gestures=0.6, test=True),
    Clip("kneel", "low", 2.5, (
        {"l_hip_flex": 0.0, "l_knee": 1.6, "l_ankle": 0.7, "r_hip_flex": 1.5, "r_knee": 1.55},
        {"hip_flex": 0.05, "knee": 1.6, "ankle": 0.8}, {"hip_flex": 0.8, "knee": 2.4, "ankle": 0.8,
         "spine_flex": 0.15}), gestures=0.6),
    Clip("on_all_fours", "low", 1.5, (
        {"hip_flex": 1.5, "knee": 1.55, "ankle": 0.8, "shoulder_flex": 1.5, "elbow": 0.1,
         "pitch": 1.45, "neck_flex": -0.5, "shoulder_twist": 0.0, "shoulder_out": 0.05,
         "wrist_flex": -0.8},
        {"l_hip_flex": 1.1, "r_hip_flex": 1.8, "knee": 1.5, "ankle": 0.7, "l_shoulder_flex": 1.9,
         "r_shoulder_flex": 1.2, "pitch": 1.4, "neck_flex": -0.5, "elbow": 0.15})),
    Clip("bend", "work", 3, (
        {"hip_flex": 0.9, "spine_flex": 0.7, "knee": 0.2, "pitch": 0.45, "shoulder_flex": 0.8},
        {"hip_flex": 1.4, "spine_flex": 1.1, "knee": 0.35, "pitch": 0.8, "shoulder_flex": 1.3,
         "neck_flex": -0.3},
        {"hip_flex": 0.6, "spine_flex": 0.5, "knee": 0.5, "pitch": 0.3, "shoulder_flex": 0.7,
         "elbow": 0.9}), gestures=0.25),
    Clip("lift_box", "work", 1.5, (
        {"hip_flex": 1.5, "knee": 1.6, "ankle": -0.45, "spine_flex": 0.5, "pitch": 0.4,
         "shoulder_flex": 0.9, "elbow": 0.5},
        {"spine_flex": -0.05, "shoulder_flex": 0.5, "elbow": 1.5, "shoulder_twist": 0.3}),
        held="box", two_hands=True, hands="open"),
    Clip("reach", "work", 3, (
        {"l_shoulder_flex": 2.7, "l_elbow": 0.2, "l_collar_up": 0.35, "spine_side": 0.1,
         "ankle": 0.25},
        {"l_shoulder_flex": 1.5, "l_elbow": 0.15, "l_collar_front": 0.25, "spine_twist": -0.3,
         "spine_flex": 0.2},
        {"shoulder_flex": 2.6, "elbow": 0.4, "collar_up": 0.35, "neck_flex": -0.4}),
        gestures=0.12),
    Clip("cook", "work", 2.5, (
        {"shoulder_flex": 0.5, "elbow": 1.35, "shoulder_twist": 0.45, "spine_flex": 0.2,
         "neck_flex": 0.4},
        {"l_shoulder_flex": 0.8, "l_elbow": 0.9, "r_shoulder_flex": 0.3, "r_elbow": 1.6,
         "shoulder_twist": 0.5, "spine_flex": 0.25, "neck_flex": 0.35}), held="any"),
    Clip("push", "work", 1.5, (
        {"shoulder_flex": 1.3, "elbow": 0.7, "pitch": 0.35, "l_hip_flex": 0.5, "l_knee": 0.5,
         "r_hip_flex": -0.2, "r_ankle": 0.4, "wrist_flex": -0.7},
        {"shoulder_flex": 1.4, "elbow": 0.15, "pitch": 0.2, "wrist_flex": -0.6}),
        hands="open", test=True),
    Clip("lie_on_back", "lie", 1.6, (
        {"pitch": -1.57, "shoulder_out": 0.4}, {"pitch": -1.57, "knee": 1.4, "hip_flex": 0.9},
        {"pitch": -1.5, "spine_flex": 0.3, "shoulder_flex": 1.0, "elbow": 1.4}),
        gestures=0.5, support="bed"),
    Clip("lie_on_front", "lie", 1.2, (
        {"pitch": 1.57, "shoulder_flex": 2.5, "elbow": 1.5, "neck_twist": 0.8, "ankle": 0.8},
        {"pitch": 1.45, "spine_flex": -0.45, "neck_flex": -0.5, "shoulder_flex": 0.9,
         "elbow": 1.5, "ankle": 0.8}), gestures=0.1, support="bed"),
    Clip("lie_on_side", "lie", 1.2, (
        {"pitch": -1.57, "spin": 1.5, "hip_flex": 0.7, "knee": 1.1, "shoulder_flex": 1.1,
         "elbow": 1.3},
        {"pitch": -1.57, "spin": 1.4, "l_hip_flex": 0.9, "l_knee": 1.2, "r_shoulder_flex": 2.4,
         "r_elbow": 1.9}), support="bed"),
    Clip("lie_curled", "lie", 0.8, (
        {"pitch": -1.57, "spin": 1.5, "hip_flex": 1.8, "knee": 2.0, "spine_flex": 0.7,
         "neck_flex": 0.5, "shoulder_flex": 1.1, "elbow": 2.0},), support="bed", test=True),
)  # fmt: skip
RUN: tuple[Clip, ...] = (
    Clip("jog", "run", 3, _stride(1.1, 1.4, 0.55), cyclic=True, hands="fist"),
    Clip("run", "run", 4, _stride(1.5, 1.6, 0.9), cyclic=True, hands="fist", noise=1.1),
    Clip("sprint", "run", 2, _stride(1.8, 1.5, 1.1), cyclic=True, hands="open", test=True),
)
