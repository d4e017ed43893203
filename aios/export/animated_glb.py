"""Animated glTF file of one person's motion: skeleton, skin and key frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..body.kinematics import (
    JOINT_NAMES,
    PARENTS,
    RestPose,
    local_rotations,
    pelvis_positions,
)
from ..render.scene import vertex_normals
from .glb import INDEX_TARGET, VERTEX_TARGET, GlbBuilder
from .motion import MotionStore
from .placement import AT_CAMERA
from .skin import Skin

_STATIC_JOINTS = ("left_eye_smplhf", "right_eye_smplhf")
_ANIMATED_JOINTS = [i for i, name in enumerate(JOINT_NAMES) if name not in _STATIC_JOINTS]


def write_animated_glb(
    path: Path,
    name: str,
    rest: RestPose,
    skin: Skin,
    color: np.ndarray,
    store: MotionStore,
    number: int,
    offset: np.ndarray = AT_CAMERA,
) -> None:
    """Write one person with a key frame per record, at the times of the video frames.

    Nodes have the names of `JOINT_NAMES`, below a node `name`.  Frame, units and rest pose are
    those of `body.kinematics`.  Programs interpolate linearly between key frames.

    Args:
        path: file to write; an existing file is replaced.
        name: of the person.
        rest: rest pose of the person.
        skin: surface of the person.
        color: (3,) uint8 sRGB.
        store: finished motion store.
        number: track number of the person.
        offset: (3,) metres, y up, added to all positions, see `placement`.

    Raises:
        OSError: the file cannot be written.
    """
    track = store.tracks[number]
    builder = GlbBuilder()
    mesh = _add_mesh(builder, name, skin, color)
    _add_nodes(builder, name, rest, mesh)
    keys = _add_animation(builder, name, len(skin.expressions), track.count)
    times = store.times[[track.first_frame, track.last_frame]].astype(np.float32)
    builder.set_bounds(keys.times, times[:1], times[1:])
    with path.open("wb") as file:
        start = builder.write(file)
        target = _KeyTarget(file, start, builder, keys)
        _write_keys(target, rest, store, number, offset)


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


def _add_mesh(builder: GlbBuilder, name: str, skin: Skin, color: np.ndarray) -> int:
    """Append the skinned surface in the rest pose; returns the mesh index."""
    normals = vertex_normals(skin.vertices[None], skin.faces)[0]
    indices = skin.faces.astype(np.uint32).reshape(-1)
    primitive: dict[str, Any] = {
        "attributes": {
            "POSITION": builder.add_array(skin.vertices, "VEC3", VERTEX_TARGET),
            "NORMAL": builder.add_array(normals, "VEC3", VERTEX_TARGET),
            "JOINTS_0": builder.add_array(skin.joints, "VEC4", VERTEX_TARGET),
            "WEIGHTS_0": builder.add_array(skin.weights, "VEC4", VERTEX_TARGET),
        },
        "indices": builder.add_array(indices, "SCALAR", INDEX_TARGET),
        "material": builder.add_material(name, color),
    }
    if not len(skin.expressions):
        return builder.add("meshes", name=name, primitives=[primitive])
    primitive["targets"] = [
        {"POSITION": builder.add_array(offsets, "VEC3", VERTEX_TARGET)}
        for offsets in skin.expressions
    ]
    count = len(skin.expressions)
    labels = [f"expression_{index + 1}" for index in range(count)]
    return builder.add(
        "meshes",
        name=name,
        primitives=[primitive],
        weights=[0.0] * count,
        extras={"targetNames": labels},
    )


def _add_nodes(builder: GlbBuilder, name: str, rest: RestPose, mesh: int) -> None:
    """Append nodes 0 to 54 for the joints, 55 for the surface, 56 as the parent of the joints."""
    for joint, joint_name in enumerate(JOINT_NAMES):
        parent = PARENTS[joint]
        offset = rest.joints[joint] - (rest.joints[parent] if parent >= 0 else 0.0)
        children = [child for child, above in enumerate(PARENTS) if above == joint]
        links = {"children": children} if children else {}
        builder.add("nodes", name=joint_name, translation=offset.tolist(), **links)
    inverse = np.tile(np.eye(4, dtype=np.float32), (len(JOINT_NAMES), 1, 1))
    inverse[:, 3, :3] = -rest.joints  # glTF matrices are column-major
    bind = builder.add_array(inverse.reshape(-1, 16), "MAT4")
    joints = list(range(len(JOINT_NAMES)))
    skin = builder.add("skins", joints=joints, skeleton=0, inverseBindMatrices=bind)
    surface = builder.add("nodes", name=f"{name}_mesh", mesh=mesh, skin=skin)
    builder.add_root(builder.add("nodes", name=name, children=[0]))
    builder.add_root(surface)  # glTF ignores the parent transforms of a skinned mesh


def _add_animation(builder: GlbBuilder, name: str, expressions: int, count: int) -> _KeyAccessors:
    """Reserve space for `count` key frames and append the animation."""
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
        name=f"{name}_motion",
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
    target: _KeyTarget, rest: RestPose, store: MotionStore, number: int, offset: np.ndarray
) -> None:
    """Fill the reserved accessors chunk by chunk, so that memory stays bounded."""
    keys, done = target.keys, 0
    previous: np.ndarray | None = None
    for rows in store.track_chunks(number):
        quaternions = align_signs(local_rotations(rest, rows).as_quat(), previous)
        previous = quaternions[-1]
        target.put(keys.times, done, store.times[rows["frame"]])
        target.put(keys.positions, done, pelvis_positions(rest, rows) + offset)
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
