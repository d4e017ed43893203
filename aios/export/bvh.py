"""A person's motion as a BVH file, for Blender and other animation programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..body.skeleton import JOINT_NAMES, PARENTS, Rig, joint_turns, pelvis_places
from ..geometry.quaternions import quaternion_to_rotmat, slerp
from .motion import MotionStore

_ROTATIONS = "Yrotation Xrotation Zrotation"
_LEAF_SHARE = 0.5


def write_bvh(path: Path, rig: Rig, store: MotionStore, number: int, rate: float) -> int:
    """Write the motion of one person in even steps; gaps are bridged evenly.

    Names, axes and rest pose are those of `skeleton`; lengths are metres, angles degrees.  The
    first step is the person's first frame.  The pelvis has a place and a turn, other joints a turn
    only, in the order y, x, z (the matrices multiply as Y X Z).

    Args:
        path: replaced if it is there.
        rig: of this person.
        store: where the motion is.
        number: of the person's track.
        rate: steps a second.

    Returns:
        Number of steps.

    Raises:
        OSError: the file cannot be written.
    """
    steps = 0
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.write("HIERARCHY\n" + "\n".join(_hierarchy(rig)) + "\nMOTION\n")
        place = file.tell()
        # The number of steps is known only at the end: room for ten digits.
        file.write(f"Frames: {0:10d}\nFrame Time: {1 / rate:.10f}\n")
        order = list(_depth_first(0))
        angles = np.zeros((len(order), 3))
        for places, turns in _even_steps(rig, store, number, rate):
            angles = _follow(euler_yxz(turns[order]), angles)
            file.write(_numbers(np.concatenate([places, angles.reshape(-1)])) + "\n")
            steps += 1
        file.seek(place)
        file.write(f"Frames: {steps:10d}\n")
    return steps


def _even_steps(
    rig: Rig, store: MotionStore, number: int, rate: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The motion at even steps: pelvis (3,) and turns (55, 4), straight on between records."""
    before: tuple[float, np.ndarray, np.ndarray] | None = None
    start, step = 0.0, 0
    for rows in store.track_chunks(number):
        places, turns = pelvis_places(rig, rows), joint_turns(rig, rows)
        times = store.times[rows["frame"]].tolist()
        for time, place, turn in zip(times, places, turns, strict=True):
            if before is None:
                start, before = time, (time, place, turn)
            while start + step / rate <= time + 1e-6:
                gone = time - before[0]
                share = 1.0 if gone <= 0 else (start + step / rate - before[0]) / gone
                share = min(max(share, 0.0), 1.0)
                yield before[1] + share * (place - before[1]), slerp(before[2], turn, share)
                step += 1
            before = (time, place, turn)


def euler_yxz(turns: np.ndarray) -> np.ndarray:
    """Quaternions (J, 4) -> degrees (J, 3) about y, x and z, with R = Y X Z."""
    m = quaternion_to_rotmat(turns)
    x = np.arcsin(np.clip(-m[:, 1, 2], -1.0, 1.0))
    # Straight up or down, y and z turn about one axis: all of it goes to y.
    locked = np.abs(m[:, 1, 2]) > 1 - 1e-9
    y = np.where(locked, np.arctan2(-m[:, 2, 0], m[:, 0, 0]), np.arctan2(m[:, 0, 2], m[:, 2, 2]))
    z = np.where(locked, 0.0, np.arctan2(m[:, 1, 0], m[:, 1, 1]))
    return np.degrees(np.stack([y, x, z], 1))


def _follow(angles: np.ndarray, before: np.ndarray) -> np.ndarray:
    """The same angles, full turns added so that curves do not jump."""
    return angles + 360.0 * np.round((before - angles) / 360.0)


def _children(joint: int) -> list[int]:
    return [other for other, parent in enumerate(PARENTS) if parent == joint]


def _depth_first(joint: int) -> Iterator[int]:
    """The order of the hierarchy, in which each step lists the joints' angles."""
    yield joint
    for child in _children(joint):
        yield from _depth_first(child)


def _hierarchy(rig: Rig, joint: int = 0, depth: int = 0) -> Iterator[str]:
    """The lines of a joint and of what hangs from it."""
    indent, inner = "\t" * depth, "\t" * (depth + 1)
    is_root = depth == 0
    yield f"{indent}{'ROOT' if is_root else 'JOINT'} {JOINT_NAMES[joint]}"
    yield indent + "{"
    # The pelvis has its place in every step: an offset would be added to it.
    away = np.zeros(3) if is_root else rig.joints[joint] - rig.joints[PARENTS[joint]]
    yield f"{inner}OFFSET {_numbers(away)}"
    places = "6 Xposition Yposition Zposition" if is_root else "3"
    yield f"{inner}CHANNELS {places} {_ROTATIONS}"
    for child in _children(joint):
        yield from _hierarchy(rig, child, depth + 1)
    if not _children(joint):
        yield f"{inner}End Site"
        yield inner + "{"
        yield f"{inner}\tOFFSET {_numbers(_LEAF_SHARE * away)}"
        yield inner + "}"
    yield indent + "}"


def _numbers(values: np.ndarray) -> str:
    return " ".join(f"{value:.6f}" for value in values.tolist())
