"""Files of one person of a photo: SMPL-X archive, rigged GLB, OBJ and PLY."""

from __future__ import annotations

import numpy as np

from ..body.kinematics import (
    CAMERA_TO_WORLD,
    build_rest_pose,
    local_rotations,
    pelvis_positions,
)
from ..prediction import Prediction
from ..render.colors import person_colors
from .bone_names import bone_names
from .placement import Placement
from .resample import MotionSamples
from .settings import ExportSettings
from .skin import build_skin
from .skinned_person import Character, character_to_glb
from .smplx_npz import sample_to_smplx


def person_files(
    prediction: Prediction, index: int, placement: Placement, settings: ExportSettings
) -> dict[str, bytes]:
    """Convert one person to the contents of their files.

    Args:
        prediction: of one photo.
        index: of the person in `prediction`.
        placement: of the camera, see `placement`.
        settings: body and options.

    Returns:
        Suffixes and contents: `_smplx.npz`, and as chosen by `settings.extras` `_rigged.glb` with
        skeleton and skin, `.obj` and `.ply`, all in the y-up world of `body.kinematics`.
    """
    person = prediction.people.select(slice(index, index + 1)).smplx_parameters()
    betas = person["betas"][0]
    rest = build_rest_pose(settings.body, betas, settings.from_official)
    pose = MotionSamples(
        placement.points(pelvis_positions(rest, person)),
        placement.rotations(local_rotations(rest, person)),
        person["expression"].astype(np.float64),
        np.zeros(1, bool),
    )
    names = {"weights": prediction.weights, "body": prediction.body}
    files = {"_smplx.npz": sample_to_smplx(rest, betas, pose, names)}
    if "rigged" in settings.extras:
        skin = build_skin(settings.body, betas, settings.from_official)
        number = prediction.person_indices[index]
        color = person_colors(np.array([number]))[0]
        bones = bone_names(settings.bones)
        character = Character(f"person_{number + 1}", rest, skin, color, bones)
        files["_rigged.glb"] = character_to_glb(character, pose)
    vertices = placement.points(prediction.vertices[index] * CAMERA_TO_WORLD)
    for kind in ("obj", "ply"):
        if kind in settings.extras:
            files[f".{kind}"] = _mesh_file(vertices, prediction.faces, kind)
    return files


def _mesh_file(vertices: np.ndarray, faces: np.ndarray, kind: str) -> bytes:
    """Mesh with vertex normals as OBJ text or binary PLY."""
    import trimesh

    mesh = trimesh.Trimesh(vertices, faces, process=False)
    if kind == "obj":
        return str(trimesh.exchange.obj.export_obj(mesh, include_normals=True)).encode()
    return bytes(trimesh.exchange.ply.export_ply(mesh, vertex_normal=True))
