"""Distances of people from a common floor: nearer the truth, and nobody is moved without reason."""

from dataclasses import replace

import numpy as np
import pytest

from aios.fitting.common_floor import distance_factors
from aios.network.config import BODY_KEYPOINT_JOINTS
from aios.people import People
from tests.helpers.people_on_floor import CAMERA, DOWN, people_on_floor

PLACES = ((-1.2, 5.0), (0.4, 6.5), (1.8, 8.0), (-0.3, 10.0))
WRONG = np.array([0.85, 1.2, 1.1, 0.9])
"""Factors of the predicted distances."""


@pytest.fixture(scope="module")
def standing():
    """Four people and their true joints."""
    return people_on_floor(PLACES)


def at(joints, factors):
    """Joints of people of the same size at `factors` of their distances."""
    return joints + joints[:, :1] * (factors - 1)[:, None, None]


def test_distances_come_closer_to_the_truth(standing):
    people, joints = standing
    factors = distance_factors(people, at(joints, WRONG), CAMERA)
    before, after = np.log(WRONG), np.log(WRONG * factors)
    # All distances together may change: their ratios matter.
    assert np.ptp(after) < 0.5 * np.ptp(before)


def test_people_in_the_wrong_order_change_places(standing):
    people, joints = standing
    pair = np.array([1, 2])
    wrong = at(joints[pair], np.array([1.2, 0.9]))
    depths = wrong[:, 0, 2]
    assert depths[0] > depths[1]
    moved = depths * distance_factors(people.select(pair), wrong, CAMERA)
    assert moved[0] < moved[1]


def test_true_distances_stay(standing):
    people, joints = standing
    np.testing.assert_allclose(distance_factors(people, joints, CAMERA), 1.0, atol=0.03)


def test_people_whose_feet_are_not_seen_stay(standing):
    people, joints = standing
    scores = people.keypoint_scores.copy()
    scores[1, 15:] = 0
    keypoints = people.keypoints_2d_px.copy()
    keypoints[3, 15:, 1] = CAMERA.height - 1
    unseen = replace(people, keypoint_scores=scores, keypoints_2d_px=keypoints)
    factors = distance_factors(unseen, at(joints, WRONG), CAMERA)
    np.testing.assert_array_equal(factors[[1, 3]], 1.0)
    assert (factors[[0, 2]] != 1.0).all()


def test_a_person_above_the_floor_moves_little(standing):
    """The keypoints are those of a person 1 m higher, as on a platform."""
    people, joints = standing
    raised = joints.copy()
    raised[1] -= DOWN
    pixels = CAMERA.project(raised)[:, list(BODY_KEYPOINT_JOINTS)].astype(np.float32)
    factors = distance_factors(replace(people, keypoints_2d_px=pixels), raised, CAMERA)
    np.testing.assert_allclose(factors[[0, 2, 3]], 1.0, atol=0.1)
    assert 1.0 < factors[1] <= 1.5


def test_one_person_and_nobody_stay(standing):
    people, joints = standing
    one = np.array([0])
    wrong = at(joints, WRONG)
    np.testing.assert_array_equal(distance_factors(people.select(one), wrong[one], CAMERA), 1.0)
    assert distance_factors(People.empty(), np.zeros((0, 144, 3)), CAMERA).shape == (0,)


def test_people_behind_the_camera_stay(standing):
    people, joints = standing
    behind = joints.copy()
    behind[0] *= -1
    behind[1, 0, 2] = -0.1
    factors = distance_factors(people, behind, CAMERA)
    np.testing.assert_array_equal(factors[:2], 1.0)
    assert np.isfinite(factors).all()


def test_missing_keypoints_move_nobody(standing):
    people, joints = standing
    missing = replace(people, keypoints_2d_px=np.full_like(people.keypoints_2d_px, np.nan))
    np.testing.assert_array_equal(distance_factors(missing, joints, CAMERA), 1.0)
