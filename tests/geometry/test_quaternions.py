"""Quaternions against SciPy, and at their corners."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation, Slerp

from aios.geometry.quaternions import (
    axis_angle_to_quaternion,
    conjugate,
    continuous,
    multiply,
    quaternion_to_axis_angle,
    quaternion_to_rotmat,
    slerp,
)


@pytest.fixture(scope="module")
def vectors():
    random = np.random.default_rng(0)
    axes = random.normal(size=(50, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    return axes * random.uniform(0, 2 * np.pi, (50, 1))


def to_scipy(quaternions):
    return Rotation.from_quat(quaternions, scalar_first=True)


def test_agrees_with_scipy(vectors):
    quaternions = axis_angle_to_quaternion(vectors)
    reference = Rotation.from_rotvec(vectors)
    np.testing.assert_allclose(quaternion_to_rotmat(quaternions), reference.as_matrix(), atol=1e-12)
    np.testing.assert_allclose(
        quaternion_to_axis_angle(quaternions), reference.as_rotvec(), atol=1e-9
    )
    product = multiply(quaternions[1:], quaternions[:-1])
    expected = (reference[1:] * reference[:-1]).as_matrix()
    np.testing.assert_allclose(quaternion_to_rotmat(product), expected, atol=1e-12)
    back = multiply(quaternions, conjugate(quaternions))
    np.testing.assert_allclose(back, np.tile([1.0, 0, 0, 0], (50, 1)), atol=1e-12)


@pytest.mark.parametrize("vector", [(0, 0, 0), (1e-9, 0, 0), (0, 1e-200, 0), (0, 0, np.pi)])
def test_corners(vector):
    back = quaternion_to_axis_angle(axis_angle_to_quaternion(np.array(vector, float)))
    np.testing.assert_allclose(np.abs(back), vector, atol=1e-12)


def test_slerp_takes_the_shorter_way(vectors):
    ends = axis_angle_to_quaternion(vectors[:2])
    for signs in ((1, 1), (1, -1)):
        pair = ends * np.array(signs)[:, None]
        expected = Slerp([0, 1], to_scipy(ends))([0.3]).as_matrix()[0]
        np.testing.assert_allclose(
            quaternion_to_rotmat(slerp(pair[0], pair[1], 0.3)), expected, atol=1e-9
        )


def test_continuous_changes_signs_alone():
    turns = np.stack([np.linspace(0, 12, 60), np.zeros(60), np.zeros(60)], 1)
    quaternions = axis_angle_to_quaternion(turns)
    flipped = quaternions * np.where(np.arange(60) % 3 == 1, -1.0, 1.0)[:, None]
    smooth = continuous(flipped)
    assert ((smooth[1:] * smooth[:-1]).sum(1) > 0.9).all()
    np.testing.assert_array_equal(np.abs(smooth), np.abs(quaternions))
    following = continuous(-quaternions[30:], quaternions[29])
    np.testing.assert_allclose(following, quaternions[30:], atol=1e-12)
    assert continuous(quaternions[:0], quaternions[0]).shape == (0, 4)
