"""Scenes survive the way to the disk and back."""

import numpy as np
import pytest
import torch

from aios.body_model import BodyModel
from training.batch import Sample
from training.data.cache import CachedScenes, encode_samples
from training.targets import TENSOR_FIELDS, Targets

from .training_samples import random_targets


def smooth_picture(seed: int) -> np.ndarray:
    ramp = np.linspace(0, 200, 96)[None, :, None] + np.arange(64)[:, None, None] * 0.5 + seed
    return np.repeat(ramp, 3, 2).astype(np.uint8)


def test_round_trip(tmp_path):
    body = BodyModel.load()
    samples = [
        Sample(smooth_picture(0), random_targets(body, 2)),
        Sample(smooth_picture(9), Targets.empty(focal_length=5.0, ignore_unmatched=True)),
        Sample(smooth_picture(4), random_targets(body, 1, seed=3)),
    ]
    np.savez(tmp_path / "scenes_00000.npz", **encode_samples(samples))
    np.savez(tmp_path / ".scenes_00001.npz", nothing=np.zeros(1))  # half-written, to be ignored
    scenes = CachedScenes(tmp_path)
    assert len(scenes) == 3
    for index, sample in enumerate(samples):
        again = scenes[index]
        gap = np.abs(again.picture.astype(int) - sample.picture.astype(int))
        assert gap.mean() < 2
        for name in TENSOR_FIELDS:
            assert torch.equal(getattr(again.targets, name), getattr(sample.targets, name)), name
        assert again.targets.focal_length == sample.targets.focal_length
        assert again.targets.ignore_unmatched == sample.targets.ignore_unmatched


def test_an_empty_folder_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"training\.data\.cache"):
        CachedScenes(tmp_path)
