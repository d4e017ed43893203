"""Batches of a run follow from its seed and their number."""

import pytest
import torch

from aios.body_model import BodyModel
from training.batch import Sample, build_batch
from training.config import TINY_MODEL
from training.data import DataConfig, TrainBatches, picture_size

from .training_samples import random_picture, random_targets
from .training_sources import FewSources

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def body():
    return BodyModel.load()


def test_batches_depend_on_seed_and_number_alone(body):
    sources, image = FewSources(body), TINY_MODEL.image
    options = {"side": 64, "batch_size": 3, "seed": 5}

    def batch(number, **changes):
        return TrainBatches(sources, DataConfig(), image, 200.0, **(options | changes))[number]

    again = batch(4)
    assert torch.equal(batch(4).pictures, again.pictures)
    assert torch.equal(batch(4).targets.boxes, again.targets.boxes)
    other = batch(5)
    assert other.pictures.shape != again.pictures.shape or not torch.equal(
        other.pictures, again.pictures
    )


def test_sizes_and_focal_length_scale_together(body):
    assert picture_size(64, 1.0, TINY_MODEL.image) == (64, 64)
    assert picture_size(64, 4 / 3, TINY_MODEL.image) == (96, 64)
    assert picture_size(64, 3 / 4, TINY_MODEL.image) == (64, 96)
    assert picture_size(64, 5.0, TINY_MODEL.image) == (96, 64)
    sample = Sample(random_picture(0), random_targets(body, 1))
    assert build_batch([sample], 7.0).focal_length == 7.0
    batches = TrainBatches(
        FewSources(body), DataConfig(), TINY_MODEL.image, 200.0, side=32, batch_size=1, seed=0
    )
    batch = batches[0]
    assert batch.focal_length == pytest.approx(200.0 * min(batch.size_hw) / 64)
