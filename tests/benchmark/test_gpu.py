"""The GPU benchmark runs end to end on a CPU; no time is asserted."""

import json

import pytest

from tests.benchmark import gpu as benchmark_gpu

pytestmark = pytest.mark.usefixtures("one_thread")


def test_every_part_is_measured(tmp_path):
    path = tmp_path / "figures.json"
    options = ["--device", "cpu", "--network", "small", "--speeds", "exact"]
    options += ["--train-batches", "2"]
    benchmark_gpu.main([*options, "--repeats", "1", "--batch", "2", "--json", str(path)])
    found = json.loads(path.read_text())
    for part in ("kernel", "steps", "photos", "training", "differences"):
        assert "failed" not in found[part], found[part]
    assert found["device"] == "CPU"
    assert found["kernel"]["float32"]["plain both s"] > 0
    assert found["photos"]["exact"]["alone: photos a second"] > 0
    assert found["photos"]["exact"]["batch: photos a second"] > 0
    assert found["training"]["batch 2, ratio"] > 0
    same = found["differences"]["exact from the CPU"]
    assert same["people"] >= 8
    assert same["greatest_mm"] == 0


def test_failed_part_is_reported_and_the_others_run(monkeypatch, capsys):
    for part in ("_kernel", "_steps", "_training", "_differences"):
        monkeypatch.setattr(benchmark_gpu, part, lambda *_: {})

    def broken(*_):
        raise RuntimeError("no memory")

    monkeypatch.setattr(benchmark_gpu, "_photos", broken)
    benchmark_gpu.main(["--device", "cpu"])
    output = capsys.readouterr().out
    assert "RuntimeError: no memory" in output
    assert "differences: {}" in output
