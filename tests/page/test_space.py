"""Hugging Face Space: metadata, start from its files alone, secret body model, ZeroGPU."""

import json
import logging
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import gradio as gr
import numpy as np
import pytest
import torch
import yaml
from gradio_client import Client, handle_file

from aios.body.model import BodyModel, BodyModelError
from aios.media.photo import PhotoError
from aios.page import body_upload, private_body, space
from aios.page.body_upload import BodyHandler
from aios.page.context import PageContext
from aios.page.results import PhotoQuery
from aios.page.sessions import Sessions
from aios.weights.load import OFFICIAL_REPO, RELEASED_FILE
from tests.helpers.app_process import ROOT, app_process, clean_environment
from tests.helpers.served import STANDIN, save_photo, served, tiny_predictor
from tests.weights.test_hub import cache, server  # noqa: F401  fixtures

HUB_COLORS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}


@pytest.fixture(scope="module")
def predictor():
    return tiny_predictor()


@pytest.fixture(scope="module")
def smplx_file(tmp_path_factory):
    """The stand-in body under the name of SMPL-X, without its marker."""
    path = tmp_path_factory.mktemp("smplx") / "SMPLX_NEUTRAL.npz"
    with zipfile.ZipFile(STANDIN) as source, zipfile.ZipFile(path, "w", 8, compresslevel=1) as made:
        for name in source.namelist():
            if name != "standin_note.npy":
                made.writestr(name, source.read(name))
    return path


@pytest.fixture
def body(smplx_file, tmp_path):
    """A copy for tests that delete the file."""
    return Path(shutil.copy(smplx_file, tmp_path))


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Folder of temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def page_context(predictor, folder):
    sessions = Sessions(predictor, folder)
    return PageContext(gr.Blocks(), predictor, sessions, 0.0, gr.State(None), gr.State(None))


def visitor(name):
    return SimpleNamespace(session_hash=name)


# Metadata.


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
        r"^The body of AIOS_SMPLX_REPO is not used: The Hub was not", "".join(log), re.M
    )
    assert "hf_secret" not in "".join(log) + answers and "secret-bodies" not in answers
    assert not list(tmp_path.glob("aios-*")), "temporary files stay behind"
    assert "Traceback" not in "".join(log)


# Body from a private repository.


def test_body_from_a_private_repository_leaves_no_file(
    server,  # noqa: F811
    smplx_file,
    temporary,
    tmp_path,
    monkeypatch,
):
    server.files["SMPLX_NEUTRAL.npz"] = smplx_file.read_bytes()
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.delenv("HF_HUB_DISABLE_IMPLICIT_TOKEN")
    monkeypatch.setenv("AIOS_SMPLX_REPO", "owner/private")
    body = private_body.body_of_environment()
    assert body.name == "SMPL-X" and body.faces.shape[1] == 3
    assert {request.token for request in server.requests} == {"Bearer hf_secret"}
    assert server.asked("GET")[0].path == "/owner/private/resolve/main/SMPLX_NEUTRAL.npz"
    assert not list(temporary.iterdir())
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and p.stat().st_size > 10_000]


def test_file_of_the_repository_can_be_named(server, smplx_file, monkeypatch):  # noqa: F811
    server.files["body.npz"] = smplx_file.read_bytes()
    monkeypatch.setenv("AIOS_SMPLX_REPO", "owner/private:body.npz")
    assert private_body.body_of_environment().name == "SMPL-X"


@pytest.mark.parametrize(
    ("files", "refusal", "reason"),
    [
        ({}, None, "holds neither SMPLX_NEUTRAL.npz nor SMPLX_NEUTRAL.pkl"),
        ({}, (401, "RepoNotFound"), "does not exist or needs permission"),
        ({}, (403, "GatedRepo"), "is gated"),
        ({"SMPLX_NEUTRAL.npz": b"no archive"}, None, "SMPLX_NEUTRAL.npz is not a readable"),
        ({"SMPLX_NEUTRAL.pkl": b"cos\nsystem\n."}, None, "not a body model pickle"),
    ],
)
def test_unavailable_body_is_one_line_of_the_log(
    server,  # noqa: F811
    temporary,
    monkeypatch,
    caplog,
    files,
    refusal,
    reason,
):
    server.files, server.refusal = files, refusal
    monkeypatch.setenv("AIOS_SMPLX_REPO", "owner/private")
    assert private_body.body_of_environment() is None
    assert reason in caplog.messages[-1] and str(temporary) not in caplog.text
    assert not list(temporary.iterdir())


