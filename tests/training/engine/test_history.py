"""Records of runs."""

import hashlib
from dataclasses import replace

import torch

from aios.body.model import BodyModel
from aios.weights.checkpoint import save_safetensors
from tests.helpers.networks import random_model
from tests.helpers.training_samples import random_batch
from tests.helpers.training_sources import TINY
from training.engine.checkpointing import load_newest
from training.engine.history import run_record
from training.engine.trainer import Trainer


def finished_run(config, folder, body, steps):
    trainer = Trainer(config, folder, body)
    for _ in range(steps):
        trainer.train_step([random_batch(body)], config.stages[-1])
    trainer.save()
    return load_newest(folder)


def test_a_run_records_its_files_and_the_runs_before_it(tmp_path, one_thread):
    body, weights = BodyModel.load(), tmp_path / "weights.safetensors"
    state = random_model(TINY.model, 1).state_dict()
    save_safetensors(weights, state, TINY.model, dtype=torch.float32)
    first = finished_run(replace(TINY, start=str(weights)), tmp_path / "first", body, 2)
    images = first["images"]
    assert images == 2 * len(random_batch(body))
    assert first["origin"]["runs"] == []
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert first["origin"]["files"] == {"weights.safetensors": digest}

    second = replace(TINY, start=str(tmp_path / "first"), seed=5)
    finished_run(second, tmp_path / "second", body, 1)
    resumed = finished_run(second, tmp_path / "second", body, 1)
    (before,) = resumed["origin"]["runs"]
    assert before == run_record(first)
    assert before["settings"]["start"] == "weights.safetensors"
    record = run_record(resumed)
    assert (record["steps"], record["images"]) == (2, images)
    assert record["settings"]["seed"] == 5 and record["settings"]["start"] == "first"
    assert not any(name.startswith("model.") for name in record["settings"])
