"""8-bit products: close to float products, and independent of the batch."""

import numpy as np
import pytest
import torch
from torch import nn

from aios.accelerate import int8
from aios.accelerate.fold_batch_norm import fold_batch_norm
from aios.accelerate.install import accelerate
from aios.accelerate.int8_layers import Int8Linear, Int8Stage
from aios.accelerate.int8_scale import Ranges, Scale
from aios.network.resnet import BasicBlock, Bottleneck
from tests.helpers.networks import SMALL, random_images, random_model

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(("low", "high"), [(-1.5, 3.0), (0.0, 7.0), (-4.0, -1.0), (2.0, 5.0)])
def test_scale_covers_the_range_and_represents_zero(low, high):
    scale = Scale.spanning(low, high)
    values = torch.linspace(min(low, 0), max(high, 0), 1001)
    back = scale.restore(scale.quantise(values))
    assert (back - values).abs().max() <= scale.step * 0.51 + 1e-6
    assert scale.restore(scale.quantise(torch.zeros(1))).item() == 0


def test_scale_of_zeros():
    scale = Scale.of(torch.zeros(4))
    assert not scale.restore(scale.quantise(torch.zeros(4))).any()


def relative_error(found, wanted):
    return ((found - wanted).norm() / wanted.norm()).item()


def test_linear_layer_for_any_shape_and_range():
    generator = torch.Generator().manual_seed(0)
    linear = nn.Linear(48, 20)
    for shape, spread, shift in (((7, 48), 1.0, 0.0), ((2, 3, 48), 100.0, 50.0)):
        x = torch.randn(shape, generator=generator) * spread + shift
        found = Int8Linear.of(linear)(x)
        assert found.shape == (*shape[:-1], 20)
        assert relative_error(found, linear(x).detach()) < 0.02


def test_two_layers_with_uint8_between_them():
    generator = torch.Generator().manual_seed(1)
    first, second = nn.Linear(32, 64), nn.Linear(64, 32)
    x = torch.randn(50, 32, generator=generator)
    with torch.inference_mode():
        hidden = first(x).relu()
        scale = Scale.of(hidden)
        between = Int8Linear.of(first, output_scale=scale)(x)
        assert between.dtype == torch.uint8
        found = Int8Linear.of(second, input_scale=scale)(between)
        assert relative_error(found, second(hidden)) < 0.02


def float_stage(block):
    """Two blocks with folded batch norm, a stride and random parameters."""
    torch.manual_seed(2)
    stage = nn.Sequential(block(16, 8, 2), block(8 * block.expansion, 8, 1)).eval()
    for module in stage.modules():
        if hasattr(module, "running_var"):
            module.running_var.copy_(torch.rand(len(module.running_var)) + 0.5)
            module.bias.copy_(torch.randn(len(module.bias)) * 0.2)
    fold_batch_norm(stage)
    return stage


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_backbone_stage_is_close_to_float_and_independent_of_the_batch(block):
    stage = float_stage(block)
    x = torch.randn(2, 16, 21, 30, generator=torch.Generator().manual_seed(3)).relu()
    with torch.inference_mode():
        ranges = Ranges([*stage, *(m for m in stage.modules() if isinstance(m, nn.Conv2d))])
        wanted = stage(x)
        ranges.close()
        before = x.clone()
        fast = Int8Stage(stage, ranges)
        found = fast(x)
        assert torch.equal(x, before)
        assert found.shape == wanted.shape
        assert relative_error(found, wanted) < 0.05
        assert torch.equal(fast(x[1:]), found[1:])


def test_ranges_cover_all_calls_until_close():
    layer = nn.Identity()
    ranges = Ranges([layer])
    layer(torch.tensor([-1.0, 2.0]))
    layer(torch.tensor([0.0, 5.0]))
    ranges.close()
    layer(torch.tensor([-99.0, 99.0]))
    scale = ranges.into(layer)
    assert scale.step * 254 == pytest.approx(6)


def test_network_is_close_to_float_and_independent_of_the_batch():
    exact, fast = (
        accelerate(random_model(SMALL, 4), torch.device("cpu"), "exact", list) for _ in range(2)
    )
    pictures = list(np.random.default_rng(0).integers(0, 256, (3, 80, 96, 3), np.uint8))
    int8.quantise(fast, pictures)
    images = random_images([(64, 96), (64, 96)], 4)
    with torch.inference_mode():
        wanted, found = exact(images), fast(images)
        again = fast(images)
        kept = fast(images, keep_attention=True)
        memory = found.encoded.memory
        assert relative_error(memory, wanted.encoded.memory) < 0.1
        assert torch.equal(again.final.boxes, found.final.boxes)
        assert torch.equal(kept.final.boxes, found.final.boxes)
        assert len(kept.attention) == SMALL.decoder_layers
        alone = fast(random_images([(64, 96)], 4))
        torch.testing.assert_close(alone.encoded.memory, memory[:1], atol=1e-5, rtol=0)
    names = {type(module).__name__ for module in fast.modules()}
    assert {"Int8Linear", "Int8Conv", "Int8Stage"} <= names


def test_reason_why_int8_is_unavailable(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    assert "VNNI" in int8.why_unavailable()
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: True)
    monkeypatch.setattr(Int8Linear, "forward", lambda self, x: torch.zeros(len(x), 8))
    assert "wrong" in int8.why_unavailable()

    def fail(self, x):
        raise RuntimeError("no such kernel\nmore")

    monkeypatch.setattr(Int8Linear, "forward", fail)
    assert "no such kernel" in int8.why_unavailable()