def test_damaged_download_is_refused(server, smplx_file, monkeypatch, caplog):  # noqa: F811
    server.files["SMPLX_NEUTRAL.npz"] = smplx_file.read_bytes()
    server.wrong_bytes = True
    monkeypatch.setenv("AIOS_SMPLX_REPO", "owner/private")
    assert private_body.body_of_environment() is None
    assert "arrived damaged" in caplog.text


@pytest.mark.parametrize("named", ["", "no name of a repository", "a/b/c/d"])
def test_invalid_repository_name_gives_no_body(server, monkeypatch, named):  # noqa: F811
    monkeypatch.setenv("AIOS_SMPLX_REPO", named)
    assert private_body.body_of_environment() is None


def test_page_uses_the_body_of_the_repository_unless_another_is_given(
    predictor, smplx_file, monkeypatch, caplog
):
    caplog.set_level(logging.INFO)
    secret = BodyModel.load(smplx_file)
    monkeypatch.setattr(space, "load_predictor", lambda _options: predictor)
    monkeypatch.setattr(private_body, "body_of_environment", lambda: secret)
    monkeypatch.delenv("AIOS_SMPLX", raising=False)
    chosen = space.load_page_predictor(SimpleNamespace(body=None))
    assert chosen.body is secret and chosen.model is predictor.model
    assert "Body: SMPL-X, from the Hugging Face Hub" in caplog.messages
    assert space.load_page_predictor(SimpleNamespace(body=STANDIN)) is predictor
    monkeypatch.setenv("AIOS_SMPLX", str(STANDIN))
    assert space.load_page_predictor(SimpleNamespace(body=None)) is predictor


# Body uploaded by a visitor.


def _send(address, path):
    """Upload a file as a browser does; return its path on the server."""
    edge = b"edge"
    head = f'--edge\r\nContent-Disposition: form-data; name="files"; filename="{path.name}"\r\n\r\n'
    content = head.encode() + path.read_bytes() + b"\r\n--" + edge + b"--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=edge"}
    with urlopen(Request(f"{address}gradio_api/upload", content, kind)) as reply:
        return json.load(reply)[0]


def _fire_upload(address, uploaded, session):
    """Fire the event of the upload widget; return its outputs."""
    with urlopen(f"{address}config") as reply:
        config = json.load(reply)
    (widget,) = [c["id"] for c in config["components"] if c["props"].get("elem_id") == "body-input"]
    (event,) = [d["id"] for d in config["dependencies"] if [widget, "upload"] in d["targets"]]
    file = {"path": uploaded, "meta": {"_type": "gradio.FileData"}}
    call = {"fn_index": event, "data": [file], "session_hash": session}
    request = Request(
        f"{address}gradio_api/run/predict",
        json.dumps(call).encode(),
        {"Content-Type": "application/json"},
    )
    with urlopen(request) as reply:
        return json.load(reply)["data"]


def test_uploaded_body_is_used_for_its_visitor_only(predictor, body, tmp_path):
    photo = handle_file(str(save_photo(tmp_path / "photo.png")))
    with served(predictor, tmp_path / "uploads") as address:
        mine, other = (
            Client(address, verbose=False, download_files=tmp_path / name) for name in "ab"
        )
        uploaded = _send(address, body)
        shown, text = _fire_upload(address, uploaded, mine.session_hash)
        assert shown is None and text.startswith("**SMPL-X** is now in use")
        bodies = [
            client.predict(photo=photo, threshold=0.0, api_name="/reconstruct")[0]["body"]
            for client in (mine, other, mine, other)
        ]
        assert bodies == ["SMPL-X", "stand-in"] * 2
        assert mine.predict(api_name="/status")["body"] == "SMPL-X"
        assert other.predict(api_name="/status")["body"] == "stand-in"
        with pytest.raises(HTTPError) as caught:
            urlopen(f"{address}gradio_api/file={uploaded}")
        assert caught.value.code == 403
    left = [p for p in (tmp_path / "uploads").rglob("*.npz") if p.name == body.name]
    assert not left and predictor.body.name == "stand-in"


