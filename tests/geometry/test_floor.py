"""The floor plane, fitted to points that lie on it and to some that do not."""

import numpy as np
import pytest

from aios.geometry.floor import Upright, fit_floor, likely_up

UP = np.array([0.0, -np.cos(0.2), -np.sin(0.2)])
HEIGHT_M = 1.5


def on_floor(*places):
    """Points (N, 3) at (right, ahead) metres on the floor, camera frame."""
    right, ahead = np.array([1.0, 0.0, 0.0]), np.cross(UP, [1.0, 0.0, 0.0])
    return np.array([x * right + z * ahead - HEIGHT_M * UP for x, z in places])


def fitted(points, up=None, weights=None):
    ones = np.ones(len(points))
    return fit_floor(
        points, 0.1 * ones, ones if weights is None else weights, up or Upright(UP, 0.1)
    )


POINTS = on_floor((-1, 4), (0.5, 6), (2, 5), (0, 9))


def test_points_on_a_plane_give_the_plane():
    assert (POINTS[:, 2] > 0).all()
    floor = fitted(POINTS)
    np.testing.assert_allclose(floor.normal, UP, atol=1e-6)
    assert floor.distance == pytest.approx(HEIGHT_M)
    np.testing.assert_allclose(floor.heights(POINTS + 0.3 * UP), 0.3, atol=1e-6)
    np.testing.assert_allclose(floor.relative_distances(1.2 * POINTS), 1.2, atol=1e-6)
    assert floor.relative_distances(UP) < 0


def test_a_wrong_direction_up_is_corrected_by_the_points():
    away = np.array([0.0, -1.0, 0.0])
    floor = fitted(POINTS, Upright(away, 0.2))
    assert floor.normal @ UP > np.cos(0.06) > away @ UP


def test_points_off_the_floor_lose_their_influence():
    points = np.concatenate([POINTS, 0.4 * on_floor((1, 7))])
    floor = fitted(points)
    assert floor.distance == pytest.approx(HEIGHT_M, rel=0.06)
    assert floor.relative_distances(points[-1]) == pytest.approx(0.4, abs=0.05)


def test_a_point_without_weight_has_no_influence():
    points = np.concatenate([POINTS, 0.8 * on_floor((1, 7))])
    floor = fitted(points, weights=np.array([1.0, 1.0, 1.0, 1.0, 0.0]))
    assert floor.distance == pytest.approx(HEIGHT_M)


def test_no_floor_without_a_point_below_the_camera():
    assert fitted(np.array([[0.0, -1.0, 4.0], [0.0, 0.5, -3.0]])) is None
    assert fitted(np.zeros((0, 3))) is None


def test_bodies_turn_the_likely_direction_up():
    alone = likely_up(np.zeros((0, 3)), 0.2, 0.1)
    np.testing.assert_array_equal(alone.direction, [0.0, -1.0, 0.0])
    assert alone.tilt == pytest.approx(0.2)
    both = likely_up(np.stack([UP, UP, [1.0, 0.0, 0.0]]), 0.2, 0.1)
    assert alone.direction @ UP < both.direction @ UP < 1
    assert both.tilt < 0.1
