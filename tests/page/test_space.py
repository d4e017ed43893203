"""Hugging Face Space: metadata, start from its files alone, ZeroGPU."""

import json
import pickle
import re
import shutil
import subprocess
import sys
import tomllib
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from gradio_client import Client, handle_file

from aios.media.photo import PhotoError
from aios.page import space
from aios.weights.load import OFFICIAL_REPO, RELEASED_FILE
from tests.helpers.app_process import ROOT, app_process, clean_environment
from tests.helpers.served import STANDIN, save_photo, tiny_predictor

HUB_COLORS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}


@pytest.fixture(scope="module")
def predictor():
    return tiny_predictor()


def test_front_matter_matches_the_project():
    text = (ROOT / "README.md").read_text("utf-8")
    front = yaml.safe_load(re.match(r"---\n(.*?)\n---\n", text, re.S)[1])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert front["sdk"] == "gradio" and front["sdk_version"] == version("gradio")
    assert f"gradio=={front['sdk_version']}" in (ROOT / "requirements.txt").read_text().split()
    lowest = project["requires-python"].removeprefix(">=").split(".")
    assert [int(part) for part in front["python_version"].split(".")] >= list(map(int, lowest))
    assert (ROOT / front["app_file"]).is_file()
    assert front["models"] == [OFFICIAL_REPO]
    assert front["preload_from_hub"] == [f"{OFFICIAL_REPO} {RELEASED_FILE}"]
    assert {front["colorFrom"], front["colorTo"]} <= HUB_COLORS
    assert len(front["short_description"]) <= 60


def test_system_packages_are_those_of_the_gate():
    named = (ROOT / "packages.txt").read_text().split()
    gate = (ROOT / "tests" / "gate.sh").read_text()
    assert named == re.findall(r"\.so[.\d]*:(\S+?)[;\s]", gate)


def test_page_starts_from_the_files_of_the_space(tmp_path):
    """Without a network, and with AIOS_SMPLX_REPO naming an unavailable repository."""
    folder, home = tmp_path / "space", tmp_path / "home"
    home.mkdir()
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in listed.rstrip("\0").split("\0"):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    environment = clean_environment(home) | {
        "AIOS_SMPLX_REPO": "someone/secret-bodies",
        "HF_TOKEN": "hf_secret",
        "TMPDIR": str(tmp_path),
    }
    with app_process(folder, environment) as (address, log):
        client = Client(address, verbose=False, download_files=tmp_path / "downloads")
        status = client.predict(api_name="/status")
        photo = handle_file(str(ROOT / "assets" / "examples" / "photo_skier.jpg"))
        people, *files = client.predict(photo=photo, api_name="/reconstruct")
        answers = json.dumps([status, people])
    assert (status["weights"], status["body"]) == ("builtin", "stand-in")
    assert len(people["people"]) >= 1
    assert all(Path(file).stat().st_size > 1000 for file in files)
    assert re.search(
        r"^The body of AIOS_SMPLX_REPO is not used: Downloads are disabled", "".join(log), re.M
    )
    assert "hf_secret" not in "".join(log) + answers and "secret-bodies" not in answers
    assert not list(tmp_path.glob("aios-*")), "temporary files stay behind"
    assert "Traceback" not in "".join(log)


@pytest.mark.parametrize("value", ["", "0", "false"])
def test_zero_gpu_is_off_by_default(monkeypatch, value):
    monkeypatch.setenv("SPACES_ZERO_GPU", value)
    assert not space.on_zero_gpu()
    assert space.on_gpu(len) is len
    assert "spaces" not in sys.modules


def test_only_the_network_runs_on_zero_gpu(monkeypatch, tmp_path, one_thread):
    calls = []

    def gpu(duration):
        def decorate(function):
            def call(*arguments):
                calls.append(duration)
                # ZeroGPU pickles arguments and result for another process.
                there = pickle.loads(pickle.dumps(arguments))
                return pickle.loads(pickle.dumps(function(*there)))

            return call

        return decorate

    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    monkeypatch.setitem(sys.modules, "spaces", SimpleNamespace(GPU=gpu))
    photo = save_photo(tmp_path / "photo.png")
    expected, zero_gpu = tiny_predictor(), tiny_predictor()
    monkeypatch.setattr(space, "load_predictor", lambda options: loaded.append(options) or zero_gpu)
    monkeypatch.setattr(space, "use_zero_gpu", partial(space.use_zero_gpu, device="cpu"))
    loaded = []
    assert space.load_page_predictor(SimpleNamespace(body=STANDIN, device=None)) is zero_gpu
    assert (loaded[0].device, loaded[0].speed) == ("cpu", "exact")

    found = zero_gpu.predict(photo, 0.0)
    assert calls == [space.GPU_SECONDS]
    np.testing.assert_array_equal(found.vertices, expected.predict(photo, 0.0).vertices)
    candidates = zero_gpu.find_candidates(photo, with_attention=True)
    assert candidates.attention is not None and len(calls) == 2
    # Unreadable photos and another threshold use no GPU; bodies are posed on the CPU.
    with pytest.raises(PhotoError):
        zero_gpu.predict(b"no photo")
    zero_gpu.device = torch.device("meta")
    assert len(zero_gpu.assemble(candidates, 0.0)) == 5 and len(calls) == 2
    zero_gpu.device = torch.device("cpu")
    assert zero_gpu.with_body(zero_gpu.body).find_candidates(photo).camera == candidates.camera
    assert len(calls) == 3
