"""Truth beside prediction, for people who watch a run."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from aios.body.model import BodyModel
from aios.network.model import AiOS
from aios.people import People, people_from_output

from ..data.batch import Batch
from ..targets import Targets

_SHOWN = 4
_LEAST_SCORE = 0.3
_MOST_PEOPLE = 12
_COLOURS = ((230, 90, 60), (60, 160, 230), (90, 200, 90), (220, 180, 50), (180, 90, 220))
_WHITE = (255, 255, 255)
_PARTS = ("left_hand", "right_hand", "face")
_BONES = (
    *((0, 1), (1, 4), (4, 7), (0, 2), (2, 5), (5, 8), (0, 3), (3, 6), (6, 9), (9, 12), (12, 15)),
    *((9, 16), (16, 18), (18, 20), (9, 17), (17, 19), (19, 21)),
)
"""Pairs of the first 22 SMPL-X joints."""


def truth_and_prediction(model: AiOS, batch: Batch, body: BodyModel) -> np.ndarray:
    """The first pictures of a batch, each twice: annotated on the left, as found on the right.

    Boxes, keypoints (white) and the bones of the posed body (one colour a person).

    Args:
        model: in evaluation mode.
        batch: on the model's device.
        body: poses the prediction; on the CPU.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    with torch.no_grad():
        final = model(batch.images(model.config.image)).final
    rows = []
    for index in range(min(len(batch), _SHOWN)):
        height, width = batch.sizes_hw[index].tolist()
        picture = batch.pictures[index].permute(1, 2, 0).cpu().numpy()
        people = people_from_output(final, index, width, height)
        people = people.select(people.scores >= _LEAST_SCORE).select(slice(_MOST_PEOPLE))
        targets = batch.targets.select(batch.image_index == index).to("cpu")
        truth, found = (np.ascontiguousarray(picture) for _ in range(2))
        _draw_truth(truth, targets, (width, height))
        _draw_found(found, people, batch.focal_length, (width, height), body)
        rows.append(np.concatenate([truth, found], 1))
    return np.concatenate(rows)


def _draw_truth(picture: np.ndarray, targets: Targets, size_wh: tuple[int, int]) -> None:
    size = np.array(size_wh, np.float32)
    for row in range(len(targets)):
        colour = _COLOURS[row % len(_COLOURS)]
        for part in ("", *(f"{part}_" for part in _PARTS)):
            centre, extent = getattr(targets, f"{part}boxes")[row].numpy().reshape(2, 2) * size
            if getattr(targets, f"{part}box_valid")[row]:
                _box(picture, centre - extent / 2, centre + extent / 2, colour)
            visible = getattr(targets, f"{part}keypoints_visible")[row].numpy() > 0
            _dots(picture, getattr(targets, f"{part}keypoints_2d")[row].numpy()[visible] * size)
        if targets.joints_3d_valid[row]:
            _bones(picture, targets.joints_2d[row].numpy() * size, colour)


def _draw_found(
    picture: np.ndarray,
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
        colour = _COLOURS[row % len(_COLOURS)]
        for part in ("", *(f"{part}_" for part in _PARTS)):
            box = getattr(people, f"{part}boxes_xyxy_px")[row]
            _box(picture, box[:2], box[2:], colour)
            _dots(picture, getattr(people, f"{part}keypoints_2d_px")[row])
        _bones(picture, projected[row], colour)


def _corner(point: np.ndarray) -> tuple[int, int]:
    x, y = np.clip(np.nan_to_num(point), -10_000, 10_000).round().astype(int).tolist()
    return x, y


def _box(picture: np.ndarray, low: np.ndarray, high: np.ndarray, colour: tuple) -> None:
    cv2.rectangle(picture, _corner(low), _corner(high), colour, 1)


def _dots(picture: np.ndarray, points: np.ndarray) -> None:
    for point in points[np.isfinite(points).all(-1)]:
        cv2.circle(picture, _corner(point), 1, _WHITE, -1)


def _bones(picture: np.ndarray, joints: np.ndarray, colour: tuple) -> None:
    for first, second in _BONES:
        cv2.line(picture, _corner(joints[first]), _corner(joints[second]), colour, 1, cv2.LINE_AA)
