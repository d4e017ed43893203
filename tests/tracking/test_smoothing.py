"""Smoothing: less trembling, little delay, and nothing changed that should not be."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from aios.geometry.quaternions import axis_angle_to_quaternion, quaternion_to_rotmat
from aios.tracking.smoothing import OneEuro, PersonFilter, RotationFilter, ShapeMean, VectorFilter
from tests.helpers.people_makers import make_person

FPS = 30.0


def readable_one_euro(values, settings):
    """The filter as its paper has it, for single numbers."""

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
    np.testing.assert_allclose(smooth, readable_one_euro(values, settings), atol=1e-12)


def test_rotation_filter_is_the_vector_filter_about_one_axis():
    angles = np.random.default_rng(1).normal(0, 0.2, 40).cumsum()
    settings = OneEuro(1.0, 1.0)
    filter_ = RotationFilter(settings)
    axis = np.array([0.6, 0.0, 0.8])
    turns = [filter_(axis_angle_to_quaternion(a * axis), i / FPS) for i, a in enumerate(angles)]
    expected = Rotation.from_rotvec(readable_one_euro(angles, settings)[:, None] * axis)
    np.testing.assert_allclose(
        quaternion_to_rotmat(np.array(turns)), expected.as_matrix(), atol=1e-9
    )


def test_rotation_filter_knows_no_seam():
    """Trembling about half a turn, where axis-angle vectors jump from one side to the other."""
    angles = np.pi + np.random.default_rng(2).normal(0, 0.05, 60)
    filter_ = RotationFilter(OneEuro(1.0, 0.0))
    for index, angle in enumerate(angles):
        vector = Rotation.from_rotvec([angle, 0, 0]).as_rotvec()
        turn = filter_(axis_angle_to_quaternion(vector), index / FPS)
        error = Rotation.from_quat(turn, scalar_first=True) * Rotation.from_rotvec([-np.pi, 0, 0])
        assert error.magnitude() < 0.15


def test_time_that_stands_still_changes_nothing():
    filter_ = VectorFilter(OneEuro(1.0, 0.0))
    first = filter_(np.array([1.0, 2.0]), 0.5).copy()
    np.testing.assert_array_equal(filter_(np.array([9.0, 9.0]), 0.5), first)
    np.testing.assert_array_equal(filter_(np.array([9.0, 9.0]), 0.4), first)


def test_a_long_gap_starts_anew():
    filter_ = VectorFilter(OneEuro(1.0, 1.0))
    filter_(np.zeros(2), 0.0)
    np.testing.assert_allclose(filter_(np.array([5.0, 1.0]), 30.0), [5.0, 1.0], rtol=0.01)


def walk(noise, seconds=4.0):
    """True and trembling body poses and places of somebody who walks and swings an arm."""
    random = np.random.default_rng(3)
    times = np.arange(0, seconds, 1 / FPS)
    pose = np.zeros((len(times), 63))
    pose[:, 45] = 0.6 * np.sin(2 * np.pi * times)
    place = np.stack([0.5 * times - 1, 0.1 + 0 * times, 9 + 0 * times], 1)
    seen_place = place * (1 + noise * random.normal(size=(len(times), 1)))
    return times, pose, pose + noise * random.normal(size=pose.shape), place, seen_place


def test_trembling_shrinks_and_motion_stays():
    times, pose, seen_pose, place, seen_place = walk(0.05)
    filter_ = PersonFilter()
    people = [
        filter_(make_person(body_pose=p, transl=t), time)
        for time, p, t in zip(times, seen_pose, seen_place, strict=True)
    ]
    smooth_pose = np.concatenate([person.body_pose for person in people])
    smooth_place = np.concatenate([person.transl for person in people])
    still = np.delete(np.arange(63), (45, 46, 47))

    def trembling(values):
        return np.abs(np.diff(values[10:], axis=0)).mean()

    assert trembling(smooth_pose[:, still]) < 0.25 * trembling(seen_pose[:, still])
    assert trembling(smooth_place[:, 2]) < 0.15 * trembling(seen_place[:, 2])
    # A swing of 0.6 rad in a second loses little of its width and comes little later.
    assert np.abs(smooth_pose[30:, 45]).max() > 0.48
    errors = [
        np.abs(smooth_pose[30:, 45] - pose[30 - lag : -lag or None, 45]).mean() for lag in range(8)
    ]
    assert np.argmin(errors) <= 4
    assert np.abs(smooth_place[:, 0] / smooth_place[:, 2] - place[:, 0] / 9).max() < 0.03


def test_shape_is_the_mean_weighted_by_score():
    filter_ = PersonFilter()
    filter_(make_person(score=0.9, betas=np.full(10, 1.0)), 0.0)
    second = filter_(make_person(score=0.3, betas=np.full(10, 5.0)), 0.1)
    np.testing.assert_allclose(second.betas, np.full((1, 10), 2.0), rtol=1e-6)
    np.testing.assert_array_equal(ShapeMean().betas, np.zeros(10))


def test_camera_and_place_say_the_same_and_the_rest_is_untouched():
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
def test_behind_the_camera_stays_finite(depth):
    filter_ = PersonFilter()
    filter_(make_person(), 0.0)
    person = filter_(make_person(transl=(0.1, 0.2, depth or -1e-9)), 0.1)
    assert np.isfinite(person.transl).all()
