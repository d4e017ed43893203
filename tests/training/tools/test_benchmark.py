"""The training benchmark on a very small network."""

import json

import pytest
import torch

from aios.accelerate.install import accelerate_training
from tests.helpers.networks import SMALL, random_images, random_model, random_prefix
from training.tools.benchmark import main, use_dense_attention

pytestmark = pytest.mark.usefixtures("one_thread")


def test_every_setting_is_measured(tmp_path, capsys):
    path = tmp_path / "figures.json"
    options = ["--config", "tiny", "--batch", "1", "2", "--size", "96", "64", "--steps", "1"]
    assert main([*options, "--precision", "float32", "--json", str(path)]) == 0
    found = json.loads(path.read_text())
    assert [(one["attention"], one["batch"]) for one in found] == [
        *(("fast", 1), ("fast", 2), ("plain", 1), ("plain", 2))
    ]
    for one in found:
        assert one["size_wh"] == [96, 64]
        assert one["precision"] == "float32"
        assert one["seconds_per_step"] > 0
        assert one["images_per_second"] == pytest.approx(
            one["batch"] / one["seconds_per_step"], rel=0.1
        )
        assert one["memory_gb"] > 0
    assert capsys.readouterr().out.count("images per second") == 4


def test_wrong_settings_are_refused_before_measuring(capsys):
    assert main(["--attention", "flash"]) == 1
    assert main(["--precision", "fp8"]) == 1
    errors = capsys.readouterr().err
    assert "--attention must be fast or plain, not flash" in errors
    assert "precision must be 'float32'" in errors


def test_dense_attention_has_the_same_outputs_and_gradients():
    model, images = random_model(SMALL, 1), random_images([(64, 80)], 1)
    accelerate_training(model)
    prefix = random_prefix(SMALL, 1, 3, 0)

    def predict():
        model.zero_grad()
        output = model(images, prefix, aux_outputs=True).final
        (output.boxes.sum() + output.smplx.betas.sum()).backward()
        weight = model.decoder.layers[3].self_attn.in_proj_weight.grad.clone()
        return output.boxes.detach(), output.prefix_boxes.detach(), weight

    fast = predict()
    use_dense_attention(model)
    for one, other in zip(fast, predict(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)
