"""The README of the cluster: its columns are those of the tables, its snippets run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from aios.cluster import schema
from aios.cluster.parts import build_parts
from aios.cluster.sources import find_sources
from aios.cluster.worker import PartWorker, WorkerSettings
from aios.pipelines.batches import PeopleLimits
from tests.helpers.served import save_photo

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "aios" / "cluster" / "README.md").read_text("utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```", README, re.S | re.M)


@pytest.mark.parametrize("name", ["PEOPLE_WITH_VERTICES", "PHOTOS", "FAILED", "VIDEOS", "TRACKS"])
def test_every_column_is_described(name):
    described = set(re.findall(r"`(\w+)`", README))
    assert set(getattr(schema, name).names) <= described
    assert f"version {schema.VERSION}" in README


def test_results_are_read_in_three_lines(weights, tmp_path, one_thread):
    for index in range(2):
        save_photo(tmp_path / f"{index}.png")
    [part] = build_parts(find_sources([str(tmp_path)]), 2)
    settings = WorkerSettings(str(tmp_path / "OUT"), str(weights), limits=PeopleLimits(0.0, 2))
    PartWorker()({"part": part.to_json(), "settings": settings.to_bytes()})
    assert [len(re.findall("^.", snippet, re.M)) for snippet in SNIPPETS] == [3, 3, 3]
    environment = os.environ | {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(SNIPPETS)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path}/1.png    2" in done.stdout
    last = done.stdout.splitlines()[-1]
    assert len(last.strip("[]").split(",")) == 3
