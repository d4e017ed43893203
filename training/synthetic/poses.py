"""Procedural poses: interpolated keyframes of clips, arm gestures, and random variation.

All people are sampled at once, with one random key per person.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache, partial

import torch
from torch import Tensor

from .accessories import HELD_NUMBER
from .anatomy import (
    ANGLES,
    COLUMN,
    LIMB_LIMITS,
    euler,
    limits,
    mirror_angles,
    rotations_to_axis_angle,
    within_limits,
)
from .body_parameters import KIND_NUMBER
from .clips import NEUTRAL, Clip, keyframe_angles
from .clips_daily import DAILY, RUN
from .clips_sport import SPORT
from .contacts import CONTACT_NUMBER
from .gestures import GESTURES, Gesture
from .mocap import MocapLibrary
from .rng import CounterRng, constant

CLIPS = (*DAILY, *RUN, *SPORT)
SUPPORTS = ("ground", "seat", "bed")
FEET = ("", "ski", "board", "skate")
_KEYFRAMES_PER_SECOND = 1.6
_FREE_SHARE = 0.03  # share of people with a random pose within the joint limits
_SPREAD = {
    "spine_flex": 0.10, "spine_side": 0.07, "spine_twist": 0.12, "neck_flex": 0.18,
    "neck_side": 0.10, "neck_twist": 0.35, "hip_flex": 0.10, "hip_out": 0.07, "hip_twist": 0.12,
    "knee": 0.12, "ankle": 0.10, "toes": 0.08, "collar_up": 0.06, "collar_front": 0.06,
    "shoulder_flex": 0.2, "shoulder_out": 0.13, "shoulder_twist": 0.25, "elbow": 0.28,
    "forearm_twist": 0.35, "wrist_flex": 0.22, "wrist_side": 0.12,
}  # fmt: skip
_ARM = ("collar_up", "collar_front", "shoulder_flex", "shoulder_out", "shoulder_twist", "elbow",
        "forearm_twist", "wrist_flex", "wrist_side")  # fmt: skip


@dataclass(frozen=True)
class CapturedPoses:
    """Motion-capture poses for some of N people.

    Attributes:
        used: (N,) bool, the person has a motion-capture pose.
        body_pose: (N, 21, 3) axis-angle; arbitrary where not used.
    """

    used: Tensor
    body_pose: Tensor


@dataclass(frozen=True)
class Poses:
    """Poses of N people, before placement in the scene.

    Attributes:
        angles: (N, A) anatomical angles within the joint limits.
        tilt: (N, 3, 3) rotation of the pelvis, before the yaw.
        lift: (N,) height of the lowest point above the ground, metres.
        support: (N,) index into `SUPPORTS`.
        feet: (N,) index into `FEET`.
        held: (N, 2) object in the left and right hand, index into `accessories.HELD`, 0 for none.
        hand_kind: (N, 2) index into `body_parameters.HAND_KINDS`, -1 for a random kind.
        touch: (N, 2) contact of each palm, index into `contacts.CONTACT_POINTS`, 0 for none.
        clip: (N,) index into `CLIPS`.
        captured: motion-capture poses that replace the angles of some people, or None.
    """

    angles: Tensor
    tilt: Tensor
    lift: Tensor
    support: Tensor
    feet: Tensor
    held: Tensor
    hand_kind: Tensor
    touch: Tensor
    clip: Tensor
    captured: CapturedPoses | None = None


class _Tables:
    """Clips and gestures of the training or test split as tensors."""

    def __init__(self, test: bool, device: torch.device) -> None:
        longest = max(len(clip.keyframes) for clip in CLIPS)
        keyframes = [[keyframe_angles(m) for m in clip.keyframes] for clip in CLIPS]
        padded = [row + [row[-1]] * (longest - len(row)) for row in keyframes]
        self.angles = torch.stack([torch.stack([m[0] for m in row]) for row in padded])
        self.roots = torch.stack([torch.stack([m[1] for m in row]) for row in padded])
        self.count = torch.tensor([len(clip.keyframes) for clip in CLIPS])
        self.cyclic = torch.tensor([clip.cyclic for clip in CLIPS])
        self.weight = torch.tensor([clip.weight * (clip.test == test) for clip in CLIPS])
        self.gesture_probability = torch.tensor([clip.gestures for clip in CLIPS])
        self.variation = torch.tensor([clip.noise for clip in CLIPS])
        self.attributes = torch.tensor([_clip_attributes(clip) for clip in CLIPS])
        names = [name for name in GESTURES if name == "hang" or GESTURES[name].test == test]
        gestures = [GESTURES[name] for name in names]
        self.gesture_weight = torch.tensor([gesture.weight for gesture in gestures])
        self.gesture_attributes = torch.tensor(
            [_gesture_attributes(gesture) for gesture in gestures]
        )
        left = [{f"l_{n}": v for n, v in gesture.angles.items()} for gesture in gestures]
        arms = torch.stack([keyframe_angles(NEUTRAL | angles)[0] for angles in left])
        self.gesture_angles = arms[:, [COLUMN[f"l_{name}"] for name in _ARM]]
        self.spread = torch.tensor([_SPREAD[n[2:] if n[1] == "_" else n] for n in ANGLES])
        self.paired = torch.tensor([name[1] == "_" for name in ANGLES])
        self.rest = keyframe_angles({})[0]
        for name, value in vars(self).items():
            setattr(self, name, value.to(device))


def _clip_attributes(clip: Clip) -> list[int]:
    groups = sorted({c.group for c in CLIPS})
    return [
        groups.index(clip.group), SUPPORTS.index(clip.support), FEET.index(clip.feet),
        HELD_NUMBER[clip.held], int(clip.two_hands), KIND_NUMBER[clip.hands],
    ]  # fmt: skip


def _gesture_attributes(gesture: Gesture) -> list[int]:
    return [CONTACT_NUMBER[gesture.touch], HELD_NUMBER[gesture.holds], KIND_NUMBER[gesture.hand]]


@lru_cache(maxsize=4)
def _tables(test: bool, device: torch.device) -> _Tables:
    return _Tables(test, device)


def sample_poses(
    rng: CounterRng, scene_rng: CounterRng, *, test: bool, time_s: float | None = None
) -> Poses:
    """Sample the poses of N people.

    Args:
        rng: one key per person.
        scene_rng: key of the scene of each person; people of one scene often perform similar
            activities.
        test: use the clips of the test set instead of the training clips.
        time_s: as `SceneAssets.time_s`.
    """
    table = _tables(test, rng.keys.device)
    clip = _draw_clips(rng, scene_rng, table)
    sample_moment = _random_moment if time_s is None else partial(_at_time, time_s=time_s)
    angles, root = _interpolate(rng, table, clip, sample_moment(rng, table, clip))
    _, support, feet, held, two_hands, hand = table.attributes[clip].unbind(-1)
    noise = _noise(rng, table) * rng.uniform("loose", low=0.4, high=1.2)[:, None]
    angles = within_limits(angles + noise * table.variation[clip][:, None])
    free = rng.bernoulli("free", _FREE_SHARE)
    low, high = limits(angles.device)
    share = rng.uniform("free pose", 2, len(ANGLES)).mean(1)
    angles = torch.where(free[:, None], low + (high - low) * share, angles)
    mirrored = rng.bernoulli("mirror", 0.5)
    angles = torch.where(mirrored[:, None], mirror_angles(angles), angles)
    root = root * torch.where(mirrored[:, None], constant((1, -1, -1, 1), root.device), 1.0)
    nothing = torch.zeros_like(held)
    both = (two_hands > 0) | (held == HELD_NUMBER["poles"])
    sides = torch.stack([held, torch.where(both, held, nothing)], 1)
    sides = torch.where(
        mirrored[:, None], sides, sides.flip(1)
    )  # a single object is in the right hand
    # In a two-handed grip the second hand holds no object; it touches the first hand.
    grips = (two_hands > 0)[:, None] & constant((False, True), held.device, torch.bool)
    touch = torch.where(grips, CONTACT_NUMBER["grip"], 0)
    sides = torch.where(grips, 0, torch.where((two_hands > 0)[:, None], held[:, None], sides))
    kinds = hand[:, None].expand(-1, 2)
    for side in (0, 1):
        angles, attributes, replaced = _gesture(rng, table, angles, clip, side)
        fresh = torch.stack([touch[:, side], sides[:, side], kinds[:, side]], 1)
        chosen = torch.where(replaced[:, None], attributes, fresh)
        touch, sides, kinds = (
            torch.cat([v[:, :side], c[:, None], v[:, side + 1 :]], 1)
            for v, c in zip((touch, sides, kinds), chosen.unbind(1), strict=True)
        )
    tumble = torch.where(free, 0.3, 0.06)
    pitch, spin, roll = (
        root[:, i] + rng.normal(f"root {i}") * tumble * factor
        for i, factor in enumerate((1.0, 0.3, 0.7))
    )
    return Poses(
        angles, euler("XYZ", pitch, spin, roll), root[:, 3].clamp_min(0), support, feet,
        sides, kinds, touch, clip,
    )  # fmt: skip


def with_mocap(
    poses: Poses, rng: CounterRng, library: MocapLibrary, time_s: float | None = None
) -> Poses:
    """Replace the poses of a random share of the people by motion capture.

    These people stand on the ground, hold and touch nothing, and have random finger poses.

    Args:
        poses: procedural poses of all people.
        rng: one key per person.
        library: motion-capture clips.
        time_s: as `SceneAssets.time_s`.
    """
    used = rng.bernoulli("mocap", library.share)
    tilt, rotations = library.sample(rng, time_s)
    none = torch.zeros_like(poses.held)
    return replace(
        poses,
        tilt=torch.where(used[:, None, None], tilt, poses.tilt),
        lift=torch.where(used, 0.0, poses.lift),
        support=torch.where(used, SUPPORTS.index("ground"), poses.support),
        feet=torch.where(used, FEET.index(""), poses.feet),
        held=torch.where(used[:, None], none, poses.held),
        hand_kind=torch.where(used[:, None], KIND_NUMBER["any"], poses.hand_kind),
        touch=torch.where(used[:, None], none, poses.touch),
        captured=CapturedPoses(used, rotations_to_axis_angle(rotations)),
    )


def _draw_clips(rng: CounterRng, scene_rng: CounterRng, table: _Tables) -> Tensor:
    """(N,) clip; 60 % of the people follow the activity group of their scene."""
    theme = table.attributes[scene_rng.choice("theme", table.weight), 0]
    same = table.attributes[:, 0] == theme[:, None]
    follows = rng.bernoulli("follow", 0.6)[:, None]
    return rng.choice("clip", table.weight * torch.where(follows, same, True))


def _random_moment(rng: CounterRng, table: _Tables, clip: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(N,) two keyframes of each person's clip, and the interpolation weight between them, 0-1."""
    count = table.count[clip]
    first = (rng.uniform("first") * count).long().clamp_max(count - 1)
    other = (rng.uniform("second") * count).long().clamp_max(count - 1)
    second = torch.where(table.cyclic[clip], (first + 1) % count, other)
    return first, second, rng.uniform("between")


