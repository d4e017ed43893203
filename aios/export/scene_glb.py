"""Posed people as a binary glTF scene with one named, coloured node per person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..body.kinematics import CAMERA_TO_WORLD
from ..render.scene import vertex_normals
from .glb import INDEX_TARGET, LINES, VERTEX_TARGET, GlbBuilder


@dataclass(frozen=True)
class MeshStyle:
    """Appearance of the meshes.

    Attributes:
        opacity: 0-1.
        wireframe: draw the edges of the triangles instead of the surface.
    """

    opacity: float = 1.0
    wireframe: bool = False


SOLID = MeshStyle()
"""Opaque surfaces."""


def people_to_glb(
    vertices: np.ndarray,
    faces: np.ndarray,
    names: Sequence[str],
    colors: np.ndarray,
    style: MeshStyle = SOLID,
) -> bytes:
    """Write posed meshes as binary glTF, one node per person.

    glTF is right-handed with y up: points are (x, -y, -z) of the camera frame, with the camera at
    the origin looking along -z.  Normals are smooth.

    Args:
        vertices: (P, V, 3) finite, metres, camera frame.
        faces: (F, 3) vertex indices, shared by all people.
        names: P node names.
        colors: (P, 3) uint8 sRGB.
        style: appearance of all meshes.
    """
    builder = GlbBuilder()
    if len(vertices):
        points = (vertices * CAMERA_TO_WORLD).astype(np.float32)
        normals = vertex_normals(points, faces)
        topology = _edges(faces) if style.wireframe else np.asarray(faces)
        indices = builder.add_array(topology.astype(np.uint32).reshape(-1), "SCALAR", INDEX_TARGET)
        mode = {"mode": LINES} if style.wireframe else {}
        for person, name in enumerate(names):
            attributes = {
                "POSITION": builder.add_array(points[person], "VEC3", VERTEX_TARGET),
                "NORMAL": builder.add_array(normals[person], "VEC3", VERTEX_TARGET),
            }
            material = builder.add_material(name, colors[person], style.opacity)
            primitive = {"attributes": attributes, "indices": indices, "material": material, **mode}
            mesh = builder.add("meshes", name=name, primitives=[primitive])
            builder.add_root(builder.add("nodes", name=name, mesh=mesh))
    return builder.to_bytes()


def _edges(faces: np.ndarray) -> np.ndarray:
    """(F, 3) triangles -> (E, 2) edges, each once."""
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    return np.unique(np.sort(pairs, 1), axis=0)
