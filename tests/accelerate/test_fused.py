"""Fused steps: results equal those of plain steps, and fallback without kernels."""

import sys

import pytest
import torch
from torch import nn

from aios.accelerate import fused
from tests.accelerate.test_kernel_attention import results_of

HALF = torch.bfloat16
LIMITS = {"full": 1e-5, "half": 0.04, "maps": 0.04, "memory": 1.5}
"""bf16 values up to 8 are 0.03 apart; the interpreter truncates where a GPU rounds."""
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
    "nan",
    "network",
    "larger network",
    "chosen",
)


@pytest.fixture(scope="module")
def errors(tmp_path_factory):
    return results_of("tests.helpers.fused_cases", tmp_path_factory.mktemp("triton"))


@pytest.mark.parametrize("case", CASES)
def test_kernels_equal_plain_steps(errors, case):
    assert errors[case]
    for name, error in errors[case].items():
        assert error <= LIMITS.get(name, 0.0), name


def test_every_case_ran(errors):
    assert set(errors) == set(CASES)


@pytest.fixture
def untested():
    """Clear the results of self-tests."""
    self_tests = (fused._norm_works, fused._relu_works, fused._linear_works)
    for self_test in self_tests:
        self_test.cache_clear()
    yield
    for self_test in self_tests:
        self_test.cache_clear()


def layer_norm() -> nn.LayerNorm:
    return nn.LayerNorm(8).requires_grad_(False)


def test_plain_steps_run_on_a_cpu(untested, monkeypatch, caplog):
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


def test_failing_kernel_falls_back_with_one_log_line(untested, monkeypatch, caplog):
    """The module of the kernels cannot be imported."""
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
def test_fused_product_and_relu_equal_separate_ones(untested, kind):
    linear = nn.Linear(16, 24).requires_grad_(False).to(kind)
    x = torch.randn(2, 5, 16).to(kind)
    torch.testing.assert_close(fused.linear_relu(x, linear), linear(x).relu())
    assert fused._linear_works(x.device, kind)


def test_missing_fused_product_falls_back_with_one_log_line(untested, monkeypatch, caplog):
    def missing(*given):
        raise AttributeError("no such operation")

    monkeypatch.setattr(torch, "_addmm_activation", missing)
    linear, x = nn.Linear(16, 24).requires_grad_(False), torch.randn(2, 5, 16)
    for _ in range(2):
        assert torch.equal(fused.linear_relu(x, linear), linear(x).relu())
    assert caplog.text.count("Linear layers and their ReLUs run in several passes: Attr") == 1
