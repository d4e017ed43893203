"""JSON of a photo, and the conventions that all JSON files state."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..body.joint_names import JOINTS_3D_NAMES
from ..body.parameters import SMPLX_NAMES
from ..geometry.camera import Camera
from ..prediction import Prediction
from .checks import check_finite

SCHEMA_VERSION = "1.1"
"""Of the JSON files; the major number changes when a field changes its meaning, the minor one when
a field is added."""
CONVENTIONS: dict[str, Any] = {
    "schema_version": SCHEMA_VERSION,
    "units": {"length": "metre", "angle": "radian", "image": "pixel"},
    "axes": "camera frame: x right, y down, z forward",
    "rotations": "axis-angle",
    "hand_pose": "relative to the mean hand of the body model (flat_hand_mean=False)",
    "joint_names": list(JOINTS_3D_NAMES),
}
"""Fields of every JSON file: version, units, axes, and names of `joints_3d`."""

_PIXEL_FIELDS = (
    "keypoints_2d_px",
    "left_hand_keypoints_2d_px",
    "right_hand_keypoints_2d_px",
    "face_keypoints_2d_px",
)
_BOX_FIELDS = {
    "box_xyxy_px": "boxes_xyxy_px",
    "left_hand_box_xyxy_px": "left_hand_boxes_xyxy_px",
    "right_hand_box_xyxy_px": "right_hand_boxes_xyxy_px",
    "face_box_xyxy_px": "face_boxes_xyxy_px",
}
_PIXEL_DECIMALS = 3
_METRE_DECIMALS = 5
_SCORE_DECIMALS = 4


def camera_to_json(camera: Camera) -> dict[str, Any]:
    """Image size and intrinsics."""
    return {
        "width": camera.width,
        "height": camera.height,
        "camera": {
            "focal_length_px": float(camera.focal_length),
            "principal_point_px": [float(value) for value in camera.principal_point],
        },
    }


def prediction_to_json(prediction: Prediction, photo_name: str) -> dict[str, Any]:
    """Convert a prediction to JSON values.

    Pixels are rounded to three decimals, parameters keep full float32 precision.  `id` starts at
    1 in the order of the scores, stays the same after `Prediction.select`, and matches the GLB node
    (`person_1`); `depth_order` is 1 for the nearest of these people.
    `schemas/photo.schema.json` describes every field.

    Args:
        prediction: of one photo.
        photo_name: file name of the photo.

    Raises:
        ExportError: a value is not finite.
    """
    check_finite(prediction)
    return {
        "photo": photo_name,  # first, so that earlier results are recognised by their start
        **CONVENTIONS,
        "weights": prediction.weights,
        "body": prediction.body,
        "refined": prediction.refined,
        **camera_to_json(prediction.camera),
        "focal_length_from": prediction.focal_length_from,
        "people": [_person_to_json(prediction, index) for index in prediction],
    }


def _person_to_json(prediction: Prediction, index: int) -> dict[str, Any]:
    people = prediction.people
    person_id = int(prediction.person_indices[index]) + 1
    person: dict[str, Any] = {"id": person_id, "score": _exact(people.scores[index])}
    for name, field in _BOX_FIELDS.items():
        person[name] = _rounded(getattr(people, field)[index])
    for name in _PIXEL_FIELDS:
        person[name] = _rounded(getattr(people, name)[index])
    person["keypoint_scores"] = _rounded(people.keypoint_scores[index], _SCORE_DECIMALS)
    person["depth_order"] = int(prediction.depth_order[index]) + 1
    for name in (*SMPLX_NAMES, "weak_camera"):
        person[name] = [_exact(value) for value in getattr(people, name)[index]]
    person["joints_3d"] = _rounded(prediction.joints_3d[index], _METRE_DECIMALS)
    return person


def _rounded(values: np.ndarray, decimals: int = _PIXEL_DECIMALS) -> list[Any]:
    return np.round(values.astype(np.float64), decimals).tolist()


def _exact(value: np.floating[Any]) -> float:
    """Shortest decimal number that rounds to this float32."""
    return float(str(np.float32(value)))
