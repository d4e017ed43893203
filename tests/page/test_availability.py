"""Health endpoint, graceful stop, limits by environment variables, and the image."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from gradio_client import Client, handle_file

from aios.page.availability import Availability
from aios.page.layout import build_page
from aios.page.server import launch
from tests.helpers.served import free_port, save_photo, tiny_predictor

ROOT = Path(__file__).resolve().parents[2]


def status(request):
    try:
        with urlopen(request) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def test_server_that_stops_refuses_new_work_and_lets_running_work_end(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    predictor, begun, may_end = tiny_predictor(), threading.Event(), threading.Event()
    usual = predictor.find_candidates

    def slow(*arguments, **options):
        begun.set()
        assert may_end.wait(120)
        return usual(*arguments, **options)

    monkeypatch.setattr(predictor, "find_candidates", slow)
    page, availability = build_page(predictor), Availability()
    try:
        address = launch(
            page, "127.0.0.1", free_port(), auth=("user", "pass"), availability=availability
        ).rstrip("/")
        assert status(f"{address}/health") == (200, "ok")  # without the login
        client = Client(
            address, auth=("user", "pass"), verbose=False, download_files=str(tmp_path / "down")
        )
        photo = handle_file(str(save_photo(tmp_path / "a.png")))
        job = client.submit(photo=photo, api_name="/reconstruct")
        assert begun.wait(120)
        assert not availability.stop(page, 0)
        assert status(f"{address}/health") == (503, "stopping")
        refused, sentence = status(Request(f"{address}/gradio_api/queue/join", b"{}"))
        assert refused == 503 and "try again" in sentence
        may_end.set()
        assert availability.stop(page, 120)
        assert len(job.result(120)[0]["people"]) == 5
    finally:
        may_end.set()
        page.close(verbose=False)


def test_limits_are_read_from_environment_variables():
    names = "MAX_UPLOAD_FILE_MB, MAX_UPLOAD_MB, MAX_WAITING, STOP_SECONDS"
    code = f"from aios.page.limits import {names}\nprint({names})"
    values = {
        "AIOS_MAX_FILE_MB": "5",
        "AIOS_MAX_UPLOAD_MB": "6",
        "AIOS_MAX_WAITING": "7",
        "AIOS_STOP_SECONDS": "8",
    }
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | values, capture_output=True, text=True
    )
    assert done.stdout.split() == ["5", "6", "7", "8"], done.stderr
    bad = os.environ | {"AIOS_MAX_WAITING": "many"}
    done = subprocess.run(command, cwd=ROOT, env=bad, capture_output=True, text=True)
    assert "AIOS_MAX_WAITING is 'many': set it to a whole number" in done.stderr


def test_readme_names_the_variables_of_a_server():
    readme = (ROOT / "README.md").read_text("utf-8")
    limits = (ROOT / "aios" / "page" / "limits.py").read_text("utf-8")
    for name in re.findall(r"AIOS_\w+", limits):
        assert f"`{name}`" in readme


def test_image_copies_what_the_page_needs():
    """Each copied path exists and is let through by `.dockerignore`."""
    text = (ROOT / "Dockerfile").read_text("utf-8")
    copied = [line.split()[1] for line in text.splitlines() if line.startswith("COPY")]
    allowed = re.findall(r"^!(.+)", (ROOT / ".dockerignore").read_text("utf-8"), re.M)
    assert sorted(copied) == sorted(allowed)
    assert all((ROOT / path).exists() for path in copied)
    assert text.index("USER 1000") < text.index('CMD ["python", "app.py"]')
