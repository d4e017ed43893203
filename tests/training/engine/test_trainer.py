"""The training loop: falling loss, exact resume, refused settings."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from aios.body.model import BodyModel
from aios.weights.checkpoint import CheckpointError
from tests.helpers.training_samples import random_batch
from tests.helpers.training_sources import PLAIN, TINY, few_scenes
from training.config import named_config
from training.engine.checkpointing import checkpoints, load_checkpoint, save_checkpoint
from training.engine.optim import OptimConfig
from training.engine.train_config import TrainStage
from training.engine.trainer import NonFiniteLossError, Trainer
from training.train import main

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def body():
    return BodyModel.load()


def assert_same(one, other, path=""):
    """Compare two trees of tensors and plain values to the bit."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for name in one:
            assert_same(one[name], other[name], f"{path}.{name}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), path
        for number, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{path}[{number}]")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), path
    else:
        assert one == other, path


@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
def test_loss_falls_on_one_batch(body, tmp_path, precision):
    optim = OptimConfig(learning_rate=3e-3, warmup_steps=5)
    config = replace(TINY, steps=1000, optim=optim, precision=precision)
    trainer = Trainer(config, tmp_path, body)
    batch, stage = random_batch(body, (1, 2)), TrainStage(1.0, 64, 4)
    losses = [trainer.train_step([batch], stage) for _ in range(40)]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    kinds = {p.dtype for p in trainer.learner.parameters()}
    assert kinds == {torch.float32}


def test_accumulated_gradients_are_divided_by_the_people_of_the_whole_step(body, tmp_path):
    own = [random_batch(body, (4,), 1), random_batch(body, (0,), 2), random_batch(body, (1,), 3)]
    trainer = Trainer(PLAIN, tmp_path, body)

    def gradient(batches):
        trainer.optimizer.zero_grad()
        trainer.accumulate_gradients(batches, PLAIN.stages[0])
        return trainer.learner.model.decoder.norm.weight.grad.clone()

    accumulated = gradient(own)
    parts = torch.stack([gradient([batch]) for batch in own])
    assert not torch.allclose(parts.mean(0), accumulated, rtol=1e-2)
    counts = [len(batch.targets) for batch in own]
    assert counts == [4, 0, 1]
    assert torch.equal(gradient(own), accumulated)


@pytest.mark.parametrize("accumulated", [0, 8])
def test_resumed_run_ends_in_the_same_weights(body, tmp_path, accumulated):
    config = replace(TINY, steps=6, effective_batch=accumulated)
    stream = few_scenes(config, body)
    unbroken = Trainer(config, tmp_path / "a", body)
    unbroken.run(stream)
    first = Trainer(config, tmp_path / "b", body)
    for batches, _ in zip(first._steps(stream, config.stages[0]), range(1), strict=False):
        assert len(batches) == (2 if accumulated else 1)
        first.train_step(batches, config.stages[0])
    first.save()
    torch.rand(7)  # the state of the global generator must not matter
    second = Trainer(config, tmp_path / "b", body)
    assert second.step == 1
    second.run(stream)
    for trainer in (unbroken, second):
        assert trainer.step == 6
    assert_same(unbroken.learner.state_dict(), second.learner.state_dict())
    assert_same(unbroken.average.state_dict(), second.average.state_dict())
    assert_same(unbroken.optimizer.state_dict(), second.optimizer.state_dict())


def test_killed_process_resumes_to_the_same_weights(tmp_path, capsys):
    """The command line, killed between a backward pass and its optimizer step."""
    changes = ["steps=5", "checkpoint_minutes=0", "log_every=1", "preview_every=2"]
    changes += ["precision=fp16"]
    common = ["--config", "tiny", *(x for change in changes for x in ("--set", change))]
    command = [*common, "--out", str(tmp_path / "killed")]
    kill = (
        "import os, signal, training.engine.trainer as l\n"
        "is_usable = l.Trainer._is_usable\n"
        "def kill(self, norm):\n"
        "    if self.step == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return is_usable(self, norm)\n"
        "l.Trainer._is_usable = kill\n"
        f"import training.train as t; t.main({command!r})"
    )
    killed = subprocess.run(
        [sys.executable, "-c", kill],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [load_checkpoint(p)["step"] for p in checkpoints(tmp_path / "killed")] == [1, 2, 3]
    assert main(command) == 0
    assert main([*common, "--out", str(tmp_path / "whole")]) == 0
    ends = [load_checkpoint(checkpoints(tmp_path / name)[-1]) for name in ("killed", "whole")]
    assert ends[0].pop("seconds") != ends[1].pop("seconds")
    assert_same(*ends)
    lines = (tmp_path / "killed" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4, 5]
    saved = json.loads((tmp_path / "killed" / "config.json").read_text())
    assert saved["precision"] == "fp16"
    assert list((tmp_path / "killed" / "tensorboard").iterdir())


def test_what_a_killed_run_wrote_too_far_is_dropped(body, tmp_path):
    (tmp_path / "log.jsonl").write_text('{"step": 1}\n{"step": 9}\n{"ste')
    Trainer(TINY, tmp_path, body)
    assert (tmp_path / "log.jsonl").read_text() == ""


def test_resume_with_other_settings_is_refused(body, tmp_path):
    trainer = Trainer(TINY, tmp_path, body)
    trainer.save()
    data = replace(TINY.data, workers=3, cache="elsewhere")
    Trainer(replace(TINY, steps=99, threads=2, data=data, start="gone.pth"), tmp_path, body)
    other = replace(TINY, optim=replace(TINY.optim, learning_rate=1.0), seed=3)
    with pytest.raises(CheckpointError, match=r"other settings of optim\.learning_rate, seed;"):
        Trainer(other, tmp_path, body)


def test_non_finite_numbers_stop_the_run_and_save_the_batch(body, tmp_path):
    trainer = Trainer(TINY, tmp_path, body)
    with torch.no_grad():
        trainer.learner.model.proposals.class_head.weight.fill_(torch.nan)
    before = {k: v.clone() for k, v in trainer.learner.model.decoder.state_dict().items()}
    with pytest.raises(NonFiniteLossError, match=r"dense_class.*not_finite_0\.pt"):
        trainer.train_step([random_batch(body)], TINY.stages[0])
    dump = torch.load(tmp_path / "not_finite_0.pt", weights_only=True)
    assert dump["images"][0].shape == (3, 3, 64, 96)
    assert dump["targets"][0]["boxes"].shape == (5, 4)
    assert_same(before, trainer.learner.model.decoder.state_dict())
    with torch.no_grad():
        trainer.learner.model.decoder.norm.weight.fill_(torch.nan)
    with pytest.raises(NonFiniteLossError, match="the prediction"):
        trainer.train_step([random_batch(body)], TINY.stages[1])


@pytest.mark.parametrize(
    "variant",
    [
        *("naive", "attention_full", "attention_inter_human"),
        *("smplx_all_stages", "smplx_third_stage"),
    ],
)
def test_every_variant_trains_by_name(body, tmp_path, variant):
    config = named_config(f"tiny+{variant}", ["steps=2", "stages.0.until=0.5"])
    trainer = Trainer(config, tmp_path, body)
    trainer.run(few_scenes(config, body))
    assert trainer.step == 2
    _, losses = trainer.accumulate_gradients([random_batch(body)], config.stages[1])
    with_smplx = {name.removeprefix("root") for name in losses if name.startswith("root")}
    expected = {
        "smplx_all_stages": {"_0", "_1", ""},
        "smplx_third_stage": {""},
    }.get(variant, {"_1", ""})
    assert with_smplx == expected
    assert ("keypoints" in losses) == (variant != "naive")
    assert "face_boxes" in losses


def test_unusable_arguments_are_refused(tmp_path, capsys):
    assert main(["--config", "nothing", "--out", str(tmp_path)]) == 1
    assert main(["--config", "builtin", "--out", str(tmp_path)]) == 1
    assert main(["--config", "builtin", "--out", str(tmp_path), "--minutes", "1"]) == 1
    assert main(["--config", "paper_phase1", "--out", str(tmp_path), "--data", "/nowhere"]) == 1
    errors = capsys.readouterr().err
    assert "unknown run 'nothing'" in errors
    assert "the run has no length" in errors
    assert "would freeze random weights: give --backbone" in errors
    assert "/nowhere/agora" in errors
    assert not list(tmp_path.iterdir())


def test_only_the_last_three_checkpoints_are_kept(tmp_path):
    for step in range(5):
        save_checkpoint(tmp_path, step, {"step": step})
    assert [load_checkpoint(p)["step"] for p in checkpoints(tmp_path)] == [2, 3, 4]
    assert not list(tmp_path.glob("*.tmp"))


def test_damaged_checkpoint_is_named_in_the_error(tmp_path):
    path = save_checkpoint(tmp_path, 1, {"step": 1})
    path.write_bytes(path.read_bytes()[:50])
    text = r"step_0000001\.pt is not a checkpoint .*: delete it to start again$"
    with pytest.raises(CheckpointError, match=text):
        load_checkpoint(path)
