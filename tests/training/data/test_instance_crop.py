"""The paper's augmentation: what is shown, and that photo and targets move together."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from aios.body.model import BodyModel
from aios.geometry.boxes import cxcywh_to_xyxy
from tests.helpers.training_samples import FOCAL_PX, SIZE_HW, random_targets
from training.data.augment import jitter_colours
from training.data.batch import Sample
from training.data.instance_crop import (
    PHOTO_AUGMENT,
    CropPlan,
    InstanceCrop,
    apply_crop,
    augment_photo,
    crop_around,
    sample_crop,
)
from training.data.mirror import flip_targets
from training.targets import TENSOR_FIELDS, Targets

HEIGHT, WIDTH = SIZE_HW
SMALL = InstanceCrop(short_sides=(48, 64, 80), long_side=110)
SEEDS = range(40)


@pytest.fixture(scope="module")
def body():
    return BodyModel.load()


def ramps() -> np.ndarray:
    """An image with the column in red and the row in green."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([2 * columns, 3 * rows, 0 * rows], -1).astype(np.uint8)


def random_crop(body, seed: int) -> tuple[Sample, CropPlan, Sample]:
    sample = Sample(ramps(), random_targets(body, 3, seed))
    plan = sample_crop(np.random.default_rng(seed), sample, SMALL, 0.5)
    return sample, plan, apply_crop(sample, plan, PHOTO_AUGMENT)


def test_3d_joints_project_onto_2d_joints(body):
    """Projection by the camera of the photo and then the crop gives the 2D joints."""
    mirrored = 0
    for seed in SEEDS:
        sample, plan, shown = random_crop(body, seed)
        side = -1.0 if plan.mirrored else 1.0
        mirrored += plan.mirrored
        joints = shown.targets.joints_3d.double()
        points = joints[..., :2] * torch.tensor([side, 1.0]) / joints[..., 2:] * FOCAL_PX
        points = points + torch.tensor([WIDTH, HEIGHT]) / 2
        window = plan.window
        points = (points - torch.tensor([window.x, window.y])) / torch.tensor(
            [window.width, window.height]
        )
        if plan.mirrored:
            points[..., 0] = 1 - points[..., 0]
        torch.testing.assert_close(points.float(), shown.targets.joints_2d, atol=2e-5, rtol=1e-5)
    assert 5 < mirrored < 35


def test_pixels_move_with_the_joints(body):
    """Colours encode the original position of the pixel at each joint of the result."""
    checked = 0
    for seed in SEEDS:
        sample, plan, shown = random_crop(body, seed)
        index_of = {tuple(t.tolist()): k for k, t in enumerate(sample.targets.global_orient)}
        targets = flip_targets(shown.targets) if plan.mirrored else shown.targets
        for person in range(len(targets)):
            index = index_of[tuple(targets.global_orient[person].tolist())]
            original = sample.targets.joints_2d[index] * torch.tensor([WIDTH, HEIGHT])
            size = torch.tensor(plan.size_wh)
            points = targets.joints_2d[person]
            if plan.mirrored:
                points = torch.stack([1 - points[:, 0], points[:, 1]], -1)
            pixels = points * size
            # Leave out the edges, where the photo blends with the black border.
            inner = ((original > 2) & (original < torch.tensor([WIDTH - 3, HEIGHT - 3]))).all(-1)
            inner &= ((pixels > 2) & (pixels < size - 3)).all(-1)
            found = cv2.remap(
                shown.picture.astype(np.float32),
                *(pixels[inner, k].numpy()[:, None] for k in (0, 1)),
                cv2.INTER_LINEAR,
            )[:, 0]
            checked += int(inner.sum())
            wanted = original[inner].numpy()
            assert np.abs(found[:, 0] / 2 - wanted[:, 0]).max(initial=0) < 0.5
            assert np.abs(found[:, 1] / 3 - wanted[:, 1]).max(initial=0) < 0.5
    assert checked > 3000


