"""Annotation of one image, and its conversion to `Targets`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ..joints import BODY_JOINTS, FACE_JOINTS, LEFT_HAND_JOINTS, RIGHT_HAND_JOINTS
from ..targets import Targets, joint_keypoints, mirrorable
from .sets import DataSet

PARTS = ("left_hand", "right_hand", "face")
_JOINTS_OF = {
    "body": BODY_JOINTS,
    "left_hand": LEFT_HAND_JOINTS,
    "right_hand": RIGHT_HAND_JOINTS,
    "face": FACE_JOINTS,
}
PARAMETERS = {
    "global_orient": 3,
    "body_pose": 63,
    "left_hand_pose": 45,
    "right_hand_pose": 45,
    "jaw_pose": 3,
    "betas": 10,
    "expression": 10,
    "transl": 3,
}
"""Body parameters, fields of `Targets` -> size per person."""
_MIN_BOX_PX = 1.0


@dataclass(frozen=True)
class Annotation:
    """Annotation of the n people of one image, in pixels of the image file."""

    image: str
    """Path relative to the image folder."""
    size_wh: tuple[int, int]
    boxes: dict[str, np.ndarray]
    """"body", "left_hand", "right_hand", "face" -> (n, 4) x, y, w, h in pixels; not clipped."""
    part_valid: dict[str, np.ndarray]
    """"left_hand", "right_hand", "face" -> (n,) bool."""
    joints_2d: np.ndarray
    """(n, 144, 3) x, y, confidence."""
    joints_3d: np.ndarray | None
    """(n, 144, 4) metres in the camera frame, confidence."""
    parameters: dict[str, np.ndarray]
    """`PARAMETERS` -> (n, size); hand poses relative to the mean hand."""
    smplx_valid: np.ndarray
    """(n,) bool."""
    betas_valid: np.ndarray
    """(n,) bool, in addition to `smplx_valid`."""
    expression_valid: np.ndarray
    """(n,) bool, in addition to `smplx_valid`."""
    gender: np.ndarray
    """(n,) -1 neutral, 0 male, 1 female."""
    occlusion: np.ndarray
    """(n,) occluded percentage; 0 if unknown."""
    scaled: bool = False
    """True if the boxes already include the scales of the data set."""


def clip_boxes(
    boxes_xywh: np.ndarray, size_wh: ArrayLike, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """Scale boxes about their centres and clip them to the image.

    Args:
        boxes_xywh: (n, 4) x, y, w, h in pixels.
        size_wh: (2,) size of the image, or (n, 2) sizes of the image of each box.
        scale: factor of both sides.

    Returns:
        (n, 4) x1, y1, x2, y2 in pixels, and (n,) bool, True if more than a pixel is left.
    """
    boxes = boxes_xywh.astype(np.float64)
    centre, half = boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:] * (scale / 2)
    size = np.asarray(size_wh, np.float64)
    low, high = np.clip(centre - half, 0, size), np.clip(centre + half, 0, size)
    possible = np.logical_and(boxes[:, 2:] > 0, high - low > _MIN_BOX_PX)
    return np.concatenate([low, high], 1), np.logical_and(possible[:, 0], possible[:, 1])


def annotation_targets(annotation: Annotation, data_set: DataSet) -> Targets:
    """Convert to targets, normalised by the image size; people with an empty box are dropped."""
    corners, possible = _boxes(annotation, data_set, "body")
    count = len(corners)
    shown = annotation.occlusion < data_set.max_occlusion
    finite = np.all([np.isfinite(v).all(1) for v in annotation.parameters.values()], axis=0)
    known = annotation.smplx_valid & shown & finite
    valid = {part: annotation.part_valid[part] & known for part in PARTS}
    gate = _gate(known, valid) if data_set.parts_gate_joints else np.ones((count, 144), bool)
    gate &= shown[:, None]
    values: dict[str, Any] = {
        "boxes": _to_targets(corners),
        "box_valid": torch.from_numpy(possible),
        "smplx_valid": torch.from_numpy(known),
        "betas_valid": torch.from_numpy(annotation.betas_valid),
        "expression_valid": torch.from_numpy(annotation.expression_valid & valid["face"]),
        "jaw_pose_valid": torch.from_numpy(valid["face"]),
        "gender": torch.from_numpy(annotation.gender.astype(np.int64)),
        "visible_share": torch.from_numpy((1 - annotation.occlusion / 100).astype(np.float32)),
    }
    for part in PARTS:
        part_corners, part_possible = _boxes(annotation, data_set, part)
        values[f"{part}_boxes"] = _to_targets(part_corners)
        values[f"{part}_box_valid"] = torch.from_numpy(valid[part] & part_possible)
        if part != "face":
            values[f"{part}_pose_valid"] = torch.from_numpy(valid[part])
    values |= _parameters(annotation, known)
    values |= _joints(annotation, data_set, gate)
    whole = replace(Targets.unannotated(count, ignore_unmatched=data_set.unlisted_people), **values)
    return whole.select(torch.from_numpy(possible))


def _boxes(annotation: Annotation, data_set: DataSet, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Normalised corners (n, 4), and (n,) bool, True for usable boxes."""
    scale = data_set.box_scale if part == "body" else data_set.part_scale
    scale = 1.0 if annotation.scaled else scale
    boxes = annotation.boxes[part]
    finite = np.isfinite(boxes).all(1)
    boxes = np.where(finite[:, None], boxes, 0.0)
    corners, possible = clip_boxes(boxes, annotation.size_wh, scale)
    return corners / np.tile(annotation.size_wh, 2), np.logical_and(possible, finite)


