"""Batches depend on seed and number; runs on data sets count epochs."""

import json
from dataclasses import replace
from itertools import islice

import pytest
import torch

from aios.body.model import BodyModel
from aios.network.config import ConfigError
from aios.network.config_dict import config_to_dict
from tests.helpers.humandata_files import write_set
from tests.helpers.training_samples import random_picture, random_targets
from tests.helpers.training_sources import FewSources
from training.config import CONFIGS, TINY_MODEL
from training.data.batch import Sample, build_batch
from training.data.mixture import DataConfig, TrainBatches, picture_size
from training.engine.checkpointing import checkpoints, load_checkpoint
from training.engine.stream import DrawnStream, scene_batches
from training.train import main

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def body():
    return BodyModel.load()


def test_batches_depend_only_on_seed_and_number(body):
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


@pytest.fixture(scope="module")
def data(body, tmp_path_factory):
    """Small files in the format of the paper's data sets, training splits only."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("agora", "bedlam", "coco", "egobody", "arctic", "ubody", "synthetic"):
        write_set(folder, body, name, (2, 1, 3, 1, 2, 1))
    return folder


SMALLER = (
    f"model={json.dumps(config_to_dict(TINY_MODEL))}",
    *("effective_batch=4", "stages.0.batch_size=2", "data.workers=0", "log_every=1"),
    *("photos.crop.short_sides=[48, 64]", "photos.crop.long_side=96", "denoising.queries=6"),
)
"""Settings that shorten a phase of the paper to seconds: network, batch and image size."""


@pytest.mark.parametrize("name", ["paper_phase2", "released_phase1", "synthetic"])
def test_phases_train_by_epochs_on_data_sets(data, tmp_path, name):
    changes = (*SMALLER, "epochs=2", "optim.drop_epochs=[1]")
    options = ["--config", name, "--out", str(tmp_path), "--data", str(data)]
    assert main([*options, *(part for change in changes for part in ("--set", change))]) == 0
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    # The largest set has six images: two steps of four images per epoch.
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    rate = CONFIGS[name].optim.learning_rate
    rates = [line["learning_rate"] for line in lines]
    assert rates == pytest.approx([rate, rate, 0.1 * rate, 0.1 * rate])
    assert all("class_proposals" in line and "dense_class" not in line for line in lines)
    assert all(line["norm"] > 0 for line in lines)
    state = load_checkpoint(checkpoints(tmp_path)[-1])
    saved = json.loads(state["config"])
    assert saved == json.loads((tmp_path / "config.json").read_text())
    assert [one["name"] for one in saved["photos"]["sets"]] == [
        one.name for one in CONFIGS[name].photos.sets
    ]


def drawn_config(**changes):
    data = DataConfig(workers=0, drawn_on_device=True, real_share=0.45, empty_share=0.05)
    return replace(CONFIGS["tiny"], data=replace(data, **changes), seed=3)


def drawn_stream(config, body):
    sources = FewSources(body, scenes=False, people=True)
    stream = DrawnStream(config, sources)
    return stream, replace(config.stages[1], batch_size=4)


def test_scenes_rendered_on_the_device_depend_only_on_their_number(body):
    stream, stage = drawn_stream(drawn_config(), body)
    some = list(islice(stream.load(stage, 2, 3), 2))
    (later,) = islice(stream.load(stage, 5, 1), 1)
    assert torch.equal(some[1].pictures, later.pictures)
    assert torch.equal(some[1].targets.joints_2d, later.targets.joints_2d)
    assert len(later) == 4 and later.image_index.max() < 4
    assert (later.image_index.diff() >= 0).all()
    height, width = later.size_hw
    assert later.focal_length == pytest.approx(200.0 * min(height, width) / 64)


def test_photos_follow_the_scenes_of_a_batch(body):
    """Half of each batch are photos if there are any."""
    stream, stage = drawn_stream(drawn_config(real="somewhere else"), body)
    batch = next(stream.load(stage, 0, 1))
    photos = scene_batches(drawn_config(), stream._sources, replace(stage, batch_size=2))[0]
    assert torch.equal(batch.pictures[2:], photos.pictures)
    of_photos = batch.image_index >= 2
    assert torch.equal(batch.targets.boxes[of_photos], photos.targets.boxes)
    assert torch.equal(batch.image_index[of_photos] - 2, photos.image_index)


def test_each_scene_gives_several_windows(body):
    stream, stage = drawn_stream(drawn_config(real="somewhere else", windows=2), body)
    stage = replace(stage, batch_size=9)
    batch = next(stream.load(stage, 0, 1))
    assert len(batch) == 9
    one, other = batch.pictures[:2], batch.pictures[2:4]
    assert not torch.equal(one, other)
    # The same people at another position and size.
    people = [batch.targets.select(batch.image_index == index) for index in range(4)]
    for first, second in zip(people[:2], people[2:], strict=True):
        shared = (first.body_pose[:, None] == second.body_pose).all(-1)
        assert shared.any(1).sum() == min(len(first), len(second)) > 0
        assert not torch.equal(first.boxes[:1], second.boxes[:1])
    with pytest.raises(ConfigError):
        drawn_config(windows=0)


def test_run_trains_on_scenes_rendered_on_its_device(tmp_path):
    arguments = ["--config", "tiny", "--out", str(tmp_path), "--set", "steps=2"]
    assert main([*arguments, "--set", "data.drawn_on_device=true"]) == 0
    assert load_checkpoint(checkpoints(tmp_path)[-1])["step"] == 2
