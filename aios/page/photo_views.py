"""Pictures of one photo for the page, limited to the people a visitor has selected."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from ..export.scene_glb import people_to_glb
from ..render.colors import FADED_RGB, person_colors
from ..render.marks import (
    BODY_EDGES,
    FACE_EDGES,
    HAND_EDGES,
    draw_box,
    draw_keypoints,
    draw_names,
    keypoint_radius,
)
from ..render.orthographic import draw_side_and_top_views
from ..render.overlay import depth_overlay, overlay, render_people
from .results import PhotoResult

KEYPOINT_LAYERS = ("boxes", "body", "hands", "face")
"""Layers that `keypoints_view` can draw."""
_MAP_SIDE_PX = 400


@dataclass(frozen=True)
class ViewOptions:
    """Display options of a visitor.

    Attributes:
        hidden: indices of people who are not drawn.
        person: index of the selected person, beside whom others are grey; None for no selection.
        layers: those of `KEYPOINT_LAYERS` to draw.
    """

    hidden: frozenset[int] = frozenset()
    person: int | None = None
    layers: tuple[str, ...] = KEYPOINT_LAYERS

    def shown(self, count: int) -> list[int]:
        """Indices of the people to draw, of `count`."""
        return [index for index in range(count) if index not in self.hidden]

    def colors(self, count: int) -> np.ndarray:
        """(count, 3) uint8 sRGB, grey for all but the selected person."""
        colors = person_colors(count)
        colors[self.faded(count)] = FADED_RGB
        return colors

    def faded(self, count: int) -> np.ndarray:
        """(count,) bool, True for all but the selected person."""
        if self.person is None:
            return np.zeros(count, bool)
        return np.arange(count) != self.person


def overlay_view(result: PhotoResult, options: ViewOptions) -> np.ndarray:
    """Draw the meshes over the photo."""
    prediction, (shown, colors) = result.on_screen, _shown_people(result, options)
    vertices = prediction.vertices[shown]
    return overlay(result.photo, vertices, prediction.faces, prediction.camera, colors)


def depth_view(result: PhotoResult, options: ViewOptions) -> np.ndarray:
    """Draw people coloured by distance, with their distances and a legend in metres."""
    prediction, shown = result.on_screen, options.shown(len(result.prediction))
    return depth_overlay(
        result.photo,
        prediction.vertices[shown],
        prediction.faces,
        prediction.camera,
        prediction.joints_3d[shown, 0, 2],
        indices=np.array(shown, np.int64),
        faded=options.faded(len(prediction))[shown],
    )


def keypoints_view(result: PhotoResult, options: ViewOptions) -> np.ndarray:
    """Draw boxes and 2D keypoints of the network, which do not depend on a body model."""
    picture = cv2.convertScaleAbs(result.photo, None, 0.78, 0.0)
    people = result.prediction.people
    shown, colors = _shown_people(result, options)
    scale = result.photo.shape[1] / result.prediction.camera.width
    radius = keypoint_radius(picture)
    selected_last = sorted(
        range(len(shown)), key=lambda position: shown[position] == options.person
    )
    for position in selected_last:
        index, color = shown[position], colors[position]
        person = people.select(slice(index, index + 1))
        if "boxes" in options.layers:
            draw_box(picture, person.boxes_xyxy_px[0] * scale, color, radius)
            for name in ("left_hand", "right_hand", "face"):
                box = getattr(person, f"{name}_boxes_xyxy_px")[0] * scale
                draw_box(picture, box, color, 0.7 * radius)
        if "body" in options.layers:
            draw_keypoints(picture, person.keypoints_2d_px[0] * scale, BODY_EDGES, color, radius)
        if "hands" in options.layers:
            for points in (person.left_hand_keypoints_2d_px, person.right_hand_keypoints_2d_px):
                draw_keypoints(picture, points[0] * scale, HAND_EDGES, color, 0.6 * radius)
        if "face" in options.layers:
            points = person.face_keypoints_2d_px[0] * scale
            draw_keypoints(picture, points, FACE_EDGES, color, 0.6 * radius)
    texts = [f"{index + 1}  {people.scores[index]:.2f}" for index in shown]
    return draw_names(picture, people.boxes_xyxy_px[shown, :2] * scale, texts, colors)


def plan_view(result: PhotoResult, options: ViewOptions) -> np.ndarray:
    """Draw the people from the side and from above."""
    shown, colors = _shown_people(result, options)
    prediction = result.prediction
    numbers = [str(index + 1) for index in shown]
    return draw_side_and_top_views(prediction.vertices[shown], prediction.faces, colors, numbers)


def scene_view(result: PhotoResult, options: ViewOptions) -> bytes:
    """Return the meshes as binary glTF with nodes `person_1`, `person_2`, ..."""
    prediction = result.prediction
    shown, colors = _shown_people(result, options)
    names = [f"person_{index + 1}" for index in shown]
    return people_to_glb(prediction.vertices[shown], prediction.faces, names, colors)


def person_at(result: PhotoResult, options: ViewOptions, x: float, y: float) -> int | None:
    """Return the person drawn at a point of the photo, else that of the smallest box around it.

    Args:
        result: of the photo.
        options: hidden people are skipped.
        x: 0-1 of the photo's width.
        y: 0-1 of its height.
    """
    prediction = result.prediction
    shown = options.shown(len(prediction))
    if not shown:
        return None
    person = person_map(result, shown)
    height, width = person.shape
    inside = 0 <= x < 1 and 0 <= y < 1
    found = person[int(y * height), int(x * width)] if inside else -1
    if found >= 0:
        return shown[found]
    point = np.array([x * prediction.camera.width, y * prediction.camera.height])
    boxes = prediction.people.boxes_xyxy_px[shown]
    around = ((boxes[:, :2] <= point) & (point <= boxes[:, 2:])).all(1)
    if not around.any():
        return None
    areas = np.where(around, (boxes[:, 2:] - boxes[:, :2]).prod(1), np.inf)
    return shown[int(areas.argmin())]


def person_map(result: PhotoResult, shown: Iterable[int]) -> np.ndarray:
    """Return (h, w) int32, the position in `shown` of the person at each pixel, else -1.

    The longer side has 400 pixels.
    """
    prediction, shown = result.prediction, list(shown)
    camera = prediction.camera
    scale = _MAP_SIDE_PX / max(camera.width, camera.height)
    size = (max(1, round(camera.width * scale)), max(1, round(camera.height * scale)))
    drawn = render_people(prediction.vertices[shown], prediction.faces, camera.scaled(*size))
    return drawn.person


def _shown_people(result: PhotoResult, options: ViewOptions) -> tuple[list[int], np.ndarray]:
    """Indices of the people to draw, and their colours."""
    count = len(result.prediction)
    shown = options.shown(count)
    return shown, options.colors(count)[shown]
