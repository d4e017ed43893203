"""A person's motion as an animated glTF file: skeleton, skin and key frames."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..body.skeleton import JOINT_NAMES, PARENTS, Rig, joint_turns, pelvis_places
from ..geometry.quaternions import continuous
from ..render.scene import srgb_to_linear, vertex_normals
from .motion import MotionStore
from .skin import Skin

_FLOAT, _USHORT, _UINT = 5126, 5123, 5125
_VERTEX_TARGET, _INDEX_TARGET = 34962, 34963
_STILL = ("left_eye_smplhf", "right_eye_smplhf")


def write_animated_glb(
    path: Path,
    name: str,
    rig: Rig,
    skin: Skin,
    color: np.ndarray,
    store: MotionStore,
    number: int,
) -> None:
    """Write one person with all key frames, at their true times in the video.

    Nodes have the names of `skeleton.JOINT_NAMES` below a node `name`; frame, units and rest pose
    are those of that module.  Between key frames programs go straight on.

    Args:
        path: replaced if it is there.
        name: of the person.
        rig: its rest pose.
        skin: its surface.
        color: (3,) uint8 sRGB.
        store: where the motion is.
        number: of the person's track.

    Raises:
        OSError: the file cannot be written.
    """
    track = store.tracks[number]
    layout = _Layout()
    _describe_skin(layout, skin, rig)
    keys = _describe_keys(layout, skin, track.count)
    bounds = store.times[[track.first_frame, track.last_frame]].astype(np.float32)
    layout.accessors[keys.times] |= {"min": [float(bounds[0])], "max": [float(bounds[1])]}
    text = json.dumps(_document(name, rig, skin, color, layout, keys), separators=(",", ":"))
    content = text.encode() + b" " * (-len(text.encode()) % 4)
    with path.open("wb") as file:
        size = 28 + len(content) + layout.size
        file.write(b"glTF" + np.array([2, size, len(content)], "<u4").tobytes() + b"JSON")
        file.write(content + np.array([layout.size], "<u4").tobytes() + b"BIN\0")
        start = file.tell()
        for offset, values in layout.contents:
            file.seek(start + offset)
            file.write(values.tobytes())
        file.truncate(size)
        _write_keys(file, start, layout, keys, rig, store, number)


@dataclass(frozen=True)
class _Keys:
    """Numbers of the accessors of an animation."""

    times: int
    places: int
    turns: dict[int, int]
    expressions: int | None


class _Layout:
    """Where the numbers of a file lie, as glTF describes it."""

    def __init__(self) -> None:
        self.size = 0
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []
        self.contents: list[tuple[int, np.ndarray]] = []

    def add(self, values: np.ndarray, kind: str, target: int | None = None) -> int:
        """Place an array; returns the number of its accessor."""
        component = {2: _USHORT, 4: _UINT}[values.itemsize]
        component = _FLOAT if values.dtype.kind == "f" else component
        self.contents.append((self.size, np.ascontiguousarray(values)))
        number = self.reserve(len(values), kind, values.nbytes, component, target)
        if kind == "VEC3":
            self.accessors[number]["min"] = values.min(0).astype(float).tolist()
            self.accessors[number]["max"] = values.max(0).astype(float).tolist()
        return number

    def offset(self, accessor: int) -> int:
        """Where the numbers of an accessor start."""
        return int(self.views[self.accessors[accessor]["bufferView"]]["byteOffset"])

    def reserve(
        self, count: int, kind: str, size: int, component: int = _FLOAT, target: int | None = None
    ) -> int:
        """Leave room for `count` elements; returns the number of the accessor."""
        view = {"buffer": 0, "byteOffset": self.size, "byteLength": size}
        if target is not None:
            view["target"] = target
        self.views.append(view)
        self.accessors.append(
            {
                "bufferView": len(self.views) - 1,
                "componentType": component,
                "count": count,
                "type": kind,
            }
        )
        self.size += size + -size % 4
        return len(self.accessors) - 1


def _describe_skin(layout: _Layout, skin: Skin, rig: Rig) -> None:
    """Accessors 0 to 5: places, normals, joints, weights, faces, bind matrices; 6 on: morphs."""
    normals = vertex_normals(skin.vertices[None], skin.faces)[0]
    layout.add(skin.vertices.astype(np.float32), "VEC3", _VERTEX_TARGET)
    layout.add(normals, "VEC3", _VERTEX_TARGET)
    layout.add(skin.joints, "VEC4", _VERTEX_TARGET)
    layout.add(skin.weights, "VEC4", _VERTEX_TARGET)
    layout.add(skin.faces.astype(np.uint32).reshape(-1), "SCALAR", _INDEX_TARGET)
    inverse = np.tile(np.eye(4, dtype=np.float32), (len(JOINT_NAMES), 1, 1))
    inverse[:, 3, :3] = -rig.joints  # glTF stores columns first
    layout.add(inverse.reshape(-1, 16), "MAT4")
    for change in skin.expressions:
        layout.add(change.astype(np.float32), "VEC3", _VERTEX_TARGET)


def _describe_keys(layout: _Layout, skin: Skin, count: int) -> _Keys:
    times = layout.reserve(count, "SCALAR", 4 * count)
    places = layout.reserve(count, "VEC3", 12 * count)
    turns = {joint: layout.reserve(count, "VEC4", 16 * count) for joint in _moving_joints()}
    expressions = None
    if many := len(skin.expressions):
        expressions = layout.reserve(count * many, "SCALAR", 4 * count * many)
    return _Keys(times, places, turns, expressions)


def _moving_joints() -> list[int]:
    return [joint for joint, name in enumerate(JOINT_NAMES) if name not in _STILL]


def _document(
    name: str, rig: Rig, skin: Skin, color: np.ndarray, layout: _Layout, keys: _Keys
) -> dict[str, Any]:
    """The text part; nodes 0 to 54 are the joints, 55 the surface, 56 holds the joints."""
    count = len(JOINT_NAMES)
    nodes: list[dict[str, Any]] = []
    for joint, joint_name in enumerate(JOINT_NAMES):
        parent = PARENTS[joint]
        away = rig.joints[joint] - (rig.joints[parent] if parent >= 0 else 0.0)
        node: dict[str, Any] = {"name": joint_name, "translation": away.tolist()}
        if children := [other for other, above in enumerate(PARENTS) if above == joint]:
            node["children"] = children
        nodes.append(node)
    nodes.append({"name": f"{name}_mesh", "mesh": 0, "skin": 0})
    nodes.append({"name": name, "children": [0]})
    primitive: dict[str, Any] = {
        "attributes": {"POSITION": 0, "NORMAL": 1, "JOINTS_0": 2, "WEIGHTS_0": 3},
        "indices": 4,
        "material": 0,
    }
    mesh: dict[str, Any] = {"name": name, "primitives": [primitive]}
    if many := len(skin.expressions):
        primitive["targets"] = [{"POSITION": 6 + index} for index in range(many)]
        mesh["weights"] = [0.0] * many
        mesh["extras"] = {"targetNames": [f"expression_{index + 1}" for index in range(many)]}
    tracks = [(0, "translation", keys.places)]
    tracks += [(joint, "rotation", accessor) for joint, accessor in keys.turns.items()]
    if keys.expressions is not None:
        tracks.append((count, "weights", keys.expressions))
    return {
        "asset": {"version": "2.0", "generator": "aios-demo"},
        "scene": 0,
        "scenes": [{"name": "track", "nodes": [count + 1, count]}],
        "nodes": nodes,
        "meshes": [mesh],
        "materials": [_material(name, color)],
        "skins": [{"joints": list(range(count)), "skeleton": 0, "inverseBindMatrices": 5}],
        "animations": [
            {
                "name": f"{name}_motion",
                "samplers": [{"input": keys.times, "output": output} for _, _, output in tracks],
                "channels": [
                    {"sampler": index, "target": {"node": node, "path": path}}
                    for index, (node, path, _) in enumerate(tracks)
                ],
            }
        ],
        "buffers": [{"byteLength": layout.size}],
        "bufferViews": layout.views,
        "accessors": layout.accessors,
    }


def _material(name: str, color: np.ndarray) -> dict[str, Any]:
    linear = srgb_to_linear(np.asarray(color, np.float32) / 255.0).tolist()
    return {
        "name": name,
        "pbrMetallicRoughness": {
            "baseColorFactor": [*linear, 1.0],
            "metallicFactor": 0.0,
            "roughnessFactor": 0.7,
        },
    }


def _write_keys(
    file: BinaryIO,
    start: int,
    layout: _Layout,
    keys: _Keys,
    rig: Rig,
    store: MotionStore,
    number: int,
) -> None:
    """Fill in the room that was left, some records at a time: each joint has a place of its own."""
    done = 0
    before: np.ndarray | None = None

    def put(accessor: int, values: np.ndarray, width: int) -> None:
        file.seek(start + layout.offset(accessor) + 4 * width * done)
        file.write(np.ascontiguousarray(values, "<f4").tobytes())

    for rows in store.track_chunks(number):
        turns = continuous(joint_turns(rig, rows), before)
        before = turns[-1]
        put(keys.times, store.times[rows["frame"]], 1)
        put(keys.places, pelvis_places(rig, rows), 3)
        for joint, accessor in keys.turns.items():
            put(accessor, turns[:, joint, [1, 2, 3, 0]], 4)
        if keys.expressions is not None:
            put(keys.expressions, rows["expression"], rows["expression"].shape[1])
        done += len(rows)
