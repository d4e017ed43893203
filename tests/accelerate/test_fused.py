"""Steps between products in one pass: their numbers, and what happens where they cannot be had."""

import sys

import pytest
import torch
from torch import nn

from aios.accelerate import fused
from tests.accelerate.test_kernel_attention import figures_of

HALF = torch.bfloat16
LIMITS = {"full": 1e-5, "half": 0.04, "maps": 0.04, "memory": 1.5}
"""bf16 numbers up to 8 are 0.03 apart; the interpreter cuts where a GPU rounds."""
CASES = (
    "norm",
    "norm, no power of two",
    "norm of float32",
    "norm of large numbers",
    "norm of nothing",
    "relu",
    "relu of a sum",
    "relu of many channels",
    "relu, no power of two",
    "relu of nothing",
    "no numbers",
    "network",
    "larger network",
    "chosen",
)


@pytest.fixture(scope="module")
def errors(tmp_path_factory):
    return figures_of("tests.helpers.fused_cases", tmp_path_factory.mktemp("triton"))


@pytest.mark.parametrize("case", CASES)
def test_kernels_are_the_plain_way(errors, case):
    assert errors[case]
    for name, error in errors[case].items():
        assert error <= LIMITS.get(name, 0.0), name


def test_no_case_is_left_out(errors):
    assert set(errors) == set(CASES)


@pytest.fixture
def fresh():
    """Nothing is known yet of this device."""
    trials = (fused._norm_works, fused._relu_works, fused._linear_works)
    for trial in trials:
        trial.cache_clear()
    yield
    for trial in trials:
        trial.cache_clear()


def layer_norm() -> nn.LayerNorm:
    return nn.LayerNorm(8).requires_grad_(False)


def test_a_cpu_has_no_kernels(fresh, monkeypatch, caplog):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    tokens, update = torch.randn(2, 3, 8), torch.randn(2, 3, 8).to(HALF)
    norm = layer_norm()
    full, half = fused.add_norm(tokens, update, norm)
    assert torch.equal(full, norm(tokens + update))
    assert torch.equal(half, full.to(HALF))
    maps, bias = torch.randn(1, 4, 2, 3).to(HALF), torch.randn(4)
    wanted = ((maps + bias.to(HALF)[:, None, None]) + maps).relu()
    assert torch.equal(fused.add_relu_(maps.clone(), bias, maps.clone()), wanted)
    assert not caplog.records


def test_what_does_not_compile_is_said_once(fresh, monkeypatch, caplog):
    """Here because the interpreter was not chosen before Triton was imported, or is not there."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setitem(sys.modules, "aios.accelerate.fused_kernels", None)
    tokens = torch.randn(2, 3, 8)
    for _ in range(2):
        norm = layer_norm()
        assert torch.equal(fused.add_norm(tokens, tokens, norm)[0], norm(tokens + tokens))
        maps = torch.randn(1, 4, 2, 3).to(HALF).contiguous(memory_format=torch.channels_last)
        assert torch.equal(fused.add_relu_(maps.clone(), torch.zeros(4)), maps.relu())
    assert caplog.text.count("Layer norms run in several passes: ") == 1
    assert caplog.text.count("Sums and ReLUs of maps run in several passes: ") == 1


@pytest.mark.parametrize("kind", [HALF, torch.float32])
def test_a_product_with_its_relu(fresh, kind):
    linear = nn.Linear(16, 24).requires_grad_(False).to(kind)
    x = torch.randn(2, 5, 16).to(kind)
    torch.testing.assert_close(fused.linear_relu(x, linear), linear(x).relu())
    assert fused._linear_works(x.device, kind)


def test_a_product_without_its_relu(fresh, monkeypatch, caplog):
    def missing(*given):
        raise AttributeError("no such operation")

    monkeypatch.setattr(torch, "_addmm_activation", missing)
    linear, x = nn.Linear(16, 24).requires_grad_(False), torch.randn(2, 5, 16)
    for _ in range(2):
        assert torch.equal(fused.linear_relu(x, linear), linear(x).relu())
    assert caplog.text.count("Linear layers and their ReLUs run in several passes: Attr") == 1
