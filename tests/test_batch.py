"""Pictures of several sizes in one batch."""

import numpy as np
import torch

from aios.body_model import BodyModel
from aios.config import ImageConfig
from aios.image import batch_images, prepare_photo
from training.batch import Sample, build_batch
from training.targets import Targets

from .training_samples import random_targets


def picture(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_padding_is_what_the_network_gets_at_inference():
    pictures = [picture(40, 60, 0), picture(50, 40, 1), picture(40, 40, 2)]
    batch = build_batch([Sample(p, Targets.empty()) for p in pictures], 5000.0)
    assert batch.size_hw == (50, 60)
    assert batch.sizes_hw.tolist() == [[40, 60], [50, 40], [40, 40]]
    config = ImageConfig(short_side=40, long_side=60)
    wanted = batch_images([prepare_photo(p, config) for p in pictures])
    ours = batch.images(config)
    torch.testing.assert_close(ours.pixels, wanted.pixels)
    assert torch.equal(ours.padding_mask, wanted.padding_mask)
    assert torch.equal(ours.sizes_hw, wanted.sizes_hw)


def test_one_size_needs_no_padding():
    body = BodyModel.load()
    samples = [Sample(picture(64, 96, k), random_targets(body, k, k)) for k in range(3)]
    batch = build_batch(samples, 5000.0)
    images = batch.images(ImageConfig(short_side=64, long_side=96))
    assert images.padding_mask is None
    assert images.sizes_hw.tolist() == [[64, 96]] * 3
    assert batch.image_index.tolist() == [1, 2, 2]
    assert torch.equal(batch.to("cpu").sizes_hw, batch.sizes_hw)
