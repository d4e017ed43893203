"""Numbers of processes and threads for a machine, a network and a number of photos."""

from types import SimpleNamespace

import pytest
import torch

from aios.pipelines import machine


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch):
    monkeypatch.setattr(machine, "usable_cores", lambda: 8)
    monkeypatch.setattr(machine, "free_memory", lambda: 20_000_000_000)


def predictor(short_side, device="cpu"):
    config = SimpleNamespace(image=SimpleNamespace(short_side=short_side))
    return SimpleNamespace(device=torch.device(device), model=SimpleNamespace(config=config))


@pytest.mark.parametrize(
    ("short_side", "photos", "expected"),
    [(320, 5, 1), (320, 100, 2), (320, 1000, 8), (800, 3, 1), (800, 9, 2), (800, 1000, 5)],
)
def test_processes_pay_and_fit_in_memory(short_side, photos, expected):
    assert machine.useful_processes(predictor(short_side), photos) == expected


def test_small_networks_have_one_thread_and_large_ones_share_the_cores():
    assert [machine.threads_of(predictor(320), count) for count in (1, 8)] == [1, 1]
    assert [machine.threads_of(predictor(800), count) for count in (1, 3, 16)] == [8, 2, 1]
    assert machine.threads_of(predictor(320, "cuda"), 1) is None


def test_limits_of_a_control_group_count(monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.setattr(machine, "_CONTROL_GROUP", tmp_path)
    cores, free = machine.usable_cores(), machine.free_memory()
    assert cores >= 1 and free > 1_000_000
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.usable_cores() == cores
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("2000\n")
    assert machine.usable_cores() == 1
    assert machine.free_memory() == 3000
    (tmp_path / "memory.current").write_text("6000\n")
    assert machine.free_memory() == 0


def test_number_of_threads_is_restored():
    before = torch.get_num_threads()
    with machine.torch_threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
    with machine.torch_threads(None):
        assert torch.get_num_threads() == before
