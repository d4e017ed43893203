"""Smoothing reduces jitter with little lag and leaves other fields unchanged."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from aios.tracking.smoothing import OneEuro, PersonFilter, RotationFilter, ShapeMean, VectorFilter
from tests.helpers.people_makers import make_person

FPS = 30.0


def scalar_one_euro(values, settings):
    """Scalar one-euro filter, written from the paper."""

    def share(cutoff):
        return 1 / (1 + FPS / (2 * np.pi * cutoff))

    smooth, speed = [values[0]], 0.0
    for value in values[1:]:
        speed += share(settings.speed_cutoff) * ((value - smooth[-1]) * FPS - speed)
        cutoff = settings.min_cutoff + settings.speed_weight * abs(speed)
        smooth.append(smooth[-1] + share(cutoff) * (value - smooth[-1]))
    return np.array(smooth)


def test_vector_filter_is_the_one_euro_filter():
    values = np.random.default_rng(0).normal(size=50).cumsum()
    settings = OneEuro(1.3, 0.7, 0.9)
    filter_ = VectorFilter(settings)
    smooth = [filter_(np.array([value, 0.0]), i / FPS)[0] for i, value in enumerate(values)]
    np.testing.assert_allclose(smooth, scalar_one_euro(values, settings), atol=1e-12)


def test_rotation_filter_is_the_vector_filter_about_one_axis():
    angles = np.random.default_rng(1).normal(0, 0.2, 40).cumsum()
    settings = OneEuro(1.0, 1.0)
    filter_ = RotationFilter(settings)
    axis = np.array([0.6, 0.0, 0.8])
    vectors = [filter_(angle * axis, index / FPS) for index, angle in enumerate(angles)]
    found = Rotation.from_rotvec(vectors).as_matrix()
    expected = Rotation.from_rotvec(scalar_one_euro(angles, settings)[:, None] * axis)
    np.testing.assert_allclose(found, expected.as_matrix(), atol=1e-9)


def test_rotation_filter_is_continuous_at_half_a_turn():
    """Jitter around half a turn, where axis-angle vectors change their sign."""
    angles = np.pi + np.random.default_rng(2).normal(0, 0.05, 60)
    filter_ = RotationFilter(OneEuro(1.0, 0.0))
    for index, angle in enumerate(angles):
        vector = Rotation.from_rotvec([angle, 0, 0]).as_rotvec()
        filtered = filter_(vector, index / FPS)
        error = Rotation.from_rotvec(filtered) * Rotation.from_rotvec([-np.pi, 0, 0])
        assert error.magnitude() < 0.15


def test_value_is_ignored_if_time_does_not_increase():
    filter_ = VectorFilter(OneEuro(1.0, 0.0))
    first = filter_(np.array([1.0, 2.0]), 0.5).copy()
    np.testing.assert_array_equal(filter_(np.array([9.0, 9.0]), 0.5), first)
    np.testing.assert_array_equal(filter_(np.array([9.0, 9.0]), 0.4), first)


def test_long_gap_resets_the_filter():
    filter_ = VectorFilter(OneEuro(1.0, 1.0))
    filter_(np.zeros(2), 0.0)
    np.testing.assert_allclose(filter_(np.array([5.0, 1.0]), 30.0), [5.0, 1.0], rtol=0.01)


def walk(noise, seconds=4.0):
    """True and noisy body poses and positions of a person who walks and swings an arm."""
    random = np.random.default_rng(3)
    times = np.arange(0, seconds, 1 / FPS)
    pose = np.zeros((len(times), 63))
    pose[:, 45] = 0.6 * np.sin(2 * np.pi * times)
    position = np.stack([0.5 * times - 1, 0.1 + 0 * times, 9 + 0 * times], 1)
    noisy_position = position * (1 + noise * random.normal(size=(len(times), 1)))
    return times, pose, pose + noise * random.normal(size=pose.shape), position, noisy_position


def test_jitter_shrinks_and_motion_stays():
    times, pose, noisy_pose, position, noisy_position = walk(0.05)
    filter_ = PersonFilter()
    people = [
        filter_(make_person(body_pose=p, transl=t), time)
        for time, p, t in zip(times, noisy_pose, noisy_position, strict=True)
    ]
    smooth_pose = np.concatenate([person.body_pose for person in people])
    smooth_position = np.concatenate([person.transl for person in people])
    still = np.delete(np.arange(63), (45, 46, 47))

    def jitter(values):
        return np.abs(np.diff(values[10:], axis=0)).mean()

    assert jitter(smooth_pose[:, still]) < 0.25 * jitter(noisy_pose[:, still])
    assert jitter(smooth_position[:, 2]) < 0.15 * jitter(noisy_position[:, 2])
    # A swing of 0.6 rad per second keeps most of its amplitude and has little lag.
    assert np.abs(smooth_pose[30:, 45]).max() > 0.48
    errors = [
        np.abs(smooth_pose[30:, 45] - pose[30 - lag : -lag or None, 45]).mean() for lag in range(8)
    ]
    assert np.argmin(errors) <= 4
    assert np.abs(smooth_position[:, 0] / smooth_position[:, 2] - position[:, 0] / 9).max() < 0.03


def test_shape_is_the_mean_weighted_by_score():
    filter_ = PersonFilter()
    filter_(make_person(score=0.9, betas=np.full(10, 1.0)), 0.0)
    second = filter_(make_person(score=0.3, betas=np.full(10, 5.0)), 0.1)
    np.testing.assert_allclose(second.betas, np.full((1, 10), 2.0), rtol=1e-6)
    np.testing.assert_array_equal(ShapeMean().betas, np.zeros(10))


def test_weak_camera_matches_transl_and_other_fields_are_unchanged():
    filter_ = PersonFilter()
    for index, z in enumerate((8.0, 9.0)):
        person = make_person(transl=(1.0, -0.5, z), left_hand_pose=np.full(45, 4.0))
        smooth = filter_(person, index / FPS)
    scale, x, y = smooth.weak_camera[0]
    np.testing.assert_allclose(smooth.transl[0], (x / scale, y / scale, 1 / scale), rtol=1e-5)
    assert 8.0 < smooth.transl[0, 2] < 9.0
    np.testing.assert_array_equal(smooth.left_hand_pose, person.left_hand_pose)
    for name in ("scores", "boxes_xyxy_px", "keypoints_2d_px", "query_indices"):
        np.testing.assert_array_equal(getattr(smooth, name), getattr(person, name))


@pytest.mark.parametrize("depth", [0.0, -3.0])
def test_person_behind_the_camera_stays_finite(depth):
    filter_ = PersonFilter()
    filter_(make_person(), 0.0)
    person = filter_(make_person(transl=(0.1, 0.2, depth or -1e-9)), 0.1)
    assert np.isfinite(person.transl).all()
