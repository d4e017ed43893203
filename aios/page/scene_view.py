"""Scenes of the 3D viewer in `assets/viewer/`: people, camera and photo as JSON in an element."""

from __future__ import annotations

import json
from html import escape
from typing import Any

import numpy as np

from ..body.joint_names import JOINTS_3D_NAMES
from ..body.kinematics import CAMERA_TO_WORLD
from ..descriptions import person_name
from ..export.placement import AT_CAMERA, Placement, SceneBounds
from ..geometry.camera import Camera
from ..pipelines.video import VideoResult
from .photo_views import ViewOptions
from .results import PhotoResult
from .widgets import file_address

_PARTS = {
    "head": ("head",),
    "face": ("left_eye_smplhf", "right_eye_smplhf"),
    "left_hand": ("left_wrist", "left_middle1"),
    "right_hand": ("right_wrist", "right_middle1"),
}
"""Part of a person for close-ups -> joints in its middle."""
_EMPTY_BOX = ((-1.0, -1.0, -4.0), (1.0, 1.0, -2.0))
"""Box of a scene without people: low and high corner, metres, y up."""


def photo_scene_html(
    result: PhotoResult, options: ViewOptions, meshes: str, photo: str, key: str
) -> str:
    """Element with the people of a photo.

    Args:
        result: of the photo.
        options: hidden people are left out.
        meshes: path of the GLB of `photo_views.scene_view`.
        photo: path of the photo at screen size.
        key: the viewer keeps its settings between scenes of the same key.
    """
    prediction = result.prediction
    shown = options.shown(len(prediction))
    bounds = SceneBounds()
    bounds.add(prediction.vertices[shown])
    people = [
        {
            "number": index + 1,
            "name": person_name(index),
            "node": f"person_{index + 1}",
            "parts": _parts(prediction.joints_3d[index]),
        }
        for index in shown
    ]
    return _scene_html(
        {
            "key": key,
            "meshes": file_address(meshes),
            "photo": file_address(photo),
            "people": people,
            "camera": _camera_values(prediction.camera, AT_CAMERA),
            "box": _box(bounds, AT_CAMERA),
        }
    )


def video_scene_html(result: VideoResult) -> str:
    """Element with the moving people of a video; empty without people."""
    tracks = result.summary["tracks"]
    if not tracks:
        return ""
    people = [
        {
            "number": track["number"],
            "name": person_name(track["number"] - 1),
            "url": file_address(str(result.overlay.with_name(track["glb"]))),
            "first": track["first_second"],
            "last": track["last_second"],
        }
        for track in tracks
    ]
    return _scene_html(
        {
            "key": str(result.overlay),
            "video": file_address(str(result.overlay)),
            "seconds": result.summary["seconds"],
            "people": people,
            "camera": _camera_values(result.camera, result.placement),
            "box": _box(result.bounds, result.placement),
        }
    )


def _scene_html(scene: dict[str, Any]) -> str:
    text = escape(json.dumps(scene, allow_nan=False))
    return f'<div class="aios-viewer" data-scene="{text}"></div>'


def _parts(joints_3d: np.ndarray) -> dict[str, list[list[float]]]:
    points = joints_3d * CAMERA_TO_WORLD
    return {
        part: points[[JOINTS_3D_NAMES.index(name) for name in names]].tolist()
        for part, names in _PARTS.items()
    }


def _camera_values(camera: Camera, placement: Placement) -> dict[str, Any]:
    return {
        "position": placement.camera_position.tolist(),
        "rotation": placement.camera_rotation.as_quat().tolist(),
        "width": camera.width,
        "height": camera.height,
        "focal": float(camera.focal_length),
        "principal": np.asarray(camera.principal_point, float).tolist(),
    }


def _box(bounds: SceneBounds, placement: Placement) -> list[list[float]]:
    corners = bounds.corners()
    box = _EMPTY_BOX if corners is None else corners + placement.camera_position
    return np.asarray(box).tolist()
