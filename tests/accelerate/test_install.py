"""The accelerated network gives the outputs of the plain network, and fast falls back to exact."""

import logging
from dataclasses import replace

import pytest
import torch

from aios.accelerate import int8
from aios.accelerate.install import accelerate, accelerate_training
from aios.accelerate.int8_layers import Int8Linear
from aios.body.model import BodyModel
from aios.media.photo import read_photo
from aios.network.model import AiOS
from aios.predictor import AiOSPredictor
from aios.resources import EXAMPLES, STANDIN_BODY
from aios.weights.load import load_model
from tests.benchmark.difference import difference
from tests.helpers.networks import MOBILE, SMALL, TINY, random_images, random_model, random_prefix
from tests.helpers.same_outputs import assert_same_outputs, tensors

pytestmark = pytest.mark.usefixtures("one_thread")

MAX_MEAN_MM = 4.0
"""Limit of the mean vertex distance from the exact network, pelvis on pelvis. It is 1.5 with the
built-in weights, whose narrow layers are more sensitive to rounding than wide ones."""
CPU = torch.device("cpu")
PADDED = [(75, 93), (61, 88)]
"""No side is a multiple of any stride."""


def no_photos():
    return []


def accelerated(config, seed, dtype=torch.float32):
    return accelerate(random_model(config, seed, dtype), CPU, "exact", no_photos)


@pytest.mark.parametrize("prefix_count", [0, 6])
@pytest.mark.parametrize("sizes", [[(75, 93)], [(64, 96)] * 2, PADDED])
@pytest.mark.parametrize(
    "config",
    [SMALL, TINY, MOBILE, replace(TINY, self_attention="full")],
)
def test_cpu_network_equals_plain_network_in_float64(config, sizes, prefix_count):
    double = torch.float64
    images = random_images(sizes, 1, double)
    prefix = random_prefix(config, len(sizes), prefix_count, 1, double) if prefix_count else None
    options = {"aux_outputs": True, "keep_attention": True}
    with torch.inference_mode():
        plain = random_model(config, 1, double)(images, prefix, **options)
        fast = accelerated(config, 1, double)(images, prefix, **options)
    assert_same_outputs(fast, plain, 1e-9)


@pytest.mark.parametrize("config", [SMALL, TINY, MOBILE])
def test_cpu_network_equals_plain_network_in_float32(config):
    images = random_images(PADDED, 4)
    with torch.inference_mode():
        plain, fast = random_model(config, 4)(images), accelerated(config, 4)(images)
    assert_same_outputs(fast, plain, 5e-4)


def test_cpu_network_without_point_tokens_equals_plain_network():
    config, images = replace(SMALL, point_tokens=False), random_images(PADDED, 2, torch.float64)
    with torch.inference_mode():
        plain = random_model(config, 2, torch.float64)(images)
        fast = accelerated(config, 2, torch.float64)(images)
    assert_same_outputs(fast, plain, 1e-9)


@pytest.mark.parametrize("config", [SMALL, MOBILE])
def test_networks_of_other_devices_equal_plain_network(config, monkeypatch):
    images = random_images(PADDED, 3, torch.float64)
    plain, network = (random_model(config, 3, torch.float64) for _ in range(2))
    monkeypatch.setattr(AiOS, "to", lambda network, device: network)  # runs on the CPU all the same
    fast = accelerate(network, torch.device("mps"), "exact", no_photos)
    with torch.inference_mode():
        assert_same_outputs(fast(images), plain(images), 1e-9)


@pytest.mark.parametrize("config", [SMALL, TINY])
def test_training_network_has_the_outputs_and_gradients_of_the_plain_network(config):
    plain, fast = (random_model(config, 6, torch.float64) for _ in range(2))
    accelerate_training(fast)
    assert [name for name, _ in fast.named_parameters()] == [
        name for name, _ in plain.named_parameters()
    ]
    images = random_images(PADDED, 6, torch.float64)
    prefix = random_prefix(config, 2, 4, 6, torch.float64)
    expected, actual = (network(images, prefix, aux_outputs=True) for network in (plain, fast))
    assert_same_outputs(actual, expected, 1e-9)
    expected, actual = gradients(plain, expected), gradients(fast, actual)
    assert actual.keys() == expected.keys()
    for name in actual:
        scale = expected[name].abs().max().clamp(min=1e-3)
        error = ((actual[name] - expected[name]).abs().max() / scale).item()
        assert error <= 1e-7, f"{name}: off by {error:.1e} of its maximum"


def gradients(network, output):
    """Non-zero gradients of one sum over all outputs of all layers."""
    values = [output.proposals.class_logits, output.proposals.boxes]
    for layer in (*output.aux_outputs, output.final):
        values += tensors(layer).values()
    sum(value.sin().sum() for value in values).backward()
    parameters = network.named_parameters()
    return {n: p.grad for n, p in parameters if p.grad is not None and p.grad.any()}


def builtin():
    """Without refinement, which follows a keypoint that jumps between two equal peaks."""
    loaded = load_model("builtin")
    body = BodyModel.load(STANDIN_BODY)
    return AiOSPredictor(loaded.model, loaded.weights, body, "cpu", refine=False)


def test_int8_finds_the_same_people_within_millimetres():
    """On the built-in network: it has trained weights, although it gains no speed."""
    photos = sorted(EXAMPLES.glob("*.jpg"))
    exact, rounded = builtin(), builtin()
    available = int8.why_unavailable() is None
    if available:
        int8.quantise(rounded.model, [read_photo(path) for path in photos])
    found = difference(exact, rounded, photos)
    assert found["people"] >= 8
    assert found["missed"] == found["extra"] == 0
    assert found["mean_mm"] < MAX_MEAN_MM
    assert (found["mean_mm"] > 0) == available


def test_fast_is_used_on_a_wide_network(monkeypatch):
    if int8.why_unavailable():
        monkeypatch.setattr(int8, "why_unavailable", lambda: None)
        monkeypatch.setattr(int8, "quantise", lambda _network, _photos: None)
    network = random_model(replace(SMALL, hidden_dim=128), 1)
    photos = [read_photo(path) for path in sorted(EXAMPLES.glob("*.jpg"))[:1]]
    assert accelerate(network, CPU, "fast", lambda: photos).speed == "fast"


@pytest.mark.parametrize("reason", ["no instructions", "no examples", "no CPU", "small"])
def test_fast_falls_back_to_exact_with_one_log_line(monkeypatch, caplog, reason):
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: reason != "no instructions")
    if reason == "no examples":
        monkeypatch.setattr(int8, "why_unavailable", lambda: None)
    device = torch.device("meta") if reason == "no CPU" else CPU
    width = 64 if reason == "small" else 128
    network = random_model(replace(SMALL, hidden_dim=width), 1)
    with caplog.at_level(logging.WARNING, "aios"):
        fast = accelerate(network, device, "fast", no_photos)
    assert fast.speed == "exact"
    (record,) = caplog.records
    assert "exact instead of fast" in record.getMessage()
    assert not any(isinstance(module, Int8Linear) for module in fast.modules())


def test_unknown_speed_is_refused():
    with pytest.raises(ValueError, match="choose exact or fast"):
        accelerate(random_model(SMALL, 1), CPU, "faster", no_photos)
