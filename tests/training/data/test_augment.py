"""Flip, window and collage transform image and targets together."""

import numpy as np
import pytest
import torch

from aios.body.model import BodyModel
from tests.helpers.training_samples import random_picture, random_targets
from training.data.augment import (
    AugmentConfig,
    Window,
    augment,
    random_window,
    warp_window,
    window_targets,
)
from training.data.batch import Sample
from training.data.collage import collage
from training.data.mirror import flip, flip_targets
from training.joints import (
    BODY_JOINTS,
    FACE_JOINTS,
    JOINTS_MIRROR,
    LEFT_HAND_JOINTS,
    RIGHT_HAND_JOINTS,
)
from training.targets import TENSOR_FIELDS, Targets, joint_keypoints, mirrorable

POSE = ("global_orient", "body_pose", "left_hand_pose", "right_hand_pose", "jaw_pose")


@pytest.fixture(scope="module")
def body():
    return BodyModel.load()


def test_double_flip_is_the_identity(body):
    sample = Sample(random_picture(0), random_targets(body, 3))
    twice = flip(flip(sample))
    assert np.array_equal(twice.picture, sample.picture)
    for name in TENSOR_FIELDS:
        before, after = getattr(sample.targets, name), getattr(twice.targets, name)
        torch.testing.assert_close(after, before, atol=1e-6, rtol=0, msg=name)


def test_double_flip_is_exact_after_any_window(body):
    random = np.random.default_rng(5)
    for seed in range(20):
        sample = Sample(random_picture(0), random_targets(body, 3, seed))
        window = Window(*random.uniform(-40, 10, 2), *random.uniform(20, 90, 2))
        targets = window_targets(sample.targets, window, (96, 64))
        twice = flip_targets(flip_targets(targets))
        for name in TENSOR_FIELDS:
            assert torch.equal(getattr(twice, name), getattr(targets, name)), name


def test_mirrorable_values_are_close_and_flip_exactly():
    values = torch.cat([torch.linspace(-3, 4, 1001), torch.randn(1000) * 300, torch.rand(1000)])
    moved = mirrorable(values)
    assert torch.equal(1 - (1 - moved), moved)
    assert torch.equal(mirrorable(moved), moved)
    assert bool(((moved - values).abs() <= 2**-24 * (values.abs() + 1)).all())


def test_flipped_parameters_pose_the_flipped_body(body):
    """Joints posed by the body model from flipped parameters are the flipped joints."""
    targets = random_targets(body, 4)
    mirrored = flip_targets(targets)
    parameters = {name: getattr(mirrored, name) for name in (*POSE, "betas", "transl")}
    posed = body.joints(parameters | {"expression": mirrored.expression})
    # The stand-in is nearly symmetric; a wrong side would give errors of tens of centimetres.
    body_gap = (posed - mirrored.joints_3d).norm(dim=-1)[:, list(BODY_JOINTS)]
    hand_joints = list(LEFT_HAND_JOINTS + RIGHT_HAND_JOINTS)
    hand_gap = (posed - mirrored.joints_3d).norm(dim=-1)[:, hand_joints]
    assert float(body_gap.max()) < 0.01
    assert float(hand_gap.max()) < 0.01


def test_mirror_table_is_its_own_inverse():
    assert [JOINTS_MIRROR[k] for k in JOINTS_MIRROR] == list(range(144))
    assert [JOINTS_MIRROR[k] for k in LEFT_HAND_JOINTS] == list(RIGHT_HAND_JOINTS)
    assert {JOINTS_MIRROR[k] for k in FACE_JOINTS} == set(FACE_JOINTS)


def test_keypoints_match_joints_after_augmentation(body):
    random = np.random.default_rng(0)
    for seed in range(6):
        sample = Sample(random_picture(seed), random_targets(body, 2, seed))
        changed = augment(sample, random, (64, 48), AugmentConfig()).targets
        again = joint_keypoints(changed.joints_2d)
        for part in ("", "left_hand_", "right_hand_", "face_"):
            name = f"{part}keypoints_2d"
            torch.testing.assert_close(getattr(changed, name), again[name], atol=1e-5, rtol=0)
            name = f"{part}keypoints_visible"
            assert bool((getattr(changed, name) <= again[name]).all())
        assert bool((changed.joints_2d_visible <= again["joints_2d_visible"]).all())
        low = changed.boxes[:, :2] - changed.boxes[:, 2:] / 2
        assert float(low.min()) >= -1e-6 if len(changed) else True


def test_marked_pixel_stays_at_its_keypoint():
    """A white pixel in a black image stays at its keypoint in an enlarged window."""
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[10, 20] = 255
    targets = Targets.unannotated(1)
    targets.boxes[:] = torch.tensor([0.4, 0.4, 0.5, 0.5])
    targets.keypoints_2d[0, 0] = torch.tensor([20.5 / 60, 10.5 / 40])
    targets.keypoints_visible[0, 0] = 1
    window = Window(10.0, 5.0, 30.0, 20.0)
    shown = warp_window(Sample(picture, targets), window, (120, 80), (0.0, 0.0, 0.0))
    y, x = np.nonzero(shown.picture[..., 0] > 0)
    weights = shown.picture[y, x, 0].astype(float)
    centre = np.array([np.average(x + 0.5, weights=weights), np.average(y + 0.5, weights=weights)])
    wanted = shown.targets.keypoints_2d[0, 0].numpy() * [120, 80]
    np.testing.assert_allclose(centre, wanted, atol=0.05)


def test_people_outside_the_window_are_dropped(body):
    targets = random_targets(body, 2)
    nowhere = window_targets(targets, Window(500.0, 500.0, 50.0, 50.0), (96, 64))
    assert len(nowhere) == 0
    everywhere = window_targets(targets, Window(0.0, 0.0, 96.0, 64.0), (96, 64))
    torch.testing.assert_close(everywhere.boxes, targets.boxes, atol=1e-6, rtol=0)


def test_windows_have_the_aspect_ratio_and_overlap_the_image(body):
    random = np.random.default_rng(3)
    sample = Sample(random_picture(1), random_targets(body, 2))
    for _ in range(50):
        window = random_window(random, sample, (64, 48), (0.3, 1.0), 0.0)
        assert window.width / window.height == pytest.approx(64 / 48)
        assert window.x < 96 and window.x + window.width > 0
        assert window.y < 64 and window.y + window.height > 0


def test_images_without_people_stay_empty():
    sample = Sample(random_picture(1), Targets.empty())
    changed = augment(sample, np.random.default_rng(0), (64, 48), AugmentConfig())
    assert changed.picture.shape == (48, 64, 3)
    assert len(changed.targets) == 0


@pytest.mark.parametrize("count", [2, 3, 4])
def test_collages_keep_people_in_their_tiles(body, count):
    random = np.random.default_rng(count)
    samples = [Sample(random_picture(k), random_targets(body, 1, k)) for k in range(count)]
    joined = collage(samples, random, (96, 64), AugmentConfig(noise=0.0, blur=0.0))
    assert joined.picture.shape == (64, 96, 3)
    assert 1 <= len(joined.targets) <= count
    boxes = joined.targets.boxes
    assert float((boxes[:, :2] - boxes[:, 2:] / 2).min()) >= -1e-5
    assert float((boxes[:, :2] + boxes[:, 2:] / 2).max()) <= 1 + 1e-5
