"""Several processes train like one; `two_processes` is the program that they run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.distributed.run import get_args_parser

from aios.body.model import BodyModel
from tests.helpers.training_sources import PLAIN
from tests.helpers.two_processes import PEOPLE, batches, gradients
from training import evaluate, train
from training.data.batch import Batch, join_targets
from training.engine.distributed import mean_over_processes, process_group, rank, world_size
from training.engine.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = Path(__file__).resolve().parents[3]


def concatenated(parts) -> Batch:
    """Batches of one image size as one batch."""
    starts = [sum(len(p) for p in parts[:k]) for k in range(len(parts))]
    targets, _ = join_targets([part.targets for part in parts])
    return Batch(
        torch.cat([p.pictures for p in parts]),
        torch.cat([p.sizes_hw for p in parts]),
        targets,
        torch.cat([p.image_index + s for p, s in zip(parts, starts, strict=True)]),
        torch.cat([p.ignore_unmatched for p in parts]),
        parts[0].focal_length,
    )


def test_two_processes_have_the_gradients_of_one_process_with_all_images(tmp_path):
    """Each accumulates two batches, one of them without people; resuming is exact."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*launcher, "--nproc-per-node", "2", "-m", "tests.helpers.two_processes", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    found = torch.load(tmp_path / "gradients.pt", weights_only=True)
    body = BodyModel.load()
    parts = [batch for process in range(2) for batch in batches(body, process)]
    assert len(parts) == sum(len(process) for process in PEOPLE)
    trainer = Trainer(PLAIN, tmp_path / "one", body)
    total, expected = gradients(trainer, [concatenated(parts)], PLAIN.stages[0])
    assert found["total"] == pytest.approx(total, rel=1e-5)
    assert set(found["gradients"]) == set(expected)
    norm = torch.stack([g.norm() for g in expected.values()]).norm()
    assert norm > 1
    for name, gradient in expected.items():
        assert (found["gradients"][name] - gradient).norm() < 1e-5 * norm, name


def test_single_process_needs_no_group():
    with process_group():
        assert (rank(), world_size(), mean_over_processes(3.0)) == (0, 1, 3.0)


@pytest.mark.parametrize("command", [train, evaluate])
def test_torchrun_passes_every_option_on(command):
    """torchrun refuses options that abbreviate its own."""
    options = [
        option
        for action in command._parser()._actions
        for option in action.option_strings
        if option.startswith("--")
    ]
    assert len(options) > 5
    given = get_args_parser().parse_args(["-m", command.__name__, *options])
    assert given.training_script_args == options
