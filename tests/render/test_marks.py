"""Boxes, points and names: at their places, in their colours, harmless outside."""

import numpy as np
import pytest

from aios.render.marks import (
    BODY_LINES,
    FACE_LINES,
    HAND_LINES,
    draw_box,
    draw_names,
    draw_points,
    mark_unit,
)

GREEN = np.array([0, 200, 0])


def blank():
    return np.zeros((120, 160, 3), np.uint8)


def green(picture):
    return picture[..., 1].astype(int) - picture[..., 0] > 100


def test_a_box_is_an_outline():
    picture = blank()
    draw_box(picture, np.array([20.0, 30.0, 100.0, 90.0]), GREEN, 3.0)
    marks = green(picture)
    assert marks[30, 60] and marks[60, 20] and marks[89:91, 60].any() and marks[60, 99:101].any()
    assert not marks[40:80, 30:90].any() and not marks[:25].any()


def test_points_and_lines_are_drawn_and_unknown_ones_left_out():
    points = np.array([[30.0, 60], [130, 60], [np.nan, np.nan]])
    picture = blank()
    draw_points(picture, points, ((0, 1), (1, 2)), GREEN, 4.0)
    marks = green(picture)
    assert marks[60, 30] and marks[60, 130] and marks[59:61, 80].any()
    assert not marks[:50].any() and not marks[70:].any()


@pytest.mark.parametrize("value", [-1e7, 1e9, np.inf, np.nan])
def test_what_lies_outside_does_no_harm(value):
    picture = blank()
    draw_box(picture, np.array([value, value, value, value]), GREEN, 3.0)
    draw_points(picture, np.full((2, 2), value), ((0, 1),), GREEN, 3.0)
    named = draw_names(picture, np.full((1, 2), value), ["1"], GREEN[None])
    assert named.shape == picture.shape
    assert not green(picture)[10:110, 10:150].any()


def test_names_stay_inside():
    places = np.array([[155.0, 2.0], [-40.0, 115.0]])
    named = draw_names(
        np.full((120, 160, 3), 90, np.uint8), places, ["1  0.93", "2"], np.stack([GREEN, GREEN])
    )
    changed = (named != 90).any(-1)
    assert changed[:25, 100:].sum() > 100 and changed[80:, :40].sum() > 50
    assert named.shape == (120, 160, 3)


def test_lines_join_points_that_exist():
    assert max(max(pair) for pair in BODY_LINES) < 17
    assert max(max(pair) for pair in (*HAND_LINES, *FACE_LINES)) < 6
    assert mark_unit(np.zeros((2000, 1000, 3))) > mark_unit(blank())
