"""`python app.py` in a separate process."""

import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.helpers.served import free_port

ROOT = Path(__file__).resolve().parents[2]
_START_SECONDS = 180


def clean_environment(home: Path) -> dict[str, str]:
    """Return the environment of a new machine: no settings, no login, an empty home."""
    kept = ("PATH", "LANG", "TMPDIR", "OMP_NUM_THREADS")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    return environment | {
        "HOME": str(home),
        "HF_HUB_OFFLINE": "1",
        "NO_PROXY": "*",
        "PYTHONUNBUFFERED": "1",
    }


@contextmanager
def app_process(
    folder: Path, environment: dict[str, str], *options: str
) -> Iterator[tuple[str, list[str]]]:
    """Start `app.py` of `folder`; yield its address and the growing list of log lines."""
    command = [sys.executable, "app.py", "--port", str(free_port()), *options]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    log: list[str] = []
    addresses: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            log.append(line)
            if found := re.search(r"^Page: (\S+)", line):
                addresses.put(found[1])
        addresses.put(None)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        address = addresses.get(timeout=_START_SECONDS)
        assert address is not None, "".join(log)
        yield address, log
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join()
