"""Export of a run to a weights file that the program loads."""

import hashlib
import json
from dataclasses import replace

import pytest
import torch

from aios.body.model import BodyModel
from aios.network.model import AiOS
from aios.weights.checkpoint import load_strictly, read_safetensors, save_safetensors
from tests.helpers.networks import SMALL, random_model
from tests.helpers.training_samples import random_batch
from tests.helpers.training_sources import TINY
from training.config import TINY_MODEL
from training.engine.initial_weights import load_initial_weights
from training.engine.trainer import Trainer
from training.export import main as export_main
from training.export import with_short_side

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    body, folder = BodyModel.load(), tmp_path_factory.mktemp("run")
    trainer = Trainer(TINY, folder, body)
    for _ in range(3):
        trainer.train_step([random_batch(body)], TINY.stages[1])
    trainer.save()
    return trainer


def test_exported_weights_predict_like_the_averaged_network(run, tmp_path):
    out = tmp_path / "out" / "tiny.safetensors"
    assert export_main(["--run", str(run.folder), "--out", str(out)]) == 0
    config, state, metadata = read_safetensors(out)
    # The heads of stage refine_body are for training only.
    assert config == replace(TINY_MODEL, smplx_stages=("refine_whole_body",))
    assert metadata["body_convention"] == "standin"
    manifest = json.loads((out.parent / "manifest.json").read_text())
    assert manifest["bytes"] == out.stat().st_size
    (record,) = manifest["runs"]
    assert (record["steps"], record["images"], record["processes"]) == (3, 9, 1)
    assert record["settings"]["train_people"] == TINY.train_people
    model = AiOS(config).eval()
    load_strictly(model, state, out)
    images = random_batch(BodyModel.load()).images(config.image)
    with torch.no_grad():
        one, other = model(images).final, run.average(images).final
    torch.testing.assert_close(one.boxes, other.boxes, atol=5e-3, rtol=0)


def test_blended_weights_lie_between_the_earlier_ones_and_the_run(run, tmp_path, capsys):
    earlier, alone, out = (tmp_path / f"{name}.safetensors" for name in ("a", "b", "c"))
    assert export_main(["--run", str(run.folder), "--out", str(alone)]) == 0
    config, state, _ = read_safetensors(alone)
    moved = {name: t + 1 if t.is_floating_point() else t for name, t in state.items()}
    save_safetensors(earlier, moved, config)
    digest = hashlib.sha256(earlier.read_bytes()).hexdigest()
    manifest = tmp_path / "manifest.json"
    history = {"blend": {"share": 0.5}, "runs": [{"steps": 7}]}
    manifest.write_text(json.dumps({"sha256": digest, "bytes": 1} | history))
    command = ["--run", str(run.folder), "--out", str(out), "--blend", str(earlier)]
    assert export_main([*command, "--blend-share", "0.75"]) == 0
    blended = read_safetensors(out)[1]
    for name, tensor in state.items():
        torch.testing.assert_close(blended[name].float(), tensor.float() + 0.25, atol=0.02, rtol=0)
    record = {"file": earlier.name, "sha256": digest, "share": 0.75}
    assert json.loads(manifest.read_text())["blend"] == record | history
    other = random_model(SMALL, 0)
    save_safetensors(earlier, other.state_dict(), SMALL)
    assert export_main(command) == 1
    assert "different networks" in capsys.readouterr().err


def test_next_phase_starts_from_the_averaged_weights_and_the_labels(run):
    model, labels = AiOS(TINY_MODEL), torch.nn.Embedding(101, 32)
    load_initial_weights(str(run.folder), model, labels)
    assert torch.equal(labels.weight, run.learner.denoising.labels.weight)
    name = "decoder.norm.weight"
    assert torch.equal(model.state_dict()[name], run.average.module.state_dict()[name])
    assert not torch.equal(model.state_dict()[name], run.learner.model.state_dict()[name])


def test_another_image_size_keeps_the_field_of_view():
    smaller = with_short_side(TINY_MODEL, 32)
    assert (smaller.image.short_side, smaller.image.long_side) == (32, 48)
    assert smaller.focal_length / 32 == TINY_MODEL.focal_length / 64
    assert replace(smaller, image=TINY_MODEL.image, focal_length=200.0) == TINY_MODEL


def test_export_without_a_checkpoint_prints_one_sentence(tmp_path, capsys):
    assert export_main(["--run", str(tmp_path), "--out", str(tmp_path / "x.safetensors")]) == 1
    assert "does not hold a checkpoint" in capsys.readouterr().err