def _at_time(
    rng: CounterRng, table: _Tables, clip: Tensor, time_s: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The same at a given time; clips that are not cyclic run forwards and backwards."""
    count, cyclic = table.count[clip], table.cyclic[clip]
    elapsed = rng.uniform("first") * count + time_s * _KEYFRAMES_PER_SECOND
    period = torch.where(cyclic, count, (2 * (count - 1)).clamp_min(1))
    place = elapsed % period
    place = torch.where(cyclic, place, torch.minimum(place, period - place))
    first = place.long().clamp_max(count - 1)
    second = torch.where(cyclic, (first + 1) % count, (first + 1).clamp_max(count - 1))
    return first, second, place - first


def _interpolate(
    rng: CounterRng, table: _Tables, clip: Tensor, between: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Interpolate angles (N, A) and root values (N, 4) between two keyframes."""
    first, second, share = between
    share = (share * share * (3 - 2 * share))[:, None]
    scale = rng.uniform("size", low=0.8, high=1.15)[:, None]
    rest = table.rest
    angles = torch.lerp(table.angles[clip, first], table.angles[clip, second], share)
    root = torch.lerp(table.roots[clip, first], table.roots[clip, second], share)
    lift = root[:, 3] * rng.uniform("lift", low=0.3, high=1.5)
    return rest + (angles - rest) * scale, torch.cat([root[:, :3], lift[:, None]], 1)


def _noise(rng: CounterRng, table: _Tables) -> Tensor:
    """(N, A) noise, correlated between left and right; the neck compensates for the spine."""
    own = rng.normal("noise", len(ANGLES))
    noise = torch.where(table.paired, 0.79 * own + 0.61 * mirror_angles(own), own) * table.spread
    spine, neck = COLUMN["spine_flex"], COLUMN["neck_flex"]
    level = torch.zeros_like(noise)
    level[:, neck] = -0.5 * noise[:, spine]
    return noise + level


def _gesture(
    rng: CounterRng, table: _Tables, angles: Tensor, clip: Tensor, side: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Sample a gesture of one arm.

    Returns:
        (N, A) angles; (N, 3) contact point, held object and hand kind; (N,) bool mask of people
        with a gesture.
    """
    replaced = rng.bernoulli(f"gesture {side}", table.gesture_probability[clip])
    # Both arms often perform the same gesture.
    alike = rng.bernoulli("alike", 0.3)
    keys = torch.where(alike, rng.child("arms").keys, rng.child("arms", 1 + side).keys)
    kind = CounterRng(keys).choice("kind", table.gesture_weight)
    names = [f"{'lr'[side]}_{name}" for name in _ARM]
    columns = constant(tuple(COLUMN[n] for n in names), angles.device, torch.int64)
    low, high = (limit[columns] for limit in limits(angles.device))
    vary = rng.normal(f"arm noise {side}", len(_ARM)) * table.spread[columns]
    arm = table.gesture_angles[kind] + 0.7 * vary
    arm = torch.minimum(torch.maximum(arm, low), high)
    mixed = angles.index_copy(1, columns, torch.where(replaced[:, None], arm, angles[:, columns]))
    return mixed, table.gesture_attributes[kind], replaced


assert set(_ARM) <= set(LIMB_LIMITS)
