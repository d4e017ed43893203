"""Position of people from their keypoints, and the trust in each keypoint."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from aios.body.model import BodyModel
from aios.fitting.placement import keypoint_translation, keypoint_weights
from aios.geometry.camera import Camera
from aios.network.config import BODY_KEYPOINT_JOINTS
from aios.people import People
from aios.resources import STANDIN_BODY
from tests.helpers.predictions import synthetic_prediction

CAMERA = Camera(1500.0, (240.0, 320.0), 480, 640)


@pytest.fixture(scope="module")
def upright():
    """A person in the rest pose, facing the camera, with joints in metres."""
    people = synthetic_prediction(1, CAMERA).people
    zeros = {name: np.zeros_like(getattr(people, name)) for name in people.smplx_parameters()}
    zeros["global_orient"][:, 0] = np.pi
    people = replace(people, **zeros)
    body = BodyModel.load(STANDIN_BODY)
    posed = body({n: torch.from_numpy(v) for n, v in people.smplx_parameters().items()})
    return people, posed.joints_3d.numpy()


def portrait(people: People, joints: np.ndarray, depth: float):
    """The person at `depth`, head at the top of the photo, as the network would predict it.

    Keypoints below the photo are predicted just above its lower border.
    """
    at = np.array([0.0, 0.0, depth]) - joints[:, 15]
    at[:, 1] -= 0.13 * depth
    true = joints + at[:, None]
    keypoints = CAMERA.project(true[:, list(BODY_KEYPOINT_JOINTS)])
    size = (CAMERA.width, CAMERA.height)
    seen = (keypoints < size).all(-1)
    predicted = np.where(keypoints[..., 1:] > CAMERA.height, [240.0, 600.0], keypoints)
    box = np.array([[60.0, 60.0, 420.0, 640.0]], np.float32)
    return replace(people, keypoints_2d_px=predicted.astype(np.float32), boxes_xyxy_px=box), (
        true,
        seen,
    )


def test_keypoints_of_a_whole_person_are_trusted(upright):
    people, joints = upright
    whole, (_, seen) = portrait(people, joints, 8.0)
    assert seen.all()
    assert (keypoint_weights(whole, CAMERA) == 1).all()


def test_keypoints_below_the_photo_are_not_trusted(upright):
    people, joints = upright
    cut, (_, seen) = portrait(people, joints, 1.8)
    weights = keypoint_weights(cut, CAMERA)
    assert seen[0, :7].all() and not seen[0, 11:].any()
    assert (weights[0, 11:] == 0).all() and (weights[0, :7] == 1).all()


def test_feet_at_the_border_are_trusted(upright):
    people, joints = upright
    whole, _ = portrait(people, joints, 8.0)
    lowest = whole.keypoints_2d_px[0, :, 1].max()
    shifted = whole.keypoints_2d_px + np.array([0, 635.0 - lowest], np.float32)
    box = np.array([[60.0, 250.0, 420.0, 640.0]], np.float32)
    whole = replace(whole, keypoints_2d_px=shifted, boxes_xyxy_px=box)
    assert (keypoint_weights(whole, CAMERA) == 1).all()


def test_a_portrait_is_placed_by_head_and_shoulders(upright):
    """The predicted depth may be wrong by a factor: the keypoints of the head correct it."""
    people, joints = upright
    cut, (true, seen) = portrait(people, joints, 1.8)
    wrong = true * 1.6
    wrong = wrong[:, :1] + (true - true[:, :1])
    placed = wrong + keypoint_translation(cut, wrong, CAMERA)[:, None]
    head = list(BODY_KEYPOINT_JOINTS)[:7]
    apart = CAMERA.project(placed[:, head]) - CAMERA.project(true[:, head])
    assert np.linalg.norm(apart, axis=-1).max() < 20
    assert placed[0, 0, 2] == pytest.approx(true[0, 0, 2], rel=0.15)


def test_keypoints_that_are_hardly_seen_are_trusted_less(upright):
    people, joints = upright
    whole, _ = portrait(people, joints, 8.0)
    scores = np.linspace(0, 1, 17, dtype=np.float32)[None]
    weights = keypoint_weights(replace(whole, keypoint_scores=scores), CAMERA)[0]
    assert 0 < weights[0] < 0.3 and weights[-1] == 1
    assert (np.diff(weights) >= 0).all()


def test_nobody_has_no_weights():
    nobody = synthetic_prediction(0).people
    assert keypoint_weights(nobody, CAMERA).shape == (0, 17)
