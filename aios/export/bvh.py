"""BVH file of one person's motion, for Blender and other animation programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from ..body.kinematics import JOINT_NAMES, PARENTS, RestPose
from .motion import MotionStore
from .placement import AT_CAMERA, Placement
from .resample import resample

_ROTATION_CHANNELS = "Yrotation Xrotation Zrotation"
_END_SITE_SCALE = 0.5
"""Length of the last bone of a chain, relative to the bone before it."""


def write_bvh(
    path: Path,
    rest: RestPose,
    store: MotionStore,
    number: int,
    rate: float,
    placement: Placement = AT_CAMERA,
    bones: Sequence[str] = JOINT_NAMES,
) -> int:
    """Write the motion of one person at a constant frame rate; gaps are interpolated.

    Axes and rest pose are those of `body.kinematics`; lengths are metres, angles degrees.
    The first frame is the first frame of the person.  The pelvis has position and rotation, the
    other joints rotation only, in the order y, x, z (matrices multiply as Y X Z).

    Args:
        path: file to write; an existing file is replaced.
        rest: rest pose of the person.
        store: finished motion store.
        number: track number of the person.
        rate: frames per second.
        placement: of the camera, see `placement`.
        bones: names of the 55 joints, see `bone_names`.

    Returns:
        Number of frames.

    Raises:
        OSError: the file cannot be written.
    """
    frames = 0
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.write("HIERARCHY\n" + "\n".join(_hierarchy(rest, bones)) + "\nMOTION\n")
        header = file.tell()
        # The number of frames is known at the end: reserve ten digits.
        file.write(f"Frames: {0:10d}\nFrame Time: {1 / rate:.10f}\n")
        order = list(_depth_first(0))
        previous = np.zeros((1, len(order), 3))
        for samples in resample(rest, store, number, rate, placement):
            angles = euler_yxz(samples.rotations)[:, order]
            # Add full turns so that curves do not jump.
            angles = np.unwrap(np.concatenate([previous, angles]), period=360.0, axis=0)[1:]
            previous = angles[-1:]
            for position, frame_angles in zip(samples.pelvis, angles, strict=True):
                values = np.concatenate([position, frame_angles.reshape(-1)])
                file.write(_numbers(values) + "\n")
            frames += len(samples)
        file.seek(header)
        file.write(f"Frames: {frames:10d}\n")
    return frames


def euler_yxz(rotations: Rotation) -> np.ndarray:
    """Rotations (...) -> degrees (..., 3) about y, x and z, with R = Y X Z.

    In gimbal lock, z is 0.
    """
    return rotations.as_euler("YXZ", degrees=True, suppress_warnings=True)


def _children(joint: int) -> list[int]:
    return [child for child, parent in enumerate(PARENTS) if parent == joint]


def _depth_first(joint: int) -> Iterator[int]:
    """Joints in the order of the hierarchy, which is the order of the channels of a frame."""
    yield joint
    for child in _children(joint):
        yield from _depth_first(child)


def _hierarchy(
    rest: RestPose, bones: Sequence[str], joint: int = 0, depth: int = 0
) -> Iterator[str]:
    """Lines of a joint and its descendants."""
    indent, inner = "\t" * depth, "\t" * (depth + 1)
    is_root = depth == 0
    yield f"{indent}{'ROOT' if is_root else 'JOINT'} {bones[joint]}"
    yield indent + "{"
    # Programs add the offset to the position channels, which already hold the pelvis position.
    offset = np.zeros(3) if is_root else rest.joints[joint] - rest.joints[PARENTS[joint]]
    yield f"{inner}OFFSET {_numbers(offset)}"
    channels = "6 Xposition Yposition Zposition" if is_root else "3"
    yield f"{inner}CHANNELS {channels} {_ROTATION_CHANNELS}"
    for child in _children(joint):
        yield from _hierarchy(rest, bones, child, depth + 1)
    if not _children(joint):
        yield f"{inner}End Site"
        yield inner + "{"
        yield f"{inner}\tOFFSET {_numbers(_END_SITE_SCALE * offset)}"
        yield inner + "}"
    yield indent + "}"


def _numbers(values: np.ndarray) -> str:
    return " ".join(f"{value:.6f}" for value in values.tolist())
