"""The pictures of one photo that the page shows, of the people that a visitor wants to see."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from ..export.photo_files import prediction_to_glb
from ..render.labels import label_points
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
from ..render.overlay import depth_overlay, overlay, person_colors, render_people
from .scene_view import restyle_glb
from .sessions import Result

PARTS = ("boxes", "body", "hands", "face")
"""What `marks_view` can draw."""
_FADED = (168, 170, 178)
_MAP_SIDE_PX = 400


@dataclass(frozen=True)
class Look:
    """Which people a visitor wants to see.

    Attributes:
        hidden: indices of people left out.
        person: index of the person singled out, whom others fade beside; None for nobody.
        parts: those of `PARTS` that `marks_view` draws.
    """

    hidden: frozenset[int] = frozenset()
    person: int | None = None
    parts: tuple[str, ...] = PARTS

    def shown(self, count: int) -> list[int]:
        """Indices of the people to be seen, of `count`."""
        return [index for index in range(count) if index not in self.hidden]

    def colors(self, count: int) -> np.ndarray:
        """(count, 3) uint8 sRGB; grey beside a person singled out."""
        colors = person_colors(count)
        if self.person is not None:
            others = np.arange(count) != self.person
            colors[others] = _FADED
        return colors


def overlay_view(result: Result, look: Look) -> np.ndarray:
    """Meshes over the photo."""
    prediction, (shown, colors) = result.on_screen, _chosen(result, look)
    vertices = prediction.vertices[shown]
    return overlay(result.photo, vertices, prediction.faces, prediction.camera, colors)


def depth_view(result: Result, look: Look) -> np.ndarray:
    """People coloured and numbered from near to far, with a legend in metres."""
    prediction, (shown, colors) = result.on_screen, _chosen(result, look)
    return depth_overlay(
        result.photo,
        prediction.vertices[shown],
        prediction.faces,
        prediction.camera,
        prediction.depth_order[shown],
        rings=colors,
    )


def marks_view(result: Result, look: Look) -> np.ndarray:
    """Boxes and keypoints as the network gives them, without any body model."""
    picture = cv2.convertScaleAbs(result.photo, None, 0.78, 0.0)
    people = result.prediction.people
    shown, colors = _chosen(result, look)
    scale = result.photo.shape[1] / result.prediction.camera.width
    unit = keypoint_radius(picture)
    faded_first = sorted(range(len(shown)), key=lambda place: shown[place] == look.person)
    for place in faded_first:
        person, color = people.select(slice(shown[place], shown[place] + 1)), colors[place]
        if "boxes" in look.parts:
            draw_box(picture, person.boxes_xyxy_px[0] * scale, color, unit)
            for name in ("left_hand", "right_hand", "face"):
                box = getattr(person, f"{name}_boxes_xyxy_px")[0] * scale
                draw_box(picture, box, color, 0.7 * unit)
        if "body" in look.parts:
            draw_keypoints(picture, person.keypoints_2d_px[0] * scale, BODY_EDGES, color, unit)
        if "hands" in look.parts:
            for points in (person.left_hand_keypoints_2d_px, person.right_hand_keypoints_2d_px):
                draw_keypoints(picture, points[0] * scale, HAND_EDGES, color, 0.6 * unit)
        if "face" in look.parts:
            points = person.face_keypoints_2d_px[0] * scale
            draw_keypoints(picture, points, FACE_EDGES, color, 0.6 * unit)
    texts = [f"{index + 1}  {people.scores[index]:.2f}" for index in shown]
    return draw_names(picture, people.boxes_xyxy_px[shown, :2] * scale, texts, colors)


def plan_view(result: Result, look: Look) -> np.ndarray:
    """From the side and from above."""
    shown, colors = _chosen(result, look)
    prediction = result.prediction
    numbers = [str(index + 1) for index in shown]
    return draw_side_and_top_views(prediction.vertices[shown], prediction.faces, colors, numbers)


def scene_view(result: Result, look: Look) -> bytes:
    """The scene as binary glTF."""
    count = len(result.prediction)
    content = prediction_to_glb(result.prediction)
    return restyle_glb(content, look.colors(count), look.shown(count))


def person_at(result: Result, look: Look, x: float, y: float) -> int | None:
    """Who is to be seen at a place of the photo, else the smallest body box around it.

    Args:
        result: of the photo.
        look: people who are hidden are not found.
        x: 0-1 of the photo's width.
        y: 0-1 of its height.
    """
    prediction = result.prediction
    shown = look.shown(len(prediction))
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


def person_map(result: Result, shown: Iterable[int]) -> np.ndarray:
    """(h, w) int32 place in `shown` of the person at each pixel of a small picture, else -1."""
    prediction, shown = result.prediction, list(shown)
    camera = prediction.camera
    scale = _MAP_SIDE_PX / max(camera.width, camera.height)
    size = (max(1, round(camera.width * scale)), max(1, round(camera.height * scale)))
    drawn = render_people(prediction.vertices[shown], prediction.faces, camera.scaled(*size))
    return drawn.person


def badge_points(result: Result, look: Look) -> np.ndarray:
    """(n, 2) where a number fits on each person to be seen, 0-1 of the photo, else nan."""
    shown = look.shown(len(result.prediction))
    person = person_map(result, shown)
    return label_points(person, len(shown)) / person.shape[::-1]


def _chosen(result: Result, look: Look) -> tuple[list[int], np.ndarray]:
    """Indices of the people to be seen, and their colours."""
    count = len(result.prediction)
    shown = look.shown(count)
    return shown, look.colors(count)[shown]