def test_flip_exchanges_all_left_and_right_fields(body):
    targets = random_targets(body, 2)
    generator = torch.Generator().manual_seed(1)
    targets = replace(
        targets,
        left_hand_pose_valid=torch.tensor([True, False]),
        right_hand_pose_valid=torch.tensor([False, False]),
        left_hand_box_valid=torch.tensor([False, True]),
        right_hand_box_valid=torch.tensor([True, True]),
        joints_2d_visible=torch.rand(2, 144, generator=generator),
        joints_3d_confidence=torch.rand(2, 144, generator=generator),
        left_hand_keypoints_visible=torch.rand(2, 6, generator=generator),
    )
    sample = Sample(ramps(), targets)
    whole = sample_crop(np.random.default_rng(0), sample, replace(SMALL, crop=0.0), 0.0)
    plain = apply_crop(sample, whole, PHOTO_AUGMENT).targets
    mirrored = apply_crop(sample, replace(whole, mirrored=True), PHOTO_AUGMENT).targets
    assert mirrored.left_hand_pose_valid.tolist() == [False, False]
    assert mirrored.right_hand_pose_valid.tolist() == [True, False]
    assert mirrored.right_hand_box_valid.tolist() == plain.left_hand_box_valid.tolist()
    assert torch.equal(mirrored.right_hand_keypoints_visible, plain.left_hand_keypoints_visible)
    for left, right in ((20, 21), (25, 40), (57, 56), (66, 71), (104, 95)):
        for name in ("joints_2d_visible", "joints_3d_confidence"):
            before, after = getattr(plain, name), getattr(mirrored, name)
            assert torch.equal(after[:, left], before[:, right])
            assert torch.equal(after[:, right], before[:, left])
    again = flip_targets(mirrored)
    for name in TENSOR_FIELDS:
        assert torch.equal(getattr(again, name), getattr(plain, name)), name


def test_people_who_touch_the_window_are_kept(body):
    dropped = 0
    for seed in SEEDS:
        generator = torch.Generator().manual_seed(seed)
        spread = torch.rand(4, 4, generator=generator) * torch.tensor([0.8, 0.8, 0.1, 0.1]) + 0.1
        targets = replace(random_targets(body, 4, seed), boxes=spread)
        sample = Sample(ramps(), targets)
        plan = sample_crop(np.random.default_rng(seed), sample, SMALL, 0.5)
        shown = apply_crop(sample, plan, PHOTO_AUGMENT)
        boxes = cxcywh_to_xyxy(sample.targets.boxes) * torch.tensor([WIDTH, HEIGHT] * 2)
        window = plan.window
        overlap = torch.minimum(
            boxes[:, 2:], torch.tensor([window.x + window.width, window.y + window.height])
        ) - torch.maximum(boxes[:, :2], torch.tensor([window.x, window.y]))
        touching = (overlap > 1e-3).all(-1)
        assert len(shown.targets) == int(touching.sum())
        dropped += 4 - len(shown.targets)
        corners = cxcywh_to_xyxy(shown.targets.boxes)
        assert float(corners.min()) >= -1e-6 and float(corners.max()) <= 1 + 1e-6
        assert bool((shown.targets.boxes[:, 2:] > 0).all())
    assert dropped > 10


def test_sizes_are_those_of_the_paper():
    sample = Sample(np.zeros((1080, 1920, 3), np.uint8), Targets.empty())
    seen = set()
    for seed in range(200):
        plan = sample_crop(np.random.default_rng(seed), sample, InstanceCrop(), 0.5)
        short, long = sorted(plan.size_wh)
        assert long <= 1333 and plan.size_wh[0] > plan.size_wh[1]
        seen.add(short)
    # At 16:9 the long side exceeds 1333 from a short side of 750 on.
    assert seen == {*range(480, 750, 32), 750}