def _to_targets(corners: np.ndarray) -> Tensor:
    low, high = torch.from_numpy(corners).split(2, -1)
    return torch.cat([mirrorable((low + high) / 2), (high - low).float()], -1)


def _gate(body: np.ndarray, valid: dict[str, np.ndarray]) -> np.ndarray:
    """(n, 144) bool, True for joints of valid parts."""
    gate = np.zeros((len(body), 144), bool)
    for part, joints in reversed(_JOINTS_OF.items()):
        gate[:, list(joints)] = (body if part == "body" else valid[part])[:, None]
    return gate


def _parameters(annotation: Annotation, known: np.ndarray) -> dict[str, Tensor]:
    """Parameters, exactly 0 where unknown, so that no NaN reaches a loss."""
    return {
        name: torch.from_numpy(np.where(known[:, None], values, 0.0).astype(np.float32))
        for name, values in annotation.parameters.items()
    }


def _joints(annotation: Annotation, data_set: DataSet, gate: np.ndarray) -> dict[str, Tensor]:
    points, confidence = _split(annotation.joints_2d, gate)
    joints_2d = mirrorable(points / torch.tensor(annotation.size_wh))
    values = joint_keypoints(joints_2d, confidence) | {"joints_2d": joints_2d}
    if annotation.joints_3d is not None:
        joints_3d, confidence_3d = _split(annotation.joints_3d, gate)
        values["joints_3d"] = joints_3d.float()
        chosen = confidence if data_set.confidence_3d_from_2d else confidence_3d
        values["joints_3d_confidence"] = chosen
        values["joints_3d_valid"] = (chosen > 0).any(1) & data_set.joints_3d
    return values


def _split(joints: np.ndarray, gate: np.ndarray) -> tuple[Tensor, Tensor]:
    """Coordinates (n, 144, 2 or 3), 0 where not finite, and confidence (n, 144)."""
    finite = np.isfinite(joints).all(-1)
    joints = np.where(finite[..., None], joints, 0.0)
    confidence = joints[..., -1].clip(0, 1) * gate
    return torch.from_numpy(joints[..., :-1]), torch.from_numpy(confidence.astype(np.float32))
