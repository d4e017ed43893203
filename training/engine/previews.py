"""Annotation beside prediction, drawn for TensorBoard."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from aios.body.model import BodyModel
from aios.network.model import AiOS
from aios.people import People, people_from_output

from ..data.batch import Batch
from ..targets import Targets

_MAX_IMAGES = 4
_MIN_SCORE = 0.3
_MAX_PEOPLE = 12
_COLORS = ((230, 90, 60), (60, 160, 230), (90, 200, 90), (220, 180, 50), (180, 90, 220))
_WHITE = (255, 255, 255)
_PARTS = ("left_hand", "right_hand", "face")
_BONES = (
    *((0, 1), (1, 4), (4, 7), (0, 2), (2, 5), (5, 8), (0, 3), (3, 6), (6, 9), (9, 12), (12, 15)),
    *((9, 16), (16, 18), (18, 20), (9, 17), (17, 19), (19, 21)),
)
"""Pairs of the first 22 SMPL-X joints."""


def draw_previews(model: AiOS, batch: Batch, body: BodyModel) -> np.ndarray:
    """Draw the first images of a batch, annotation on the left and prediction on the right.

    Boxes, keypoints (white) and the bones of the posed body (one color per person).

    Args:
        model: in evaluation mode.
        batch: on the model's device.
        body: poses the predictions; on the CPU.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    with torch.no_grad():
        final = model(batch.images(model.config.image)).final
    rows = []
    for index in range(min(len(batch), _MAX_IMAGES)):
        height, width = batch.sizes_hw[index].tolist()
        image = batch.pictures[index].permute(1, 2, 0).cpu().numpy()
        people = people_from_output(final, index, width, height)
        people = people.select(people.scores >= _MIN_SCORE).select(slice(_MAX_PEOPLE))
        targets = batch.targets.select(batch.image_index == index).to("cpu")
        left, right = (np.ascontiguousarray(image) for _ in range(2))
        _draw_annotation(left, targets, (width, height))
        _draw_prediction(right, people, batch.focal_length, (width, height), body)
        rows.append(np.concatenate([left, right], 1))
    return np.concatenate(rows)


def _draw_annotation(image: np.ndarray, targets: Targets, size_wh: tuple[int, int]) -> None:
    size = np.array(size_wh, np.float32)
    for row in range(len(targets)):
        color = _COLORS[row % len(_COLORS)]
        for part in ("", *(f"{part}_" for part in _PARTS)):
            centre, extent = getattr(targets, f"{part}boxes")[row].numpy().reshape(2, 2) * size
            if getattr(targets, f"{part}box_valid")[row]:
                _draw_box(image, centre - extent / 2, centre + extent / 2, color)
            visible = getattr(targets, f"{part}keypoints_visible")[row].numpy() > 0
            _draw_points(
                image, getattr(targets, f"{part}keypoints_2d")[row].numpy()[visible] * size
            )
        if targets.joints_3d_valid[row]:
            _draw_bones(image, targets.joints_2d[row].numpy() * size, color)


def _draw_prediction(
    image: np.ndarray,
    people: People,
    focal_length: float,
    size_wh: tuple[int, int],
    body: BodyModel,
) -> None:
    if not len(people):
        return
    parameters = {k: torch.from_numpy(v) for k, v in people.smplx_parameters().items()}
    joints = body.joints(parameters).numpy()
    depth = np.maximum(joints[..., 2:], 1e-3)
    projected = joints[..., :2] / depth * focal_length + np.array(size_wh) / 2
    for row in range(len(people)):
        color = _COLORS[row % len(_COLORS)]
        for part in ("", *(f"{part}_" for part in _PARTS)):
            box = getattr(people, f"{part}boxes_xyxy_px")[row]
            _draw_box(image, box[:2], box[2:], color)
            _draw_points(image, getattr(people, f"{part}keypoints_2d_px")[row])
        _draw_bones(image, projected[row], color)


def _corner(point: np.ndarray) -> tuple[int, int]:
    x, y = np.clip(np.nan_to_num(point), -10_000, 10_000).round().astype(int).tolist()
    return x, y


def _draw_box(image: np.ndarray, low: np.ndarray, high: np.ndarray, color: tuple) -> None:
    cv2.rectangle(image, _corner(low), _corner(high), color, 1)


def _draw_points(image: np.ndarray, points: np.ndarray) -> None:
    for point in points[np.isfinite(points).all(-1)]:
        cv2.circle(image, _corner(point), 1, _WHITE, -1)


def _draw_bones(image: np.ndarray, joints: np.ndarray, color: tuple) -> None:
    for first, second in _BONES:
        cv2.line(image, _corner(joints[first]), _corner(joints[second]), color, 1, cv2.LINE_AA)
