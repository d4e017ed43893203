"""Batched windows equal those of the samples one by one."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from aios.body.model import BodyModel
from tests.helpers.training_samples import random_picture, random_targets
from training.data.augment import (
    AugmentConfig,
    Framing,
    Window,
    random_window,
    warp_window,
)
from training.data.batch import Sample, build_batch
from training.data.window_batch import Windows, crop_windows, random_windows, warp_windows
from training.synthetic.rng import CounterRng
from training.targets import TENSOR_FIELDS

pytestmark = pytest.mark.usefixtures("one_thread")

COUNTS = (2, 0, 3, 1)
CONFIG = AugmentConfig(person_share=(0.4, 1.1))
SIZE_WH = (64, 48)


@pytest.fixture(scope="module")
def samples():
    body = BodyModel.load()
    return [
        Sample(cv2.GaussianBlur(random_picture(k), (0, 0), 3), random_targets(body, count, k))
        for k, count in enumerate(COUNTS)
    ]


@pytest.fixture(scope="module")
def batch(samples):
    return build_batch(samples, 200.0)


def rng(seed=0):
    return CounterRng.for_scenes(seed, range(len(COUNTS)))


def window(windows, number):
    return Window(*windows.corner[number].tolist(), *windows.extent[number].tolist())


@pytest.mark.parametrize("seed", range(5))
def test_targets_equal_those_of_single_samples(samples, batch, seed):
    found = crop_windows(rng(seed), batch, SIZE_WH, CONFIG)
    windows = random_windows(rng(seed).child("window"), batch, SIZE_WH, CONFIG)
    for number, sample in enumerate(samples):
        wanted = warp_window(sample, window(windows, number), SIZE_WH, (0, 0, 0))
        own = found.targets.select(found.image_index == number)
        for name in TENSOR_FIELDS:
            one, other = getattr(own, name), getattr(wanted.targets, name)
            torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-5, msg=name)
    assert found.size_hw == SIZE_WH[::-1]
    assert found.sizes_hw.tolist() == [[48, 64]] * len(COUNTS)


def test_images_equal_those_of_single_samples(samples, batch):
    """Outside an image is its mean colour, which blends with the edge."""
    corner = torch.tensor([[10.0, 5], [-20, 8], [30, 20], [0, 0]])
    windows = Windows(corner, torch.tensor([[60.0, 45], [80, 60], [40, 30], [96, 64]]))
    pictures = warp_windows(batch.pictures, windows, SIZE_WH)
    sharp = Framing(smooth=False)
    for number, sample in enumerate(samples):
        colour = sample.picture[::8, ::8].mean((0, 1))
        wanted = warp_window(sample, window(windows, number), SIZE_WH, tuple(colour), sharp)
        found = pictures[number].permute(1, 2, 0).numpy().astype(int)
        # OpenCV rounds coordinates to 1/32 pixel.
        assert np.abs(found - wanted.picture).max() <= 4
        assert found.std() > 3


def test_windows_are_deterministic_and_show_a_person(batch):
    first = crop_windows(rng(), batch, SIZE_WH, CONFIG)
    again = crop_windows(rng(), batch, SIZE_WH, CONFIG)
    other = crop_windows(rng(1), batch, SIZE_WH, CONFIG)
    assert torch.equal(first.pictures, again.pictures)
    assert not torch.equal(first.pictures, other.pictures)
    shown = torch.bincount(first.image_index, minlength=len(COUNTS)).tolist()
    assert shown[1] == 0 and all(shown[k] > 0 for k in (0, 2, 3))
    assert (first.image_index.diff() >= 0).all()


def test_one_person_has_the_requested_size(batch):
    exact = replace(CONFIG, person_share=(0.6, 0.6), aspect_jitter=0.0)
    found = crop_windows(rng(2), batch, SIZE_WH, exact)
    widths, heights = found.targets.boxes[:, 2], found.targets.boxes[:, 3]
    longest = torch.maximum(widths, heights)
    for number in (0, 2, 3):
        own = longest[found.image_index == number]
        assert (own - 0.6).abs().min() < 0.15, own  # smaller if the image is too small


def test_windows_cover_all_parts_of_large_people(batch):
    """Windows of half the height of a person are anywhere on the person, also on the CPU."""
    close = replace(CONFIG, person_share=(2.0, 2.0), aspect_jitter=0.0)
    one = batch.targets.select(torch.arange(1))
    middle = torch.tensor([[0.5, 0.5, 0.2, 0.9]])
    alone = replace(batch, targets=replace(one, boxes=middle), image_index=torch.zeros(1).long())
    alone = replace(alone, pictures=batch.pictures[:1], sizes_hw=batch.sizes_hw[:1])
    height, width = alone.size_hw
    sample = Sample(np.zeros((height, width, 3), np.uint8), alone.targets)
    random = np.random.default_rng(0)
    tops = {"device": [], "cpu": []}
    for seed in range(40):
        windows = random_windows(CounterRng.for_scenes(seed, range(1)), alone, (64, 64), close)
        tops["device"].append(float(windows.corner[0, 1]) / height)
        seen = random_window(random, sample, (64, 64), close.person_share, 0.0)
        tops["cpu"].append(seen.y / height)
    for found in tops.values():
        assert 0.03 < min(found) < 0.15
        assert 0.4 < max(found) < 0.52


def test_batch_without_people_stays_empty(batch):
    none = torch.zeros(0, dtype=torch.int64)
    empty = replace(batch, targets=batch.targets.select(none), image_index=none)
    found = crop_windows(rng(), empty, SIZE_WH, CONFIG)
    assert len(found.targets) == 0 and found.pictures.shape == (4, 3, 48, 64)
