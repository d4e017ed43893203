"""Program that `torchrun` starts twice for `tests/training/engine/test_distributed.py`."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import torch

from aios.body.model import BodyModel
from tests.helpers.training_samples import random_batch
from tests.helpers.training_sources import PLAIN, TINY, few_scenes
from training.engine.checkpointing import checkpoints, load_checkpoint
from training.engine.distributed import gather, mean_over_processes, process_group, rank, world_size
from training.engine.train_config import TrainStage
from training.engine.trainer import Trainer

PEOPLE = (((2, 1), (0, 0)), ((1, 3), (0, 0)))
"""Per process: people in each image of its two accumulated batches."""


def batches(body, process):
    return [random_batch(body, p, 10 * process + k) for k, p in enumerate(PEOPLE[process])]


def gradients(trainer, own, stage):
    """Loss and gradients of a step before clipping."""
    total, _ = trainer.accumulate_gradients(own, stage)
    grads = {n: p.grad for n, p in trainer.learner.named_parameters() if p.grad is not None}
    return float(total), grads


def save_gradients(body, folder):
    """Process 0 saves the gradients of a step for the test to compare."""
    config = replace(PLAIN, effective_batch=8)
    trainer = Trainer(config, folder / "equal", body)
    own = batches(body, rank())
    total, grads = gradients(trainer, own, config.stages[0])
    total = sum(part["total"] for part in gather({"total": total}))
    if rank() == 0:
        torch.save({"total": total, "gradients": grads}, folder / "gradients.pt")


def check_that_a_dense_stage_trains_no_decoder(body, folder):
    trainer = Trainer(TINY, folder / "dense", body)
    _, grads = gradients(trainer, [random_batch(body)], TINY.stages[0])
    assert any("backbone" in name for name in grads)
    assert not any("decoder" in name for name in grads)


def resume(body, folder):
    """A trainer resumed in the middle ends in the same weights as an uninterrupted one."""
    config = replace(TINY, stages=(TrainStage(1.0, 64, 1),), steps=4, checkpoint_minutes=0.0)
    stream, first, second = few_scenes(config, body), folder / "first", folder / "second"
    unbroken = Trainer(config, first, body)
    unbroken.run(stream)
    if rank() == 0:
        second.mkdir()
        middle = next(p for p in checkpoints(first) if load_checkpoint(p)["step"] == 2)
        shutil.copy(middle, second)
    mean_over_processes(0.0)  # wait for the copy
    resumed = Trainer(config, second, body)
    assert resumed.step == 2
    resumed.run(stream)
    for name, value in unbroken.learner.named_parameters():
        assert torch.equal(value, dict(resumed.learner.named_parameters())[name]), name
    own = float(unbroken.learner.model.proposals.norm.weight.sum())
    assert all(part == {"sum": own} for part in gather({"sum": own}))


def main(folder):
    torch.set_num_threads(1)
    with process_group():
        assert world_size() == 2
        assert mean_over_processes(rank()) == 0.5
        body = BodyModel.load()
        save_gradients(body, folder)
        check_that_a_dense_stage_trains_no_decoder(body, folder)
        resume(body, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
