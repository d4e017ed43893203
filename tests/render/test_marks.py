"""Boxes, keypoints and name tags: position, colour, and input outside the image."""

import numpy as np
import pytest

from aios.render.marks import (
    BODY_EDGES,
    FACE_EDGES,
    HAND_EDGES,
    draw_box,
    draw_keypoints,
    draw_names,
    keypoint_radius,
)

GREEN = np.array([0, 200, 0])


def blank():
    return np.zeros((120, 160, 3), np.uint8)


def green(picture):
    return picture[..., 1].astype(int) - picture[..., 0] > 100


def test_box_is_an_outline():
    picture = blank()
    draw_box(picture, np.array([20.0, 30.0, 100.0, 90.0]), GREEN, 3.0)
    marks = green(picture)
    assert marks[30, 60] and marks[60, 20] and marks[89:91, 60].any() and marks[60, 99:101].any()
    assert not marks[40:80, 30:90].any() and not marks[:25].any()


def test_keypoints_and_edges_are_drawn_and_nan_is_skipped():
    points = np.array([[30.0, 60], [130, 60], [np.nan, np.nan]])
    picture = blank()
    draw_keypoints(picture, points, ((0, 1), (1, 2)), GREEN, 4.0)
    marks = green(picture)
    assert marks[60, 30] and marks[60, 130] and marks[59:61, 80].any()
    assert not marks[:50].any() and not marks[70:].any()


@pytest.mark.parametrize("value", [-1e7, 1e9, np.inf, np.nan])
def test_coordinates_outside_the_image_draw_nothing_inside(value):
    picture = blank()
    draw_box(picture, np.array([value, value, value, value]), GREEN, 3.0)
    draw_keypoints(picture, np.full((2, 2), value), ((0, 1),), GREEN, 3.0)
    named = draw_names(picture, np.full((1, 2), value), ["1"], GREEN[None])
    assert named.shape == picture.shape
    assert not green(picture)[10:110, 10:150].any()


def test_name_tags_stay_inside_the_image():
    points = np.array([[155.0, 2.0], [-40.0, 115.0]])
    named = draw_names(
        np.full((120, 160, 3), 90, np.uint8), points, ["1  0.93", "2"], np.stack([GREEN, GREEN])
    )
    changed = (named != 90).any(-1)
    assert changed[:25, 100:].sum() > 100 and changed[80:, :40].sum() > 50
    assert named.shape == (120, 160, 3)


def test_edges_connect_existing_keypoints():
    assert max(max(pair) for pair in BODY_EDGES) < 17
    assert max(max(pair) for pair in (*HAND_EDGES, *FACE_EDGES)) < 6
    assert keypoint_radius(np.zeros((2000, 1000, 3))) > keypoint_radius(blank())
