"""Temporary folders: deleted at the end, and later if the program was killed."""

import os
import signal
import subprocess
import sys

import pytest

from aios.pipelines.scratch import scratch_folder, stop_on_signals

KILLED = """
import os, sys
from pathlib import Path
from aios.pipelines.scratch import scratch_folder
with scratch_folder("x-", Path(sys.argv[1])) as folder:
    (folder / "photo").write_text("private")
    os.kill(os.getpid(), 9)
"""


def test_folder_is_deleted_at_the_end_and_after_an_error(tmp_path):
    with pytest.raises(ValueError), scratch_folder("x-", tmp_path) as folder:
        (folder / "a").write_text("a")
        raise ValueError
    assert not list(tmp_path.iterdir())


def test_folder_in_use_stays(tmp_path):
    with scratch_folder("x-", tmp_path) as first:
        with scratch_folder("x-", tmp_path) as second:
            assert first.is_dir() and second.is_dir()
        assert first.is_dir()


def test_folder_of_a_killed_program_is_deleted_by_the_next(tmp_path):
    other = tmp_path / "x-photos of somebody"
    other.mkdir()
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)])
    assert done.returncode == -signal.SIGKILL
    assert len([path for path in tmp_path.glob("x-*") if path.is_dir()]) == 2
    with scratch_folder("x-", tmp_path) as folder:
        assert {path for path in tmp_path.iterdir() if path.is_dir()} == {folder, other}


def test_signals_to_end_raise_keyboard_interrupt():
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
    try:
        stop_on_signals()
        for number in before:
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)
                signal.sigtimedwait([], 5)
        # As under `nohup`.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        stop_on_signals()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
