"""Tracked people drawn over a video frame."""

from __future__ import annotations

import cv2
import numpy as np

from ..geometry.camera import Camera
from ..prediction import Prediction
from ..render.colors import person_colors
from ..render.labels import draw_labels
from ..render.overlay import overlay
from ..render.scene import NEAR

_HEAD_JOINT = 15


def draw_people(
    frame: np.ndarray,
    prediction: Prediction,
    numbers: np.ndarray,
    size: tuple[int, int] | None = None,
) -> np.ndarray:
    """Draw meshes in the colours of their tracks, with the track number above each head.

    Args:
        frame: (H, W, 3) uint8 RGB.
        prediction: P people of this frame.
        numbers: (P,) track numbers, from 1.
        size: width and height of the result; None for those of the frame.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    camera = prediction.camera
    if size is not None and size != (camera.width, camera.height):
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        camera = camera.scaled(*size)
    colors = person_colors(numbers - 1)
    picture = overlay(frame, prediction.vertices, prediction.faces, camera, colors)
    points = _label_points(prediction, camera)
    texts = [str(number) for number in numbers.tolist()]
    return draw_labels(picture, points, texts, colors, prediction.depth_order)


def _label_points(prediction: Prediction, camera: Camera) -> np.ndarray:
    """(P, 2) pixels above each head; NaN for people that are not in front of the camera."""
    heads = prediction.joints_3d[:, _HEAD_JOINT].astype(np.float64)
    pelvises = prediction.joints_3d[:, 0].astype(np.float64)
    points = np.full((len(heads), 2), np.nan)
    front = (heads[:, 2] > NEAR) & (pelvises[:, 2] > NEAR)
    # Extends the line from pelvis to head by half, in any pose.
    points[front] = camera.project(heads[front] + 0.5 * (heads[front] - pelvises[front]))
    # Labels just outside the picture move to its edge.
    limits = np.array([camera.width, camera.height])
    inside = ((points + limits / 10 >= 0) & (points < limits * 1.1)).all(1)
    points[inside] = np.clip(points[inside], 0.02 * limits.max(), limits * (1 - 0.02))
    return points
