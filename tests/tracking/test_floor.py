"""Feet of tracks from a still camera are on one floor and stand still, at a known truth."""

import numpy as np
import pytest

from aios.body.joint_names import JOINTS_3D_NAMES
from aios.body.model import BodyModel
from aios.resources import STANDIN_BODY
from aios.tracking.contacts import FOOT_POINTS, find_contacts
from aios.tracking.floor import BODY_POINTS, FeetTrack, ground_tracks
from tests.helpers.walks import Errors, Scene, disturbed, joints, sole_clearance, walk

FEET = [JOINTS_3D_NAMES.index(name) for name in FOOT_POINTS]
BODY = [JOINTS_3D_NAMES.index(name) for name in BODY_POINTS]
SCENE = Scene()
SMOOTH_ERRORS = Errors(pose=0.0, picture=0.01, distance=0.03, bias=0.06, jitter=0.0)


@pytest.fixture(scope="module")
def body():
    return BodyModel.load(STANDIN_BODY)


def track(body, motion):
    points = joints(body, motion.parameters)
    return FeetTrack(motion.times, points[:, FEET], sole_clearance(body, FEET), points[:, BODY])


def people(body, scene=SCENE):
    return [
        walk(body, scene, (-1.0, 5.0), 90),
        walk(body, scene, (0.5, 7.0), 0, 0.8),
        walk(body, scene, (1.5, 6.0), 20, 0.0),
    ]


def planted(motion):
    """(T - 1, 4) whether each point stands still up to the next frame."""
    return np.repeat(motion.planted[:-1] & motion.planted[1:], 2, axis=1)


def slide(motion, feet):
    """Mean speed of planted points, metres per second."""
    speeds = np.linalg.norm(np.diff(feet, axis=0), axis=-1) / np.diff(motion.times)[:, None]
    return speeds[planted(motion)].mean()


def in_picture(points):
    return points[..., :2] / points[..., 2:]


def test_true_motion_is_hardly_changed(body):
    motions = people(body)
    tracks = [track(body, motion) for motion in motions]
    result = ground_tracks(tracks)
    np.testing.assert_allclose(result.floor.normal, SCENE.up, atol=0.02)
    assert result.floor.distance == pytest.approx(SCENE.height, abs=0.1)
    for motion, one, moved in zip(motions, tracks, result.translations, strict=True):
        assert np.abs(moved).max() < 0.12
        assert slide(motion, one.feet + moved[:, None]) < 0.12


@pytest.mark.parametrize("scene", [SCENE, Scene(0.6, 0.0), Scene(3.0, 20.0)], ids=str)
def test_sliding_feet_stand_and_people_share_one_floor(body, scene):
    random = np.random.default_rng(0)
    motions = people(body, scene)
    tracks = [track(body, disturbed(body, motion, random, SMOOTH_ERRORS)) for motion in motions]
    result = ground_tracks(tracks)
    assert np.degrees(np.arccos(result.floor.normal @ scene.up)) < 5
    heights = []
    for motion, one, moved in zip(motions, tracks, result.translations, strict=True):
        before, after = slide(motion, one.feet), slide(motion, one.feet + moved[:, None])
        assert before > 0.3 and after < 0.15 and after < before / 3
        still = planted(motion)
        soles = one.feet[:-1] + moved[:-1, None]
        heights.append(result.floor.heights(soles)[still].mean())
        # The translation is along the rays: the picture changes by little of the person's height.
        shift = in_picture(one.body + moved[:, None]) - in_picture(one.body)
        size = np.ptp(in_picture(one.body)[..., 1], axis=1).mean()
        assert np.linalg.norm(shift, axis=-1).mean() < 0.04 * size
    np.testing.assert_allclose(heights, 0.02, atol=0.03)


def test_one_person_is_enough_and_nobody_is_none(body):
    motion = people(body)[0]
    one = track(body, disturbed(body, motion, np.random.default_rng(1), SMOOTH_ERRORS))
    result = ground_tracks([one])
    assert slide(motion, one.feet + result.translations[0][:, None]) < 0.15
    nobody = ground_tracks([])
    assert nobody.floor is None and nobody.translations == []


def test_person_without_contact_stays(body):
    """Someone who falls without end."""
    motion = people(body)[0]
    one = track(body, motion)
    falling = 6.0 * motion.times[:, None, None] * SCENE.rotation.apply([0.0, 1.0, 0.0])
    one = FeetTrack(one.times, one.feet + falling, one.clearance, one.body + falling)
    result = ground_tracks([one])
    assert result.floor is None
    assert not result.translations[0].any() and not result.contacts[0].any()


def test_someone_on_a_platform_is_not_pulled_down(body):
    motions = people(body)
    tracks = [track(body, motion) for motion in motions]
    high = 0.7 * SCENE.up
    third = tracks[2]
    tracks[2] = FeetTrack(third.times, third.feet + high, third.clearance, third.body + high)
    result = ground_tracks(tracks)
    assert np.abs(result.translations[2]).max() < 0.15
    np.testing.assert_allclose(result.floor.normal, SCENE.up, atol=0.07)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_frames_are_accepted(body, count):
    one = track(body, walk(body, SCENE, speed=0.0, count=count))
    result = ground_tracks([one])
    assert result.translations[0].shape == (count, 3)
    assert np.isfinite(result.translations[0]).all()


def test_gaps_and_variable_rate_are_accepted(body):
    motion = people(body)[2]
    one = track(body, disturbed(body, motion, np.random.default_rng(2), SMOOTH_ERRORS))
    kept = np.r_[0:20, 45:90:2]
    one = FeetTrack(one.times[kept], one.feet[kept], one.clearance, one.body[kept])
    moved = ground_tracks([one]).translations[0]
    feet = one.feet + moved[:, None]
    assert np.linalg.norm(np.ptp(feet, axis=0), axis=-1).max() < 0.05
    assert np.linalg.norm(np.ptp(one.feet, axis=0), axis=-1).min() > 0.1


def test_contacts_are_those_of_the_truth(body):
    for motion in people(body):
        feet = joints(body, motion.parameters)[:, FEET]
        found = find_contacts(motion.times, feet, SCENE.up)
        true = np.repeat(motion.planted, 2, axis=1)
        assert (found > 0)[true].mean() > 0.8
        assert true[found > 0].mean() > 0.85
        for number in range(1, found.max() + 1):
            assert len(set(np.nonzero(found == number)[1].tolist())) == 1
