"""Mixtures of data sets: deterministic, complete, split between processes."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from aios.body.model import BodyModel
from aios.network.config_dict import ConfigError, config_from_dict, config_to_dict, with_overrides
from tests.helpers.humandata_files import write_set
from training.data.archive import DataError
from training.data.instance_crop import InstanceCrop
from training.data.loader import load_batches
from training.data.photo_mix import MIXTURES, PhotoBatches, PhotoConfig, SetShare, open_set
from training.data.sets import DATA_SETS
from training.targets import TENSOR_FIELDS

SMALL = InstanceCrop(short_sides=(48, 64), long_side=80)
ALL = ("agora", "bedlam", "coco", "egobody", "arctic", "ubody")


class Lengths:
    """A data set that has only a length."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length


def mix(shares: dict[str, float], lengths: list[int], seed: int = 0, batch: int = 2):
    config = PhotoConfig(sets=tuple(SetShare(n, s) for n, s in shares.items()))
    return PhotoBatches([Lengths(n) for n in lengths], config, 5000.0, batch_size=batch, seed=seed)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Replacements of all data sets of the paper, training splits only."""
    folder, body = tmp_path_factory.mktemp("data"), BodyModel.load()
    for name in (*ALL, "synthetic"):
        write_set(folder, body, name, (2, 1, 3, 1, 2, 1))
    return folder


def open_mix(root, name: str, seed: int = 3, batch: int = 3) -> PhotoBatches:
    config = PhotoConfig(root=str(root), sets=MIXTURES[name], crop=SMALL)
    return open_config(config, seed, batch)


def open_config(config: PhotoConfig, seed: int = 0, batch: int = 1) -> PhotoBatches:
    sets = [open_set(share, config) for share in config.sets]
    return PhotoBatches(sets, config, 5000.0, batch_size=batch, seed=seed)


def same(a, b) -> bool:
    return torch.equal(a.pictures, b.pictures) and all(
        torch.equal(getattr(a.targets, n), getattr(b.targets, n)) for n in TENSOR_FIELDS
    )


def test_shares_of_the_paper_and_of_the_released_code():
    shares = {name: {s.name: s.share for s in sets} for name, sets in MIXTURES.items()}
    assert shares["paper-2"] == dict(zip(ALL, (0.2, 0.2, 0.2, 0.2, 0.1, 0.1), strict=True))
    assert shares["released-2"] == dict(zip(ALL, (0.2, 0.2, 0.2, 0.1, 0.1, 0.2), strict=True))
    assert shares["released-1"] == shares["paper-1"] == {"agora": 0.4, "bedlam": 0.3, "coco": 0.3}
    assert {s.crop for s in MIXTURES["paper-2"]} == {s.subset for s in MIXTURES["paper-2"]} == {0.5}
    released = {s.name: (s.crop, s.subset) for s in MIXTURES["released-2"]}
    assert released["agora"] == (0.7, 0.5) and released["bedlam"] == (0.7, 0.6)
    assert released["ubody"] == (0.3, 0.5)
    intervals = {
        s.name: s.interval or DATA_SETS[s.name].train_interval for s in MIXTURES["paper-2"]
    }
    assert intervals == {
        "agora": 1,
        "bedlam": 5,
        "coco": 1,
        "egobody": 2,
        "arctic": 1000,
        "ubody": 5,
    }
    assert {s.interval for s in MIXTURES["released-2"] if s.name == "egobody"} == {5}


def test_sets_are_sampled_by_their_shares():
    batches = mix({"agora": 0.5, "bedlam": 0.3, "coco": 0.2}, [50, 7, 1000])
    counts = np.zeros(3)
    for number in range(6000):
        which, element = batches.choice(number)
        counts[which] += 1
        assert 0 <= element < len(batches.sets[which])
    np.testing.assert_allclose(counts / counts.sum(), [0.5, 0.3, 0.2], atol=0.025)


def test_epochs_are_different_permutations():
    batches = mix({"agora": 1.0}, [101])
    epochs = [[batches.choice(101 * e + k)[1] for k in range(101)] for e in range(3)]
    assert all(sorted(epoch) == list(range(101)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert [batches.choice(101 + k)[1] for k in range(101)] == epochs[1]
    assert batches.epoch_length == 101


def test_smaller_sets_repeat():
    batches = mix({"agora": 0.5, "coco": 0.5}, [100, 10])
    elements = [element for which, element in map(batches.choice, range(400)) if which == 1]
    assert set(elements) == set(range(10))


def test_seeds_differ_and_processes_split_one_stream():
    one, two = mix({"agora": 1.0}, [64], seed=0), mix({"agora": 1.0}, [64], seed=1)
    assert [one.choice(k) for k in range(64)] != [two.choice(k) for k in range(64)]
    world, size = 4, 2
    seen = [
        one.choice(index * size + k)[1]
        for rank in range(world)
        for index in range(rank, 32, world)
        for k in range(size)
    ]
    assert sorted(seen) == list(range(64))


def test_batches_depend_only_on_their_index(root):
    batches, again = open_mix(root, "paper-2"), open_mix(root, "paper-2")
    later = again[5]
    for index in range(5):
        batches[index]
    assert same(batches[5], later)
    assert not same(batches[4], later)
    assert not same(open_mix(root, "paper-2", seed=4)[5], later)


def test_workers_and_resumed_runs_give_the_same_batches(root):
    batches = open_mix(root, "released-1")
    alone = [batches[k] for k in range(1, 10, 2)]
    loader = load_batches(batches, 1, 2, workers=2)
    for wanted in alone:
        assert same(next(loader), wanted)
    resumed = load_batches(open_mix(root, "released-1"), 7, 2, workers=1)
    assert same(next(resumed), alone[3])


@pytest.mark.parametrize("name", sorted(MIXTURES))
def test_every_mixture_runs_without_a_test_split(root, name):
    batches = open_mix(root, name)
    for index in range(3):
        batch = batches[index]
        assert len(batch) == 3 and batch.focal_length == 5000.0
        assert batch.sizes_hw.max(0).values.tolist() == list(batch.size_hw)
        assert bool(torch.isfinite(batch.targets.joints_2d).all())


def test_missing_files_are_named(root, tmp_path):
    config = PhotoConfig(root=str(tmp_path), sets=MIXTURES["paper-1"])
    message = r"agora_train_3840\.npz does not exist: .* agora; get the data from https://agora\.is"
    with pytest.raises(DataError, match=message):
        open_config(config)
    (root / "synthetic" / "images" / "000001.png").rename(tmp_path / "away.png")
    try:
        with pytest.raises(DataError, match=r"000001\.png cannot be read: No such file"):
            list(zip(range(4), load_batches(open_mix(root, "synthetic"), 0, 1, 1), strict=False))
    finally:
        (tmp_path / "away.png").rename(root / "synthetic" / "images" / "000001.png")


def test_invalid_mixtures_are_refused():
    with pytest.raises(ConfigError, match="no data set named 'h36m'"):
        SetShare("h36m", 1.0)
    with pytest.raises(ConfigError, match=r"sum to 0\.5"):
        PhotoConfig(sets=(SetShare("agora", 0.5),))
    with pytest.raises(ConfigError, match="must be between 0 and 1"):
        SetShare("agora", 1.0, crop=1.5)
    with pytest.raises(ConfigError, match="ehf has no train split"):
        config = PhotoConfig(sets=(SetShare("ehf", 1.0),))
        open_config(config)


@pytest.mark.parametrize("name", sorted(MIXTURES))
def test_mixtures_round_trip_through_json(name):
    """Runs save their config as JSON, and options of the command line override it."""
    config = PhotoConfig(sets=MIXTURES[name])
    assert config_from_dict(PhotoConfig, json.loads(json.dumps(config_to_dict(config)))) == config
    own = [{"name": "coco", "share": 1.0, "flat_hands": True, "remap": [["^a/", "b/"]]}]
    changed = with_overrides(config, {"sets": own})
    assert changed.sets == (SetShare("coco", 1.0, flat_hands=True, remap=(("^a/", "b/"),)),)


def test_paths_may_be_overridden(root):
    share = SetShare(
        "agora",
        1.0,
        annotations="bedlam/annotations/bedlam_train.npz",
        images="bedlam/train_images",
        interval=3,
    )
    config = PhotoConfig(root=str(root), sets=(share,), crop=SMALL)
    batches = open_config(config)
    assert batches.epoch_length == 2
    absolute = replace(share, annotations=str(root / share.annotations))
    config = replace(config, sets=(absolute,))
    assert open_config(config).epoch_length == 2
