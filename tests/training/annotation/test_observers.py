"""Processes of the teachers, with a replacement for the networks."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from training.annotation import observers
from training.annotation.observation import concatenate
from training.annotation.observers import Observers

ROOT = Path(__file__).resolve().parents[3]
_SCRIPT = """
import time
from pathlib import Path
from tests.training.annotation.test_observers import Start
from training.annotation import observers
observers.check_files, observers._Start = (lambda folder: None), Start
running = observers.Observers(Path(), 2)
running([Path("12.png")] * 4)
print(*(worker._process.pid for worker in running._pool._workers), flush=True)
time.sleep(600)
"""


@dataclass(frozen=True)
class Start:
    """Reads the size of a photo from its name; the photo 0 ends the process."""

    folder: Path

    def __call__(self):
        return look


def look(path):
    side = int(path.stem)
    if side == 0:
        os._exit(1)
    return (side, side), concatenate([])


@pytest.fixture
def running(monkeypatch, tmp_path):
    monkeypatch.setattr(observers, "check_files", lambda folder: None)
    monkeypatch.setattr(observers, "_Start", Start)
    with Observers(tmp_path, 2) as running:
        yield running


def test_results_are_in_the_order_of_the_photos(running):
    photos = [Path(f"{side}.png") for side in (5, 3, 9, 1)]
    assert [size for size, _ in running(photos)] == [(5, 5), (3, 3), (9, 9), (1, 1)]
    assert [size for size, _ in running(photos[:1])] == [(5, 5)]


def test_photo_that_ends_the_process_counts_as_unreadable(running):
    sizes = [size for size, _ in running([Path("4.png"), Path("0.png"), Path("6.png")])]
    assert sizes == [(4, 4), (0, 0), (6, 6)]


def is_alive(process):
    """Whether a process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_processes_end_with_a_killed_parent():
    parent = subprocess.Popen(
        [sys.executable, "-c", _SCRIPT], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    processes = [int(word) for word in parent.stdout.readline().split()]
    assert len(processes) == 2 and all(map(is_alive, processes))
    parent.kill()
    parent.wait()
    until = time.monotonic() + 60
    while any(map(is_alive, processes)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(is_alive, processes))
