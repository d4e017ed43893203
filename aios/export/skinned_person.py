"""Skinned person in a glTF document: surface, skeleton and pose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..body.kinematics import JOINT_NAMES, PARENTS, RestPose
from ..render.scene import vertex_normals
from .glb import INDEX_TARGET, VERTEX_TARGET, GlbBuilder
from .resample import MotionSamples
from .skin import Skin


@dataclass(frozen=True)
class Character:
    """A person as a rig.

    Attributes:
        name: of the person.
        rest: rest pose.
        skin: surface.
        color: (3,) uint8 sRGB.
        bones: names of the 55 joints, see `bone_names`.
    """

    name: str
    rest: RestPose
    skin: Skin
    color: np.ndarray
    bones: Sequence[str] = JOINT_NAMES


def character_to_glb(character: Character, pose: MotionSamples) -> bytes:
    """Write a posed, skinned person as binary glTF; `pose` is one sample."""
    builder = GlbBuilder()
    add_character(builder, character, pose)
    return builder.to_bytes()


def add_character(
    builder: GlbBuilder, character: Character, pose: MotionSamples | None = None
) -> None:
    """Append a person to an empty document.

    Nodes 0 to 54 are the joints, 55 is the surface `NAME_mesh`, 56 the parent of the joints with
    the name of the person.

    Args:
        builder: of the document.
        character: the person.
        pose: one sample; None for the rest pose.
    """
    expressions = None if pose is None else pose.expression[0].tolist()
    mesh = _add_mesh(builder, character, expressions)
    rest, name = character.rest, character.name
    for joint, bone in enumerate(character.bones):
        parent = PARENTS[joint]
        offset = rest.joints[joint] - (rest.joints[parent] if parent >= 0 else 0.0)
        node: dict[str, Any] = {"name": bone, "translation": offset.tolist()}
        if pose is not None:
            node["rotation"] = pose.rotations.as_quat()[0, joint].tolist()
            if parent < 0:
                node["translation"] = pose.pelvis[0].tolist()
        children = [child for child, above in enumerate(PARENTS) if above == joint]
        links = {"children": children} if children else {}
        builder.add("nodes", **node, **links)
    inverse = np.tile(np.eye(4, dtype=np.float32), (len(JOINT_NAMES), 1, 1))
    inverse[:, 3, :3] = -rest.joints  # glTF matrices are column-major
    bind = builder.add_array(inverse.reshape(-1, 16), "MAT4")
    joints = list(range(len(JOINT_NAMES)))
    skin = builder.add("skins", joints=joints, skeleton=0, inverseBindMatrices=bind)
    surface = builder.add("nodes", name=f"{name}_mesh", mesh=mesh, skin=skin)
    builder.add_root(builder.add("nodes", name=name, children=[0]))
    builder.add_root(surface)  # glTF ignores the parent transforms of a skinned mesh


def _add_mesh(builder: GlbBuilder, character: Character, expressions: list[float] | None) -> int:
    """Append the skinned surface in the rest pose; returns the mesh index."""
    skin, name = character.skin, character.name
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
        "material": builder.add_material(name, character.color),
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
        weights=[0.0] * count if expressions is None else expressions,
        extras={"targetNames": labels},
    )
