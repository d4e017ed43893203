"""Animated glTF file of one person's motion: skeleton, skin and key frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..body.kinematics import JOINT_NAMES, RestPose, local_rotations, pelvis_positions
from .glb import GlbBuilder
from .motion import MotionStore
from .placement import AT_CAMERA, Placement
from .skinned_person import Character, add_character

_STATIC_JOINTS = ("left_eye_smplhf", "right_eye_smplhf")
_ANIMATED_JOINTS = [i for i, name in enumerate(JOINT_NAMES) if name not in _STATIC_JOINTS]


def write_animated_glb(
    path: Path,
    character: Character,
    store: MotionStore,
    number: int,
    placement: Placement = AT_CAMERA,
) -> None:
    """Write one person with a key frame per record, at the times of the video frames.

    For the nodes see `add_character`; frame, units and rest pose are those of `body.kinematics`.
    Programs interpolate linearly between key frames. The extras of the asset say what positions
    are relative to.

    Args:
        path: file to write; an existing file is replaced.
        character: the person.
        store: finished motion store.
        number: track number of the person.
        placement: of the camera, see `placement`.

    Raises:
        OSError: the file cannot be written.
    """
    track = store.tracks[number]
    builder = GlbBuilder()
    builder.document["asset"]["extras"] = {"space": store.space}
    add_character(builder, character)
    keys = _add_animation(builder, character, track.count)
    times = store.times[[track.first_frame, track.last_frame]].astype(np.float32)
    builder.set_bounds(keys.times, times[:1], times[1:])
    with path.open("wb") as file:
        start = builder.write(file)
        target = _KeyTarget(file, start, builder, keys)
        _write_keys(target, character.rest, store, number, placement)


@dataclass(frozen=True)
class _KeyAccessors:
    """Accessor indices of the key frames.

    Attributes:
        times: (T,) seconds.
        positions: (T, 3) of the pelvis.
        rotations: joint index -> (T, 4) quaternions x, y, z, w.
        expressions: (T * E,) morph weights; None without expressions.
    """

    times: int
    positions: int
    rotations: dict[int, int]
    expressions: int | None


def _add_animation(builder: GlbBuilder, character: Character, count: int) -> _KeyAccessors:
    """Reserve space for `count` key frames and append the animation."""
    expressions = len(character.skin.expressions)
    keys = _KeyAccessors(
        times=builder.reserve(count, "SCALAR"),
        positions=builder.reserve(count, "VEC3"),
        rotations={joint: builder.reserve(count, "VEC4") for joint in _ANIMATED_JOINTS},
        expressions=builder.reserve(count * expressions, "SCALAR") if expressions else None,
    )
    tracks = [(0, "translation", keys.positions)]
    tracks += [(joint, "rotation", accessor) for joint, accessor in keys.rotations.items()]
    if keys.expressions is not None:
        tracks.append((len(JOINT_NAMES), "weights", keys.expressions))
    builder.add(
        "animations",
        name=f"{character.name}_motion",
        samplers=[{"input": keys.times, "output": output} for _, _, output in tracks],
        channels=[
            {"sampler": index, "target": {"node": node, "path": path}}
            for index, (node, path, _) in enumerate(tracks)
        ],
    )
    return keys


@dataclass(frozen=True)
class _KeyTarget:
    """File with reserved key frames.

    Attributes:
        file: open file.
        start: position of the buffer in the file.
        builder: document of the file.
        keys: the reserved accessors.
    """

    file: BinaryIO
    start: int
    builder: GlbBuilder
    keys: _KeyAccessors

    def put(self, accessor: int, first: int, values: np.ndarray) -> None:
        """Write the values of key frames from `first` on: (T,) or (T, width) numbers."""
        stride = 4 * int(np.prod(values.shape[1:]))
        self.file.seek(self.start + self.builder.offset(accessor) + stride * first)
        self.file.write(np.ascontiguousarray(values, "<f4").tobytes())


def _write_keys(
    target: _KeyTarget, rest: RestPose, store: MotionStore, number: int, placement: Placement
) -> None:
    """Fill the reserved accessors chunk by chunk, so that memory stays bounded."""
    keys, done = target.keys, 0
    previous: np.ndarray | None = None
    for rows in store.track_chunks(number):
        rotations = placement.rotations(local_rotations(rest, rows))
        quaternions = align_signs(rotations.as_quat(), previous)
        previous = quaternions[-1]
        target.put(keys.times, done, store.times[rows["frame"]])
        target.put(keys.positions, done, placement.points(pelvis_positions(rest, rows)))
        for joint, accessor in keys.rotations.items():
            target.put(accessor, done, quaternions[:, joint])
        if keys.expressions is not None:
            target.put(keys.expressions, done, rows["expression"])
        done += len(rows)


def align_signs(quaternions: np.ndarray, previous: np.ndarray | None = None) -> np.ndarray:
    """Choose the signs of quaternions so that consecutive ones are close.

    q and -q are the same rotation, but linear interpolation between them is not.

    Args:
        quaternions: (T, ..., 4) consecutive key frames.
        previous: (..., 4) the key frame before the first one.

    Returns:
        (T, ..., 4) the same rotations.
    """
    signs = np.ones_like(quaternions[..., 0])
    signs[1:] = np.sign((quaternions[1:] * quaternions[:-1]).sum(-1))
    if previous is not None and len(quaternions):
        signs[0] = np.sign((quaternions[0] * previous).sum(-1))
    signs[signs == 0] = 1.0
    return quaternions * np.cumprod(signs, 0)[..., None]
