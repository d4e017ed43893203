"""Side and top views show positions at the same scale."""

import numpy as np
import pytest

from aios.render.orthographic import draw_side_and_top_views

COLORS = np.uint8([[255, 0, 0], [0, 0, 255]])


def cube(x, y, z, size=0.5):
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)], float) - 0.5
    return corners * size + (x, y, z)


FACES = np.array(
    [
        *([0, 2, 3], [0, 3, 1], [4, 5, 7], [4, 7, 6], [0, 1, 5], [0, 5, 4]),
        *([2, 6, 7], [2, 7, 3], [0, 4, 6], [0, 6, 2], [1, 3, 7], [1, 7, 5]),
    ]
)


def centres(picture):
    """Centroid and area of the red and the blue pixels in each of the two views."""
    lines = np.flatnonzero((picture[:, :, 0] == 84).all(1))
    edge = next(int(y) for y in lines if y + 5 in lines)  # the separator of the views
    found = []
    for part in (picture[:edge], picture[edge + 6 :]):
        values = part.astype(int)
        for channel in (0, 2):
            y, x = np.nonzero(values[..., channel] - values[..., 2 - channel] > 40)
            found.append((x.mean(), y.mean(), len(x)))
    return found


@pytest.mark.parametrize("renderer", ["software", "gl"])
def test_views_are_from_the_right_and_from_above(renderer):
    # Red is near, left and high; blue is far, right and low.
    people = np.stack([cube(-1, -1, 3), cube(1, 1, 5)])
    picture = draw_side_and_top_views(people, FACES, COLORS, ["", ""], 600, renderer)
    side_red, side_blue, top_red, top_blue = centres(picture)
    assert side_red[0] < side_blue[0] and side_red[1] < side_blue[1]
    assert top_red[0] < top_blue[0] and top_red[1] > top_blue[1]
    # Same scale: equal lengths and sizes in both views.
    along = side_blue[0] - side_red[0], top_red[1] - top_blue[1]
    assert along[0] == pytest.approx(along[1], rel=0.05)
    sizes = np.array([part[2] for part in (side_red, side_blue, top_red, top_blue)])
    assert sizes.max() < 1.25 * sizes.min()


def test_all_people_are_inside_the_views():
    people = np.stack([cube(-3, 0, 2), cube(4, 2, 60)])
    picture = draw_side_and_top_views(people, FACES, COLORS, ["", ""], 900)
    assert all(part[2] > 5 for part in centres(picture))
    assert picture.shape[1] == 900 and picture.shape[0] < 1000


def test_empty_and_non_finite_input_give_an_empty_grid():
    empty = draw_side_and_top_views(np.zeros((0, 8, 3)), FACES, COLORS[:0], [], 500)
    broken = draw_side_and_top_views(np.full((1, 8, 3), np.nan), FACES, COLORS[:1], ["1"], 500)
    np.testing.assert_array_equal(empty, broken)
    assert len(np.unique(empty.reshape(-1, 3), axis=0)) > 2
