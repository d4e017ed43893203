"""Placement of exported people: at the camera, or on a floor that a camera sees from above."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from aios.body.kinematics import CAMERA_TO_WORLD
from aios.export.placement import AT_CAMERA, SceneBounds, grounded
from aios.geometry.floor import Floor
from tests.helpers.people_on_floor import CAMERA_HEIGHT_M, DOWN, people_on_floor

ANKLES = slice(7, 9)


def test_lowest_vertex_is_at_height_zero():
    vertices = np.random.default_rng(0).normal(size=(2, 50, 3)) + (3, 1, 8)
    points = grounded(vertices).points(vertices * CAMERA_TO_WORLD)
    low, high = points.min((0, 1)), points.max((0, 1))
    np.testing.assert_allclose(low[1], 0, atol=1e-12)
    np.testing.assert_allclose((low + high)[[0, 2]], 0, atol=1e-12)
    assert grounded(vertices[:0]) is AT_CAMERA


def test_floor_of_a_tilted_camera_is_horizontal():
    _, joints = people_on_floor(((-1.0, 4.0), (0.5, 8.0)))
    tilted = np.ptp((joints * CAMERA_TO_WORLD)[:, ANKLES, 1].mean(1))
    bounds = SceneBounds(Floor(-DOWN, CAMERA_HEIGHT_M))
    for person in joints:
        bounds.add(person[None])
    placement = bounds.grounded()
    points = placement.points(joints * CAMERA_TO_WORLD)
    assert tilted > 0.4
    np.testing.assert_allclose(points[:, ANKLES, 1].min(1), 0.08, atol=1e-6)
    assert placement.camera_position[1] == CAMERA_HEIGHT_M
    corners = bounds.corners() + placement.camera_position
    np.testing.assert_allclose(corners, [points.min((0, 1)), points.max((0, 1))], atol=1e-6)
    np.testing.assert_allclose(corners.sum(0)[[0, 2]], 0, atol=1e-12)
    # Only the pitch is undone.
    np.testing.assert_allclose(placement.camera_rotation.as_rotvec()[1:], 0, atol=1e-12)
    assert placement.camera_rotation.magnitude() == pytest.approx(0.12)


@pytest.mark.parametrize("normal", [(0.0, -1.0, 0.0), (0.6, 0.0, -0.8), (0.0, 0.6, -0.8)])
def test_any_normal_becomes_the_vertical(normal):
    bounds = SceneBounds(Floor(np.array(normal), 1.0))
    bounds.add(np.array([[[0.0, 0.0, 3.0]]]))
    vertical = bounds.grounded().camera_rotation.apply(np.array(normal) * CAMERA_TO_WORLD)
    np.testing.assert_allclose(vertical, [0, 1, 0], atol=1e-12)


def test_only_the_pelvis_turns():
    rotations = Rotation.from_rotvec(np.random.default_rng(0).normal(size=(3, 55, 3)))
    bounds = SceneBounds(Floor(-DOWN, 1.0))
    bounds.add(np.array([[[0.0, 0.0, 3.0]]]))
    placement = bounds.grounded()
    turned = placement.rotations(rotations)
    change = (turned * rotations.inv()).magnitude()
    np.testing.assert_allclose(change[:, 0], placement.camera_rotation.magnitude())
    np.testing.assert_allclose(change[:, 1:], 0, atol=1e-7)
