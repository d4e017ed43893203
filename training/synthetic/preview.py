"""Preview images of scenes with their labels."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ..targets import Targets
from .generator import SyntheticScene

_BONES = ((5, 7), (7, 9), (6, 8), (8, 10), (11, 13), (13, 15), (12, 14), (14, 16), (5, 6), (11, 12))
_LEFT, _RIGHT, _MIDDLE = (60, 220, 60), (255, 60, 60), (255, 220, 40)
_PARTS = (("left_hand", _LEFT), ("right_hand", _RIGHT), ("face", (60, 160, 255)))


def draw_labels(image: np.ndarray, targets: Targets, scale: int = 2) -> np.ndarray:
    """Enlarge an image and draw boxes and keypoints: left green, right red, occluded hollow."""
    height, width = image.shape[:2]
    size = np.array([width, height]) * scale
    canvas = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    for person in range(len(targets)):
        _draw_box(canvas, targets.boxes[person].numpy(), size, (255, 255, 255))
        points = (targets.keypoints_2d[person].numpy() * size).clip(-9999, 9999)
        points = points.astype(int).tolist()
        for first, last in _BONES:
            colour = _LEFT if first % 2 and last % 2 else _RIGHT
            colour = _MIDDLE if first % 2 != last % 2 else colour
            cv2.line(canvas, points[first], points[last], colour, 1, cv2.LINE_AA)
        for number, point in enumerate(points):
            colour = _MIDDLE if number == 0 else (_LEFT if number % 2 else _RIGHT)
            hidden = bool(targets.keypoints_occluded[person, number])
            cv2.circle(canvas, point, 2, colour, 1 if hidden else -1)
        for part, colour in _PARTS:
            if not getattr(targets, f"{part}_box_valid")[person]:
                continue
            _draw_box(canvas, getattr(targets, f"{part}_boxes")[person].numpy(), size, colour)
            tips = getattr(targets, f"{part}_keypoints_2d")[person].numpy() * size
            for point in tips.astype(int).tolist():
                cv2.circle(canvas, point, 1, colour, -1)
    return canvas


def _draw_box(canvas: np.ndarray, box: np.ndarray, size: np.ndarray, colour: tuple) -> None:
    low, high = (box[:2] - box[2:] / 2) * size, (box[:2] + box[2:] / 2) * size
    cv2.rectangle(canvas, low.astype(int).tolist(), high.astype(int).tolist(), colour, 1)


def contact_sheet(
    scenes: Sequence[SyntheticScene], *, labels: bool = True, columns: int = 5
) -> np.ndarray:
    """Arrange scenes of equal size in a grid; with labels, at twice the size."""
    tiles = [draw_labels(scene.image, scene.targets) if labels else scene.image for scene in scenes]
    columns = min(columns, len(tiles))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[i : i + columns], 1) for i in range(0, len(tiles), columns)]
    return np.concatenate(rows)
