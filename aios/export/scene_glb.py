"""Posed people as a binary glTF scene: one named, coloured node per person, camera, backdrop.

glTF is right-handed with y up: points are (x, -y, -z) of the camera frame, in metres, moved
by a placement.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..body.kinematics import CAMERA_TO_WORLD
from ..geometry.camera import Camera
from ..render.scene import NEAR, vertex_normals
from .glb import INDEX_TARGET, VERTEX_TARGET, GlbBuilder
from .placement import AT_CAMERA, Placement

_BACKDROP_MARGIN = 1.05
"""Distance of the backdrop relative to the farthest vertex."""
_EMPTY_BACKDROP_M = 5.0
_TEXTURE_SIDE_PX = 2048
_JPEG_QUALITY = 90
_CLAMP_TO_EDGE = 33071


@dataclass(frozen=True)
class SceneCamera:
    """Camera of a scene, and its photo.

    Attributes:
        camera: camera of the photo.
        photo: (H, W, 3) uint8 RGB, added as a plane behind the people; None for no plane.
    """

    camera: Camera
    photo: np.ndarray | None = None


def people_to_glb(
    vertices: np.ndarray,
    faces: np.ndarray,
    names: Sequence[str],
    colors: np.ndarray,
    view: SceneCamera | None = None,
    placement: Placement = AT_CAMERA,
) -> bytes:
    """Write posed meshes as binary glTF, one node per person, with smooth normals.

    Args:
        vertices: (P, V, 3) finite, metres, camera frame.
        faces: (F, 3) vertex indices, shared by all people.
        names: P node names.
        colors: (P, 3) uint8 sRGB.
        view: camera to add; None for no camera.
        placement: of the camera, see `placement`.
    """
    builder = GlbBuilder()
    if len(vertices):
        points = placement.points(vertices * CAMERA_TO_WORLD).astype(np.float32)
        normals = vertex_normals(points, faces)
        triangles = np.asarray(faces).astype(np.uint32).reshape(-1)
        indices = builder.add_array(triangles, "SCALAR", INDEX_TARGET)
        for person, name in enumerate(names):
            attributes = {
                "POSITION": builder.add_array(points[person], "VEC3", VERTEX_TARGET),
                "NORMAL": builder.add_array(normals[person], "VEC3", VERTEX_TARGET),
            }
            material = builder.add_material(name, colors[person])
            primitive = {"attributes": attributes, "indices": indices, "material": material}
            mesh = builder.add("meshes", name=name, primitives=[primitive])
            builder.add_root(builder.add("nodes", name=name, mesh=mesh))
    if view is not None:
        add_view(builder, view, placement, float(vertices[..., 2].max(initial=0.0)))
    return builder.to_bytes()


def add_view(builder: GlbBuilder, view: SceneCamera, placement: Placement, farthest: float) -> None:
    """Add the node "camera" and, with a photo, the node "photo".

    glTF cameras have no principal point: off-centre ones are replaced by the image centre for the
    camera, but not for the photo plane.

    Args:
        builder: to add to.
        view: camera and photo.
        placement: of the camera.
        farthest: largest distance of a vertex along the optical axis, metres.
    """
    camera = view.camera
    perspective = {
        "yfov": 2 * math.atan(camera.height / (2 * camera.focal_length)),
        "aspectRatio": camera.width / camera.height,
        "znear": NEAR,
    }
    lens = builder.add("cameras", name="camera", type="perspective", perspective=perspective)
    node = builder.add(
        "nodes",
        name="camera",
        camera=lens,
        translation=placement.camera_position.tolist(),
        rotation=placement.camera_rotation.as_quat().tolist(),
    )
    builder.add_root(node)
    if view.photo is not None:
        distance = farthest * _BACKDROP_MARGIN if farthest > NEAR else _EMPTY_BACKDROP_M
        _add_backdrop(builder, camera, view.photo, distance, placement)


def _add_backdrop(
    builder: GlbBuilder,
    camera: Camera,
    photo: np.ndarray,
    distance: float,
    placement: Placement,
) -> None:
    """Add an unlit plane with the photo that fills the view at `distance` metres."""
    width, height = camera.width, camera.height
    pixels = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float64)
    rays = (pixels - camera.principal_point) / camera.focal_length
    corners = np.concatenate([rays, np.ones((4, 1))], 1) * distance * CAMERA_TO_WORLD
    corners = placement.points(corners)
    texture_coordinates = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float32)
    # Counter-clockwise seen from the camera.
    triangles = np.array([0, 3, 2, 0, 2, 1], np.uint32)
    image = builder.add_image(_encode_jpeg(photo), "image/jpeg")
    sampler = builder.add("samplers", wrapS=_CLAMP_TO_EDGE, wrapT=_CLAMP_TO_EDGE)
    texture = builder.add("textures", source=image, sampler=sampler)
    builder.document["extensionsUsed"] = ["KHR_materials_unlit"]
    material = builder.add(
        "materials",
        name="photo",
        pbrMetallicRoughness={
            "baseColorTexture": {"index": texture},
            "metallicFactor": 0.0,
            "roughnessFactor": 1.0,
        },
        extensions={"KHR_materials_unlit": {}},
    )
    primitive = {
        "attributes": {
            "POSITION": builder.add_array(corners.astype(np.float32), "VEC3", VERTEX_TARGET),
            "TEXCOORD_0": builder.add_array(texture_coordinates, "VEC2", VERTEX_TARGET),
        },
        "indices": builder.add_array(triangles, "SCALAR", INDEX_TARGET),
        "material": material,
    }
    mesh = builder.add("meshes", name="photo", primitives=[primitive])
    builder.add_root(builder.add("nodes", name="photo", mesh=mesh))


def _encode_jpeg(photo: np.ndarray) -> bytes:
    """Encode RGB as JPEG with a long side of at most `_TEXTURE_SIDE_PX`."""
    scale = _TEXTURE_SIDE_PX / max(photo.shape[:2])
    if scale < 1:
        size = tuple(max(1, round(side * scale)) for side in photo.shape[1::-1])
        photo = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    return bytes(cv2.imencode(".jpg", cv2.cvtColor(photo, cv2.COLOR_RGB2BGR), options)[1])
