"""Runs of a benchmark with a small network: one process, two processes, and a resumed run."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from aios.weights.checkpoint import save_safetensors
from tests.helpers.networks import TINY, random_model
from training.evaluate import main
from training.evaluation.metrics import Records
from training.evaluation.run import batches
from training.evaluation.samples import EvaluationSample

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = Path(__file__).resolve().parents[3]
COMMAND = ("synthetic", "--limit", "1", "--batch", "1", "--worst", "0", "--threshold", "0.1")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_safetensors(path, random_model(TINY, 0).state_dict(), TINY)
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory, weights):
    """Folder of a run with one process, and its metrics."""
    out = tmp_path_factory.mktemp("whole")
    path = out / "brief.json"
    arguments = ["--weights", str(weights), "--out", str(out), "--json", str(path)]
    assert main([*COMMAND, *arguments]) == 0
    return out, json.loads(path.read_text())


def assert_same_records(folder, other, protocol):
    """Compare records: errors up to rounding of linear algebra, everything else exactly."""
    one, two = (Records.load(*f.glob(f"records_{protocol}_*")).images() for f in (folder, other))
    assert len(one) == len(two) > 0
    for record, same in zip(one, two, strict=True):
        for field in fields(record):
            value, wanted = getattr(record, field.name), getattr(same, field.name)
            if field.name == "errors":
                np.testing.assert_allclose(value, wanted, atol=1e-12, rtol=1e-12)
            else:
                np.testing.assert_array_equal(value, wanted, field.name)


def test_two_resumed_processes_give_the_records_of_one(tmp_path, weights, finished):
    """The run starts from the incomplete files of a killed run with one process."""
    shutil.copytree(finished[0], tmp_path / "out")
    for kind in ("answers", "records_agora", "records_vertices"):
        file = tmp_path / "out" / f"{kind}_0.jsonl"
        lines = file.read_text().splitlines(keepends=True)
        file.write_text(lines[0] + lines[1][:30])
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    path = tmp_path / "brief.json"
    done = subprocess.run(
        [
            *(*launcher, "--nproc-per-node", "2", "-m", "training.evaluate", *COMMAND),
            *("--weights", str(weights), "--out", str(tmp_path / "out"), "--json", str(path)),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("All results are in") == 1
    for rank in range(2):
        assert (tmp_path / "out" / f"answers_{rank}.jsonl").stat().st_size > 0
    for protocol in ("agora", "vertices"):
        assert_same_records(tmp_path / "out", finished[0], protocol)
    found = json.loads(path.read_text())
    assert found.keys() == finished[1].keys()
    for part, metrics in finished[1].items():
        assert found[part].keys() == metrics.keys()
        for name, value in metrics.items():
            same = found[part][name]
            assert same == (value if value is None else pytest.approx(value, rel=1e-9)), name


def test_batches_do_not_span_parts():
    samples = [
        EvaluationSample(f"{group}{k}", group, lambda: None) for group in "ab" for k in range(3)
    ]
    names = [[sample.name for sample in batch] for batch in batches(samples, 2)]
    assert names == [["a0", "a1"], ["a2"], ["b0", "b1"], ["b2"]]
