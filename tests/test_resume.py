"""The command line after an interruption: finished inputs are skipped, outputs are the same."""

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aios.__main__ import main
from aios.network.config import ImageConfig
from aios.pipelines.manifest import Manifest
from aios.predictor import AiOSPredictor
from aios.weights.checkpoint import save_safetensors
from tests.helpers.clips import make_clip
from tests.helpers.networks import TINY, random_model

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).resolve().parents[1]
KILL_AT_RENAME = """
import os, pathlib, signal, sys
import torch
from aios.__main__ import main
torch.set_num_threads(1)
left, usual = int(sys.argv.pop(1)), pathlib.Path.replace
def replace(path, target):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return usual(path, target)
pathlib.Path.replace = replace
sys.exit(main(sys.argv[1:]))
"""


SIGNAL_IN_A_VIDEO = """
import signal

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored below nohup
import os, pathlib, sys
import torch
from aios.__main__ import main
from aios.pipelines import video
torch.set_num_threads(1)
left, number, usual = int(sys.argv.pop(1)), int(sys.argv.pop(1)), video.StreamTracker.__call__
def track(*arguments):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), number)
    return usual(*arguments)
video.StreamTracker.__call__ = track
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(autouse=True)
def same_everywhere(monkeypatch):
    """The stand-in body, and no OpenGL context."""
    monkeypatch.setenv("AIOS_RENDERER", "software")
    monkeypatch.delenv("AIOS_SMPLX", raising=False)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    config = replace(TINY, image=ImageConfig(short_side=96, long_side=128))
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    extra = {"body_convention": "standin", "threshold": "0.0"}
    save_safetensors(path, random_model(config, 0).state_dict(), config, extra)
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Ten photos of two sizes, one of them broken, two of the same stem."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for index in range(9):
        pixels = rng.integers(0, 256, (60, 80, 3) if index % 3 else (80, 60, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    (folder / "1.jpg").write_bytes(b"\xff\xd8 no photo")
    (folder / "8.png").rename(folder / "7.bmp.png")
    return folder


@pytest.fixture
def runs(monkeypatch):
    """Numbers of photos in each batch."""
    sizes, usual = [], AiOSPredictor.predict_batch

    def count(self, batch, *args, **options):
        sizes.append(len(batch))
        return usual(self, batch, *args, **options)

    monkeypatch.setattr(AiOSPredictor, "predict_batch", count)
    return sizes


def arguments(weights, photos, out, *options):
    return [*map(str, (photos, "--out", out, "--weights", weights, "--max-people", 2)), *options]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def whole(weights, photos, tmp_path_factory):
    """Outputs of a run of one process without interruption."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIOS_RENDERER", "software")
        patch.delenv("AIOS_SMPLX", raising=False)
        out = tmp_path_factory.mktemp("whole")
        assert main(arguments(weights, photos, out)) == 1
    return contents(out)


