"""Folder of a run: one run at a time, damaged and foreign files, values that no run can use."""

import errno
import json
import os
import subprocess
import sys

import pytest
import torch
from filelock import FileLock

from aios.network.config import ConfigError
from aios.weights.checkpoint import CheckpointError
from training.config import named_config
from training.engine import checkpointing
from training.engine.checkpointing import load_checkpoint, save_checkpoint
from training.engine.run_folder import RunFolderError, run_folder
from training.engine.training_log import LOG, _drop_beyond
from training.train import main


def test_folder_is_used_by_one_run_at_a_time(tmp_path):
    folder = tmp_path / "run"
    with run_folder(folder):
        with pytest.raises(RunFolderError, match="in use by another run"), run_folder(folder):
            pass
        assert folder.is_dir()
    assert not folder.exists()  # nothing was written
    with run_folder(folder):
        (folder / "step").touch()
    with run_folder(folder):
        pass
    assert [path.name for path in folder.iterdir()] == ["step"]


def test_command_reports_a_folder_in_use_and_a_file(tmp_path, capsys):
    (tmp_path / "file").touch()
    with FileLock(tmp_path / ".lock"):
        assert main(["--config", "tiny", "--out", str(tmp_path)]) == 1
    assert main(["--config", "tiny", "--out", str(tmp_path / "file")]) == 1
    assert main(["--config", "tiny", "--out", str(tmp_path / "file" / "below")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert "in use by another run" in lines[0]
    assert lines[1].endswith("file is a file: give a folder")
    assert "cannot be written to" in lines[2] and len(lines) == 3


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("steps=-5", "steps must not be negative, not -5"),
        ("minutes=-1", "minutes must not be negative"),
        ("epochs=-1", "epochs must not be negative"),
        ("optim.learning_rate=NaN", "learning_rate must be a finite number, not NaN"),
        ("optim.learning_rate=Infinity", "must be a finite number"),
        ("optim.weight_decay=-1", "must not be negative"),
        ("stages.0.batch_size=0", "batch_size and side of a stage must be at least 1"),
        ("stages.0.side=-64", "batch_size and side of a stage must be at least 1"),
        ("stages.0.until=NaN", "must be a finite number"),
        ("threads=0", "threads must be at least 1, not 0"),
        ("log_every=0", "log_every must be at least 1"),
        ("data.workers=-1", "data.workers must not be negative"),
        ("ema_decay=1.5", "ema_decay must be at least 0 and below 1"),
        ("seed=-1", "seed must not be negative"),
    ],
)
def test_values_that_no_run_can_use_are_refused(change, text):
    with pytest.raises(ConfigError, match=text) as error:
        named_config("tiny", [change])
    assert "\n" not in str(error.value)


def test_unreadable_lines_of_the_log_are_dropped(tmp_path):
    good = json.dumps({"step": 5, "total": 1.0}).encode()
    late = json.dumps({"step": 50}).encode()
    junk = [b"\xff\xfe\x00", b"{", b"[1]", b"7", b"null", b'{"step": "x"}', b"{}", b""]
    path = tmp_path / LOG
    path.write_bytes(b"\n".join([good, *junk, late, good, b'{"step": 6']))
    _drop_beyond(path, 10)
    assert path.read_bytes() == good + b"\n" + good + b"\n"


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04 and no more", None])
def test_damaged_checkpoint_offers_the_one_before(tmp_path, content):
    save_checkpoint(tmp_path, 7, {"step": 7})
    newest = save_checkpoint(tmp_path, 9, {"step": 9})
    newest.write_bytes(newest.read_bytes()[:-300] if content is None else content)
    text = r"step_0000009\.pt is not a .*: delete it to resume from step_0000007\.pt$"
    with pytest.raises(CheckpointError, match=text) as error:
        load_checkpoint(newest)
    assert "\n" not in str(error.value) and len(str(error.value)) < len(str(newest)) + 260


def test_checkpoint_of_another_program_is_one_sentence(tmp_path, capsys):
    save_checkpoint(tmp_path, 3, {"step": 3})
    assert main(["--config", "tiny", "--out", str(tmp_path)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "is not a checkpoint of a training run" in lines[0]


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), RuntimeError("[enforce fail] . more")],
)
def test_full_disk_keeps_the_earlier_checkpoints(tmp_path, monkeypatch, error):
    save_checkpoint(tmp_path, 1, {"step": 1})

    def full(_state, file):
        file.write(b"start")
        raise error

    monkeypatch.setattr(checkpointing.torch, "save", full)
    with pytest.raises(CheckpointError, match="cannot be written") as caught:
        save_checkpoint(tmp_path, 2, {"step": 2})
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["step_0000001.pt"]
    monkeypatch.undo()
    assert torch.load(tmp_path / "step_0000001.pt") == {"step": 1}


def test_tensorboard_does_not_import_tensorflow(tmp_path):
    # OpenGL crashes in a process with TensorFlow, which the extra "annotate" installs.
    package = tmp_path / "tensorflow"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    code = (
        "from pathlib import Path; from training.engine.training_log import TrainingLog; "
        f"TrainingLog(Path({str(tmp_path)!r}), 0).close()"
    )
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert list((tmp_path / "tensorboard").glob("events.*"))
