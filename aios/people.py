"""People of one photo: network outputs in photo pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import torch
from torch import Tensor

from .body.parameters import SMPLX_NAMES, SMPLX_SIZES
from .geometry.boxes import cxcywh_to_xyxy, nms
from .geometry.camera import weak_camera_to_transl
from .geometry.rotations import rotmat_to_axis_angle
from .network.config import (
    NUM_BODY_KEYPOINTS,
    NUM_FACE_KEYPOINTS,
    NUM_HAND_KEYPOINTS,
)
from .network.outputs import LayerOutput
from .network.score_calibration import ScoreCalibration

FIELD_SHAPES: dict[str, tuple[int, ...]] = {
    "scores": (),
    "query_indices": (),
    "boxes_xyxy_px": (4,),
    "left_hand_boxes_xyxy_px": (4,),
    "right_hand_boxes_xyxy_px": (4,),
    "face_boxes_xyxy_px": (4,),
    "keypoints_2d_px": (17, 2),
    "keypoint_scores": (17,),
    "left_hand_keypoints_2d_px": (6, 2),
    "right_hand_keypoints_2d_px": (6, 2),
    "face_keypoints_2d_px": (6, 2),
    **{name: (size,) for name, size in SMPLX_SIZES.items()},
    "weak_camera": (3,),
}
"""Shape of each field of `People` for one person."""


@dataclass(frozen=True)
class People:
    """P people of one photo, best score first.  Arrays are float32 unless stated otherwise.

    Boxes (x1, y1, x2, y2) and keypoints (x, y) are in photo pixels and may lie outside the photo.
    Keypoints are NaN if the network has no point tokens.  Rotations are axis-angle in radians.  P
    may be 0.
    """

    scores: np.ndarray
    """(P,) 0-1, score of the person class, calibrated by `ScoreCalibration` of the weights."""
    query_indices: np.ndarray
    """(P,) int64, query index in the network output."""
    boxes_xyxy_px: np.ndarray
    """(P, 4)"""
    left_hand_boxes_xyxy_px: np.ndarray
    """(P, 4)"""
    right_hand_boxes_xyxy_px: np.ndarray
    """(P, 4)"""
    face_boxes_xyxy_px: np.ndarray
    """(P, 4)"""
    keypoints_2d_px: np.ndarray
    """(P, 17, 2) in COCO order."""
    keypoint_scores: np.ndarray
    """(P, 17) 0-1, how clearly each keypoint is seen; 1 if the network has no keypoint maps."""
    left_hand_keypoints_2d_px: np.ndarray
    """(P, 6, 2) wrist, then the tips of thumb, index, middle, ring, pinky."""
    right_hand_keypoints_2d_px: np.ndarray
    """(P, 6, 2) same order as the left hand."""
    face_keypoints_2d_px: np.ndarray
    """(P, 6, 2) nose, upper lip, jaw joint, right contour, chin, left contour."""
    global_orient: np.ndarray
    """(P, 3) rotation from the body to the camera frame (x right, y down, z forward)."""
    body_pose: np.ndarray
    """(P, 63) 21 joints."""
    left_hand_pose: np.ndarray
    """(P, 45) 15 joints, relative to the mean hand of the body model."""
    right_hand_pose: np.ndarray
    """(P, 45) 15 joints, relative to the mean hand of the body model."""
    jaw_pose: np.ndarray
    """(P, 3)"""
    betas: np.ndarray
    """(P, 10) SMPL-X shape."""
    expression: np.ndarray
    """(P, 10) SMPL-X expression."""
    weak_camera: np.ndarray
    """(P, 3) predicted weak-perspective camera s, tx, ty."""
    transl: np.ndarray
    """(P, 3) metres, camera frame: (tx / s, ty / s, 1 / s)."""

    def __post_init__(self) -> None:
        """Validate the shapes."""
        count = len(self.scores)
        for name, shape in FIELD_SHAPES.items():
            found = getattr(self, name).shape
            if found != (count, *shape):
                raise ValueError(f"People.{name} has shape {found}, expected {(count, *shape)}")

    def __len__(self) -> int:
        """Number of people."""
        return len(self.scores)

    def select(self, index: np.ndarray | slice) -> Self:
        """Select people by boolean mask, indices or slice."""
        return type(self)(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def suppress_duplicates(self, max_overlap: float) -> Self:
        """Non-maximum suppression on body boxes.

        Args:
            max_overlap: maximum IoU, 0-1; 1 keeps everyone.
        """
        if max_overlap >= 1:
            return self
        return self.select(nms(self.boxes_xyxy_px, max_overlap))

    def best(self, threshold: float, max_overlap: float, count: int) -> Self:
        """Top `count` people with score >= `threshold`, after `suppress_duplicates`."""
        chosen = np.flatnonzero(self.scores >= threshold)
        if max_overlap < 1:
            chosen = chosen[nms(self.boxes_xyxy_px[chosen], max_overlap)]
        return self.select(chosen[:count])

    def smplx_parameters(self) -> dict[str, np.ndarray]:
        """Arrays by argument name of the `smplx` package; hands relative to the mean hand."""
        return {name: getattr(self, name) for name in SMPLX_NAMES}

    @classmethod
    def empty(cls) -> Self:
        """People with P = 0."""
        return cls(
            **{
                name: np.zeros((0, *shape), np.int64 if name == "query_indices" else np.float32)
                for name, shape in FIELD_SHAPES.items()
            }
        )


_AS_PREDICTED = ScoreCalibration()


def people_table(output: LayerOutput, calibration: ScoreCalibration = _AS_PREDICTED) -> Tensor:
    """Concatenate the outputs of all queries into one tensor, for a single device-to-host copy.

    Args:
        output: output of the last decoder layer, with SMPL-X.
        calibration: of the scores; the default keeps those of the network.

    Returns:
        (B, P, C) float32, best score first: the fields of `People` side by
        side, but boxes and keypoints 0-1 of the un-padded network input.
    """
    smplx = output.smplx
    assert smplx is not None
    scores = calibration.scores(output)
    order = torch.argsort(scores, dim=1, descending=True, stable=True)

    def boxes(values: Tensor | None) -> Tensor:
        assert values is not None
        return cxcywh_to_xyxy(values)

    def points(values: Tensor | None, count: int) -> Tensor:
        return scores.new_full((*scores.shape, 2 * count), torch.nan) if values is None else values

    fields = {
        "scores": scores,
        "query_indices": torch.arange(scores.shape[1], device=scores.device).expand_as(scores),
        "boxes_xyxy_px": boxes(output.boxes),
        "left_hand_boxes_xyxy_px": boxes(output.left_hand_boxes),
        "right_hand_boxes_xyxy_px": boxes(output.right_hand_boxes),
        "face_boxes_xyxy_px": boxes(output.face_boxes),
        "keypoints_2d_px": points(output.keypoints_2d, NUM_BODY_KEYPOINTS),
        "keypoint_scores": scores.new_ones((*scores.shape, NUM_BODY_KEYPOINTS))
        if output.keypoint_scores is None
        else output.keypoint_scores,
        "left_hand_keypoints_2d_px": points(output.left_hand_keypoints_2d, NUM_HAND_KEYPOINTS),
        "right_hand_keypoints_2d_px": points(output.right_hand_keypoints_2d, NUM_HAND_KEYPOINTS),
        "face_keypoints_2d_px": points(output.face_keypoints_2d, NUM_FACE_KEYPOINTS),
        "global_orient": rotmat_to_axis_angle(smplx.body_rotmat[:, :, :1]),
        "body_pose": rotmat_to_axis_angle(smplx.body_rotmat[:, :, 1:]),
        "left_hand_pose": rotmat_to_axis_angle(smplx.left_hand_rotmat),
        "right_hand_pose": rotmat_to_axis_angle(smplx.right_hand_rotmat),
        "jaw_pose": rotmat_to_axis_angle(smplx.jaw_rotmat),
        "betas": smplx.betas,
        "expression": smplx.expression,
        "weak_camera": smplx.weak_camera,
        "transl": weak_camera_to_transl(smplx.weak_camera),
    }
    # Query indices are exact in float32 up to 2 ** 24.
    columns = [fields[name].detach().float().reshape(*scores.shape, -1) for name in FIELD_SHAPES]
    table = torch.cat(columns, -1)
    return table.gather(1, order[..., None].expand_as(table))


def people_from_table(
    table: np.ndarray, width: float, height: float, origin: tuple[float, float] = (0.0, 0.0)
) -> People:
    """Convert a row of `people_table` to people in photo pixels.

    Args:
        table: (P, C).
        width: of the un-padded network input, in photo pixels.
        height: likewise.
        origin: (x, y) of its top left corner in the photo, pixels.

    Returns:
        People of all queries, best score first.
    """
    size, offset = np.array([width, height], np.float32), np.array(origin, np.float32)
    values: dict[str, np.ndarray] = {}
    start = 0
    for name, shape in FIELD_SHAPES.items():
        stop = start + math.prod(shape)
        # Copied, so that a field does not keep the whole table in memory.
        values[name] = table[:, start:stop].reshape(len(table), *shape).copy()
        if name.endswith("_px"):
            points = values[name].reshape(-1, 2)
            points *= size
            points += offset
        start = stop
    values["query_indices"] = values["query_indices"].astype(np.int64)
    return People(**values)


def people_from_output(output: LayerOutput, index: int, width: int, height: int) -> People:
    """People of image `index` of a batch, for a photo that fills the network input."""
    return people_from_table(people_table(output)[index].cpu().numpy(), width, height)
