"""Triton kernels: results in the interpreter, compilation for GPUs, fallback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from aios.accelerate import kernel_attention
from aios.network.sampling import Sampling

ROOT = Path(__file__).resolve().parents[2]
EXACT = 1e-12
TOLERANCES = {"float32": 1e-5, "bf16 values": 0.02, "network": 1e-5}
CASES = (
    "ragged levels",
    "wider than a power of two",
    "one channel, one point",
    "single query",
    "several blocks of queries",
    "float32",
    "bf16 values",
    "far away",
    "no queries",
    "no images",
    "borders",
    "exactly on cells",
    "outside",
    "nan locations",
    "network",
    "chosen",
    "kept by compile",
)


def results_of(module: str, folder: Path) -> dict:
    environment = os.environ | {"TRITON_CACHE_DIR": str(folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", module],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def errors(tmp_path_factory):
    return results_of("tests.helpers.kernel_cases", tmp_path_factory.mktemp("triton"))


@pytest.mark.parametrize("case", CASES)
def test_kernel_equals_plain_sampling(errors, case):
    assert errors[case]
    for name, error in errors[case].items():
        assert error <= TOLERANCES.get(case, EXACT), name


def test_every_case_ran(errors):
    assert set(errors) == set(CASES)


def test_kernels_compile_for_gpus_without_register_spills(tmp_path):
    found = results_of("tests.helpers.kernel_compiled", tmp_path)
    least = {"forward": 16, "backward": 16, "norm": 6, "relu": 4, "raster": 0}
    assert set(found) == {f"{kernel} sm_90" for kernel in least}
    for kernel, (wide_loads, stack) in found.items():
        assert wide_loads >= least[kernel.split()[0]], kernel
        assert stack == 0, kernel


@pytest.fixture
def small_case():
    kernel_attention._tested_kernel.cache_clear()
    yield torch.ones(1, 4, 2, 3), Sampling(torch.ones(1, 1, 2, 1, 2, 2), torch.ones(1, 1, 2, 1, 2))
    kernel_attention._tested_kernel.cache_clear()


def test_no_kernel_on_a_cpu(small_case, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert kernel_attention.kernel_for(*small_case) is None


def test_failing_kernel_falls_back_with_one_log_line(small_case, monkeypatch, caplog):
    """The module of the kernel cannot be imported."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setitem(sys.modules, "aios.accelerate.deformable_kernel", None)
    for _ in range(2):
        assert kernel_attention.kernel_for(*small_case) is None
    assert caplog.text.count("Deformable attention runs without its kernel: ") == 1


def test_no_kernel_with_gradients_under_deterministic_algorithms(small_case, monkeypatch):
    value, sampling = small_case
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(kernel_attention, "_tested_kernel", lambda case: "the kernel")
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    assert kernel_attention.kernel_for(value, sampling) == "the kernel"
    assert kernel_attention.kernel_for(value.requires_grad_(), sampling) is None