def test_killed_run_continues_with_the_same_outputs(weights, photos, whole, tmp_path, runs):
    parts = tmp_path / "parts"
    # In the middle of the files of the sixth photo.
    code = [sys.executable, "-c", KILL_AT_RENAME, str(5 * 6 + 3)]
    killed = subprocess.run(
        [*code, *arguments(weights, photos, parts)], cwd=ROOT, capture_output=True, text=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    left = contents(parts)
    assert len((parts / "finished.jsonl").read_bytes().splitlines()) == 5
    assert [name for name in left if name.endswith(".tmp")]
    assert "people.csv" not in left
    assert main(arguments(weights, photos, parts)) == 1
    assert runs == [1] * 4
    assert contents(parts) == whole


def at_the_first_photo(monkeypatch, do):
    """Call `do` once, as soon as a photo is recorded as finished."""
    usual, calls = Manifest.add, []

    def add(self, *arguments):
        usual(self, *arguments)
        calls.append(None)
        if len(calls) == 1:
            do()

    monkeypatch.setattr(Manifest, "add", add)
    return calls


def test_processes_give_the_outputs_of_one_also_after_a_kill(
    weights, photos, whole, tmp_path, monkeypatch, caplog
):
    calls = at_the_first_photo(monkeypatch, lambda: multiprocessing.active_children()[0].kill())
    caplog.set_level(logging.INFO)
    assert main(arguments(weights, photos, tmp_path, "--processes", "2")) == 1
    assert len(calls) == 9 and not multiprocessing.active_children()
    assert "9 of 10 photos written" in caplog.text
    assert contents(tmp_path) == whole


def test_stopped_processes_continue_with_the_same_outputs(
    weights, photos, whole, tmp_path, monkeypatch, capfd
):
    """A terminal sends Ctrl-C to all processes; the rest is done by one."""

    def interrupt():
        for child in multiprocessing.active_children():
            os.kill(child.pid, signal.SIGINT)
        raise KeyboardInterrupt

    calls = at_the_first_photo(monkeypatch, interrupt)
    assert main(arguments(weights, photos, tmp_path, "--processes", "2")) == 1
    assert len(calls) == 1 and not multiprocessing.active_children()
    assert "Traceback" not in capfd.readouterr().err
    assert len((tmp_path / "people.csv").read_text("utf-8-sig").splitlines()) == 1
    assert main(arguments(weights, photos, tmp_path)) == 1
    assert len(calls) == 9 and contents(tmp_path) == whole


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_signal_during_a_video_leaves_no_unfinished_files(weights, tmp_path, number):
    clip, out = make_clip(tmp_path / "clip.mp4", 12), tmp_path / "out"
    code = [sys.executable, "-c", SIGNAL_IN_A_VIDEO, "5", str(int(number))]
    stopped = subprocess.run(
        [*code, *arguments(weights, clip, out)], cwd=ROOT, capture_output=True, text=True
    )
    left = sorted(path.name for path in out.iterdir())
    if number == signal.SIGKILL:
        assert stopped.returncode == -signal.SIGKILL, stopped.stderr
        assert left[0].startswith(".unfinished-")
    else:
        assert stopped.returncode == 1, stopped.stderr
        assert stopped.stderr.splitlines()[-1] == f"Stopped; finished results are in {out}."
        assert left == ["finished.jsonl"]
    assert main(arguments(weights, clip, out)) == 0
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    assert (out / "clip_overlay.mp4").is_file()


def test_second_run_predicts_nothing_and_changes_nothing(weights, photos, tmp_path, runs, caplog):
    out = tmp_path / "out"
    make_clip(tmp_path / "clip.mp4", 4, (96, 64))
    inputs = [str(tmp_path / "clip.mp4"), *arguments(weights, photos, out)]
    assert main(inputs) == 1
    before = contents(out)
    times = {path: os.stat(path).st_mtime_ns for path in out.glob("*.npz")}
    runs.clear()
    caplog.clear()
    assert main(inputs) == 1
    assert runs == []
    assert contents(out) == before
    assert {path: os.stat(path).st_mtime_ns for path in out.glob("*.npz")} == times
    assert "9 photos were finished by an earlier run" in caplog.text
    assert "clip.mp4 was finished by an earlier run" in caplog.text
    runs.clear()
    assert main([*inputs, "--overwrite"]) == 1
    assert sum(runs) == 9 and contents(out) == before


def test_changed_photos_settings_and_results_are_processed_again(weights, photos, tmp_path, runs):
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    for index in (0, 2, 3, 4, 5):
        (folder / f"{index}.png").write_bytes((photos / f"{index}.png").read_bytes())
    assert main(arguments(weights, folder, out)) == 0
    (out / "2.glb").unlink()
    (folder / "5.png").write_bytes((photos / "6.png").read_bytes())
    (folder / "6.png").write_bytes((photos / "6.png").read_bytes())
    runs.clear()
    assert main(arguments(weights, folder, out)) == 0
    assert runs == [1] * 3
    assert (out / "2.glb").exists()
    assert (out / "5.glb").read_bytes() == (out / "6.glb").read_bytes()
    rows = (out / "people.csv").read_text("utf-8-sig").splitlines()
    assert [row.split(",")[0] for row in rows[1::2]] == [f"{i}.png" for i in (0, 2, 3, 4, 5, 6)]
    runs.clear()
    assert main(arguments(weights, folder, out, "--ground")) == 0
    assert sum(runs) == 6


def test_problems_of_an_earlier_run_do_not_stay(weights, photos, tmp_path):
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    (folder / "0.png").write_bytes(b"")
    assert main(arguments(weights, folder, out)) == 1
    assert (out / "problems.csv").exists()
    (folder / "0.png").write_bytes((photos / "0.png").read_bytes())
    assert main(arguments(weights, folder, out)) == 0
    assert not (out / "problems.csv").exists()
