"""The loop: the loss falls, a run that was killed goes on exactly, mistakes are said at once."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from aios.body_model import BodyModel
from aios.checkpoint import load_strictly, read_own
from aios.model import AiOS
from training.batch import Sample, build_batch
from training.batch_norm import use_batch_norm, without_counters
from training.checkpointing import CheckpointError, checkpoints, load_checkpoint, save_checkpoint
from training.config import CONFIGS, TINY_MODEL, ConfigError, Stage, named_config
from training.data import DataConfig, TrainBatches, picture_size
from training.ema import WeightAverage
from training.export import main as export_main
from training.export import with_short_side
from training.initialise import initialise
from training.loop import NonFiniteLossError, Trainer
from training.optim import OptimConfig, learning_rate_factor, parameter_groups

from .training_samples import random_batch, random_picture, random_targets

ROOT = Path(__file__).resolve().parent.parent
TINY = CONFIGS["tiny"]


@pytest.fixture(scope="module")
def body():
    return BodyModel.load()


class FewScenes:
    """Four made-up pictures as a source of samples."""

    def __init__(self, body):
        self._samples = [Sample(random_picture(k), random_targets(body, 2, k)) for k in range(4)]

    def __len__(self):
        return len(self._samples)

    def __getitem__(self, index):
        return self._samples[index]


class FewSources:
    def __init__(self, body):
        self.scenes, self.people, self.empty = FewScenes(body), None, None


def weights(trainer):
    return {k: v.clone() for k, v in trainer.learner.state_dict().items()}


def test_the_loss_falls_on_one_batch(body, tmp_path):
    config = replace(TINY, steps=1000, optim=OptimConfig(learning_rate=3e-3, warmup_steps=5))
    trainer = Trainer(config, tmp_path, body)
    batch, stage = random_batch(body, (1, 2)), Stage(1.0, 64, 4)
    losses = [trainer.train_step(batch, stage) for _ in range(60)]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(body, tmp_path):
    config, sources = replace(TINY, steps=8), FewSources(body)
    unbroken = Trainer(config, tmp_path / "a", body)
    unbroken.run(sources)
    first = Trainer(config, tmp_path / "b", body)
    batches = first._batches(sources, config.stages[0])
    for step in range(2):
        first.train_step(batches[step], config.stages[0])
    first.save()
    torch.rand(7)  # chance elsewhere in the process must not matter
    second = Trainer(config, tmp_path / "b", body)
    assert second.step == 2
    second.run(sources)
    for name, value in weights(unbroken).items():
        assert torch.equal(value, second.learner.state_dict()[name]), name
    for name, value in unbroken.average.state.items():
        assert torch.equal(value, second.average.state[name]), name


def test_a_killed_process_continues(body, tmp_path):
    """The command line itself, killed without warning after its first checkpoint."""
    command = [sys.executable, "-m", "training.train", "--config", "tiny", "--out", str(tmp_path)]
    command += ["--set", "steps=4", "--set", "checkpoint_minutes=0", "--set", "log_every=1"]
    kill = "import os,signal,training.loop as l;s=l.Trainer.save\n"
    kill += "def save(self):\n s(self)\n if self.step==2: os.kill(os.getpid(),signal.SIGKILL)\n"
    kill += f"l.Trainer.save=save\nimport training.train as t;t.main({command[3:]!r})"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = {"cwd": ROOT, "env": environment, "capture_output": True, "text": True, "timeout": 300}
    killed = subprocess.run([sys.executable, "-c", kill], **run)
    assert killed.returncode == -9, killed.stderr
    assert [p.name for p in checkpoints(tmp_path)] == ["step_0000001.pt", "step_0000002.pt"]
    done = subprocess.run(command, **run)
    assert done.returncode == 0, done.stderr
    assert "continuing step_0000002.pt" in done.stderr
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]


def test_two_processes_have_the_mean_gradient(tmp_path):
    script = tmp_path / "check.py"
    script.write_text(
        "import torch\n"
        "from training import distributed as d\n"
        "with d.joined():\n"
        " a, b, c = (torch.nn.Parameter(torch.ones(2)) for _ in range(3))\n"
        " a.grad = torch.full((2,), float(d.rank()))\n"
        " if d.rank() == 1: b.grad = torch.full((2,), 4.0)\n"
        " d.average_gradients([a, b, c])\n"
        " assert a.grad.tolist() == [0.5, 0.5] and b.grad.tolist() == [2.0, 2.0]\n"
        " assert c.grad is None and d.mean_over_processes(d.rank()) == 0.5\n"
    )
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launcher, "--nproc-per-node", "2", str(script)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


def test_numbers_that_are_none_stop_the_run(body, tmp_path):
    trainer = Trainer(TINY, tmp_path, body)
    with torch.no_grad():
        trainer.learner.model.proposals.class_head.weight.fill_(torch.nan)
    with pytest.raises(NonFiniteLossError, match="dense_class.*not_finite_0.pt"):
        trainer.train_step(random_batch(body), TINY.stages[0])
    dump = torch.load(tmp_path / "not_finite_0.pt", weights_only=True)
    assert dump["pictures"].shape == (3, 3, 64, 96)


def test_export_gives_a_network_that_loads_and_agrees(body, tmp_path):
    trainer = Trainer(TINY, tmp_path / "run", body)
    for _ in range(3):
        trainer.train_step(random_batch(body), TINY.stages[1])
    trainer.save()
    out = tmp_path / "out" / "tiny.safetensors"
    assert export_main(["--run", str(tmp_path / "run"), "--out", str(out)]) == 0
    config, state, metadata = read_own(out)
    assert config == TINY_MODEL
    assert metadata["body_convention"] == "standin"
    manifest = json.loads((out.parent / "manifest.json").read_text())
    assert manifest["bytes"] == out.stat().st_size
    assert manifest["training"]["steps"] == 3
    model = AiOS(config).eval()
    load_strictly(model, state, out)
    averaged = use_batch_norm(AiOS(config)).eval()
    averaged.load_state_dict(trainer.average.state)
    images = random_batch(body).images(config.image)
    with torch.no_grad():
        one, other = model(images).final, averaged(images).final
    torch.testing.assert_close(one.boxes, other.boxes, atol=5e-3, rtol=0)


def test_another_photo_size_keeps_the_field_of_view():
    smaller = with_short_side(TINY_MODEL, 32)
    assert (smaller.image.short_side, smaller.image.long_side) == (32, 48)
    assert smaller.focal_length / 32 == TINY_MODEL.focal_length / 64
    assert replace(smaller, image=TINY_MODEL.image, focal_length=200.0) == TINY_MODEL


def test_export_without_a_checkpoint_is_one_sentence(tmp_path, capsys):
    assert export_main(["--run", str(tmp_path), "--out", str(tmp_path / "x.safetensors")]) == 1
    assert "no checkpoint yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("optim.learning_rat=1", "OptimConfig has no field 'learning_rat'"),
        ("speed=1", "TrainConfig has no field 'speed'"),
        ("seed.x=1", "'seed' has no parts"),
        ("seed=fast", "'fast' is not of the kind"),
        ("seed", "wants key=value"),
        ("train_people=99", "train_people must not exceed"),
        ('stages=[{"until": 0.5, "side": 64}]', "the last at 1.0"),
    ],
)
def test_wrong_keys_are_errors_before_anything_loads(change, message):
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        named_config("tiny", [change])


def test_changes_reach_their_place():
    config = named_config("tiny", ["optim.clip_norm=0.5", "data.real=/x", "minutes=3"])
    assert config.optim.clip_norm == 0.5
    assert config.data.real == "/x"
    assert config.minutes == 3.0
    assert config.model == TINY_MODEL


def test_unknown_run_and_missing_length(tmp_path, capsys):
    from training.train import main

    assert main(["--config", "nothing", "--out", str(tmp_path)]) == 1
    assert main(["--config", "builtin", "--out", str(tmp_path)]) == 1
    errors = capsys.readouterr().err
    assert "there is no run named 'nothing'" in errors
    assert "how long?" in errors


def test_real_batch_norm_keeps_names_and_answers():
    torch.manual_seed(0)
    frozen = AiOS(TINY_MODEL).eval()
    for name, buffer in frozen.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    learning = AiOS(TINY_MODEL)
    learning.load_state_dict(frozen.state_dict())
    use_batch_norm(learning).eval()
    assert set(without_counters(learning.state_dict())) == set(frozen.state_dict())
    pixels = torch.randn(1, 3, 64, 64)
    for one, other in zip(frozen.backbone(pixels), learning.backbone(pixels), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_average_covers_buffers_and_follows_the_weights():
    module = torch.nn.BatchNorm1d(2)
    average = WeightAverage(module, decay=0.5)
    with torch.no_grad():
        module.weight.fill_(3.0)
        module.running_mean.fill_(2.0)
    for _ in range(40):
        average.update(module)
    torch.testing.assert_close(average.state["weight"], torch.full((2,), 3.0))
    torch.testing.assert_close(average.state["running_mean"], torch.full((2,), 2.0))


def test_start_is_an_upright_person_before_the_camera():
    model = initialise(AiOS(TINY_MODEL)).eval()
    with torch.no_grad():
        output = model(random_batch(BodyModel.load(), (1,)).images(TINY_MODEL.image))
    root = output.final.smplx.body_rotmat[0, :, 0]
    upright = torch.diag(torch.tensor([1.0, -1.0, -1.0])).expand_as(root)
    torch.testing.assert_close(root, upright, atol=1e-5, rtol=0)
    shoulder = output.final.smplx.body_rotmat[0, 0, 16]
    arm = shoulder @ torch.tensor([1.0, 0, 0])  # the left arm at rest points to +x
    assert float(arm[1]) < -0.5  # down, in the body's own frame


def test_schedule_warms_up_and_ends():
    config = OptimConfig(warmup_steps=10, final_factor=0.01)
    rates = [learning_rate_factor(step, step / 100, config) for step in range(101)]
    assert rates[0] < rates[5] < rates[10]
    assert max(rates) == pytest.approx(1.0, abs=0.05)
    assert rates[100] == pytest.approx(0.01)


def test_every_parameter_is_in_one_group_and_offsets_are_slow():
    model = AiOS(TINY_MODEL)
    groups = parameter_groups(model, OptimConfig(learning_rate=1.0))
    grouped = [id(p) for group in groups for p in group["params"]]
    assert len(grouped) == len(set(grouped)) == len(list(model.parameters()))
    slow = next(group for group in groups if group["factor"] == 0.1)
    names = {id(p): name for name, p in model.named_parameters()}
    assert all("sampling_offsets" in names[id(p)] for p in slow["params"])


def test_only_the_last_three_checkpoints_stay(tmp_path):
    for step in range(5):
        save_checkpoint(tmp_path, step, {"step": step})
    assert [load_checkpoint(p)["step"] for p in checkpoints(tmp_path)] == [2, 3, 4]
    assert not list(tmp_path.glob("*.tmp"))


def test_a_damaged_checkpoint_is_named(tmp_path):
    path = save_checkpoint(tmp_path, 1, {"step": 1})
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(CheckpointError, match="step_0000001.pt is not a checkpoint"):
        load_checkpoint(path)


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