def test_uploaded_body_is_dropped_on_reset(predictor, body, tmp_path):
    context = page_context(predictor, tmp_path)
    handler = BodyHandler(context)
    mine, other = context.visit(visitor("a")), context.visit(visitor("b"))
    query = PhotoQuery(save_photo(tmp_path / "photo.png"), 0.0, 5, "full")
    handler.upload(str(body), visitor("a"))
    assert [visit.result(query).prediction.body for visit in (mine, other)] == [
        "SMPL-X",
        "stand-in",
    ]
    mine.result(query)
    assert len(handler._bodies) == 1
    assert handler.reset(visitor("a")) == "Switched back to the default body."
    assert mine.result(query).prediction.body == "stand-in"
    assert not handler._bodies, "an unused body stays in memory"
    assert other.predictor is predictor


def test_equal_files_of_several_visitors_are_one_body(predictor, smplx_file, tmp_path, monkeypatch):
    context = page_context(predictor, tmp_path)
    handler = BodyHandler(context)
    monkeypatch.setattr(body_upload, "MAX_BODIES", 1)
    for name in "abc":
        path = tmp_path / f"{name}.npz"
        shutil.copy(smplx_file, path)
        handler.upload(str(path), visitor(name))
        assert not path.exists()
    assert len({id(context.visit(visitor(name)).predictor.body) for name in "abc"}) == 1
    different = tmp_path / "different.npz"
    different.write_bytes(smplx_file.read_bytes() + b"\0")
    with pytest.warns(UserWarning, match="Too many"):
        _, text = handler.upload(str(different), visitor("d"))
    assert text == "Too many visitors use their own body at the moment: try again later."
    assert not different.exists()
    for name in "abc":
        context.sessions.leave(name)
    assert not handler._bodies


def _oversized_header(path):
    """A small file whose header declares a petabyte."""
    with zipfile.ZipFile(path, "w") as archive:
        header = {"descr": "<f8", "fortran_order": False, "shape": (10**14, 3)}
        with archive.open("v_template.npy", "w") as member:
            np.lib.format.write_array_header_1_0(member, header)


@pytest.mark.parametrize(
    ("name", "make", "expected"),
    [
        ("a.npz", lambda path: path.write_bytes(b""), "a.npz is not a readable"),
        ("a.npz", lambda path: path.write_bytes(b"PK\3\4 and no more"), "a.npz is not a readable"),
        ("a.pkl", lambda path: path.write_bytes(b"cos\nsystem\n."), "a.pkl is not an .npz file"),
        ("SMPLX_MALE.npz", lambda path: np.savez(path, f=1), "is the male SMPL-X body"),
        ("a.npz", lambda path: np.savez(path, f=1), "it lacks v_template"),
        ("a.npz", lambda path: np.savez(path, v_template=np.zeros((6890, 3))), "SMPL or SMPL+H"),
        ("a.npz", _oversized_header, "a.npz is not a readable"),
    ],
)
def test_invalid_body_files_are_refused_in_one_sentence(tmp_path, name, make, expected):
    path = tmp_path / name
    make(path)
    with pytest.raises(BodyModelError, match=re.escape(expected)) as caught:
        private_body.read_uploaded_body(path)
    assert "\n" not in str(caught.value) and str(tmp_path) not in str(caught.value)
    assert not path.exists()


def test_unpacked_size_of_a_body_is_limited(body, monkeypatch):
    monkeypatch.setattr(private_body, "MAX_UNPACKED_BYTES", 50_000_000)
    with pytest.raises(BodyModelError, match="SMPLX_NEUTRAL.npz unpacks to more than 50 MB: this"):
        private_body.read_uploaded_body(body)
    assert not body.exists()


# ZeroGPU.


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