def test_crops_contain_the_boxes_and_stay_in_the_photo():
    random = np.random.default_rng(0)
    for _ in range(300):
        low = random.uniform(0, [1200, 650], (3, 2))
        high = np.minimum(low + random.uniform(2, 500, (3, 2)), [1280, 720])
        window = crop_around(np.concatenate([low, high], 1), (1280, 720))
        corner = np.array([window.x, window.y])
        extent = np.array([window.width, window.height])
        assert (corner >= 0).all() and (corner + extent <= [1280, 720]).all()
        assert (corner <= low.min(0)).all() and (corner + extent > high.max(0) - 2).all()
        assert abs(window.width / window.height - 16 / 9) < 0.05 or extent.min() < 60


def test_probabilities_of_crops_and_subsets(body):
    targets = random_targets(body, 1).select(torch.zeros(4, dtype=torch.int64))
    centre = torch.tensor([[0.1, 0.5], [0.35, 0.5], [0.6, 0.5], [0.85, 0.5]])
    targets = replace(targets, boxes=torch.cat([centre, torch.full_like(centre, 0.05)], -1))
    sample = Sample(np.zeros((500, 1000, 3), np.uint8), targets)
    plans = [
        sample_crop(np.random.default_rng(seed), sample, InstanceCrop(), 0.5)
        for seed in range(3000)
    ]
    widths = np.array([plan.window.width for plan in plans])
    assert abs((widths == 1000).mean() - 0.5) < 0.04
    # Half of the crops contain all four people; of the others 60 % + 40 % / 4 contain one.
    cropped = widths[widths < 1000]
    assert abs((cropped < 100).mean() - 0.5 * (0.6 + 0.4 / 4)) < 0.05
    assert abs(np.mean([plan.mirrored for plan in plans]) - 0.5) < 0.04


def test_colours_change_by_channel_within_limits():
    picture = np.full((4, 4, 3), (100, 150, 250), np.uint8)
    gains = np.array(
        [
            jitter_colours(picture, np.random.default_rng(seed), PHOTO_AUGMENT)[0, 0]
            / picture[0, 0]
            for seed in range(400)
        ]
    )
    assert gains.min() >= 0.78 and gains[:, :2].max() <= 1.2
    assert gains[:, 2].max() <= 255 / 250
    assert abs(gains[:, 0].mean() - 1) < 0.02
    assert abs(np.corrcoef(gains[:, 0], gains[:, 1])[0, 1]) < 0.15


@pytest.mark.parametrize("noise", [0.0, 1e-6])
def test_color_levels_are_rounded_to_nearest(noise):
    levels = np.tile(np.arange(20, 200, dtype=np.uint8)[:, None, None], (1, 8, 3))
    config = replace(PHOTO_AUGMENT, noise=noise)
    for seed in range(20):
        changed = jitter_colours(levels, np.random.default_rng(seed), config)
        replayed = np.random.default_rng(seed)
        replayed.random(), replayed.uniform(-1, 1)  # the draws for blur and contrast
        exact = levels * (1 + replayed.uniform(-1, 1, 3) * config.channel)
        assert np.abs(changed - exact).max() <= 0.5 + 1e-3


def test_augmentation_is_deterministic(body):
    sample = Sample(ramps(), random_targets(body, 2))
    one, two = (
        augment_photo(sample, np.random.default_rng(4), SMALL, PHOTO_AUGMENT) for _ in range(2)
    )
    assert np.array_equal(one.picture, two.picture)
    assert torch.equal(one.targets.joints_2d, two.targets.joints_2d)
    assert np.array_equal(sample.picture, ramps())


def test_images_without_people_and_tiny_boxes():
    empty = Sample(ramps(), Targets.empty())
    for seed in range(8):
        shown = augment_photo(empty, np.random.default_rng(seed), SMALL, PHOTO_AUGMENT)
        assert len(shown.targets) == 0 and min(shown.picture.shape[:2]) >= 48
    window = crop_around(np.array([[95.6, 63.7, 96.0, 64.0]]), (WIDTH, HEIGHT))
    assert window.width >= 1 and window.x + window.width <= WIDTH
