"""Cached scenes round-trip through shards."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from aios.body.model import BodyModel
from tests.helpers.training_samples import random_targets
from training.data import cache
from training.data.batch import Sample
from training.data.cache import CachedScenes, encode_samples, has_crowds
from training.targets import NEUTRAL, TENSOR_FIELDS, Targets

ROOT = Path(__file__).resolve().parents[3]


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
    np.savez(tmp_path / ".scenes_00001.npz", nothing=np.zeros(1))  # incomplete, to be ignored
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


def test_missing_fields_of_old_shards_are_derived(tmp_path):
    targets = random_targets(BodyModel.load(), 2)
    targets = replace(targets, face_box_valid=torch.tensor([True, False]))
    sample = Sample(smooth_picture(0), targets)
    arrays = encode_samples([sample])
    newer = ("joints_2d_visible", "joints_3d_confidence", "expression_valid", "gender")
    np.savez(tmp_path / "scenes_00000.npz", **{k: v for k, v in arrays.items() if k not in newer})
    again = CachedScenes(tmp_path)[0].targets
    assert torch.equal(again.joints_2d_visible, sample.targets.joints_2d_visible)
    assert again.expression_valid.tolist() == [True, False]
    assert bool((again.joints_3d_confidence == 1).all() and (again.gender == NEUTRAL).all())


def test_empty_folder_names_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"training\.data\.cache"):
        CachedScenes(tmp_path)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.25, 5), (0.5, 10), (1.0, 20)])
def test_shards_with_crowds_are_evenly_spread(share, expected):
    crowded = [has_crowds(shard, share) for shard in range(20)]
    assert sum(crowded) == expected
    if 0 < share < 1:
        gaps = np.diff(np.flatnonzero(crowded))
        assert set(gaps.tolist()) == {round(1 / share)}


def test_command_renders_crowds(tmp_path, monkeypatch):
    """With the same seed, shards with crowds have more people."""
    monkeypatch.setattr(cache, "SHARD_SCENES", 12)
    monkeypatch.setattr(cache, "SHAPES_HW", ((128, 128),))
    people = {}
    for share in ("0", "1"):
        cache.main(["--out", str(tmp_path / share), "--count", "12", "--crowds", share])
        scenes = CachedScenes(tmp_path / share)
        people[share] = sum(len(scenes[index].targets.boxes) for index in range(12))
    assert people["1"] > 2 * people["0"]


def test_share_of_crowds_is_checked(tmp_path, capsys):
    with pytest.raises(SystemExit):
        cache.main(["--out", str(tmp_path), "--crowds", "1.5"])
    assert "--crowds must be between 0 and 1, not 1.5" in capsys.readouterr().err


def test_command_starts_without_warnings():
    """Python warns if a package imports the module that is run with -m."""
    command = [sys.executable, "-W", "error::RuntimeWarning"]
    command += ["-m", "training.data.cache", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
