"""What a Hugging Face Space needs: its description, its files alone, its secrets, its GPU."""

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

import numpy as np
import pytest
import torch
import yaml
from gradio_client import Client, handle_file

from aios.body.model import BodyModel, BodyModelError
from aios.media.photo import PhotoError
from aios.page import body_upload, private_body, space
from aios.page.body_upload import BodyHandler
from aios.page.sessions import Choice, Sessions
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
    """The stand-in under the name of SMPL-X, and without the note that says so."""
    path = tmp_path_factory.mktemp("smplx") / "SMPLX_NEUTRAL.npz"
    with zipfile.ZipFile(STANDIN) as source, zipfile.ZipFile(path, "w", 8, compresslevel=1) as made:
        for name in source.namelist():
            if name != "standin_note.npy":
                made.writestr(name, source.read(name))
    return path


@pytest.fixture
def body(smplx_file, tmp_path):
    """A copy that may be removed."""
    return Path(shutil.copy(smplx_file, tmp_path))


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Where temporary files go."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


# The description.


def test_the_front_matter_is_that_of_this_program():
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


def test_system_packages_are_those_that_the_tests_run_with():
    named = (ROOT / "packages.txt").read_text().split()
    gate = (ROOT / "tests" / "gate.sh").read_text()
    assert named == re.findall(r"\.so[.\d]*:(\S+?)[;\s]", gate)


def test_the_files_of_the_space_start_and_answer(tmp_path):
    """On a fresh machine without a network, whose owner has named a body that cannot be had."""
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


# A body from a private repository.


def test_a_body_comes_from_a_private_repository_and_leaves_no_file(
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


def test_another_file_of_the_repository_may_be_named(server, smplx_file, monkeypatch):  # noqa: F811
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
def test_a_body_that_cannot_be_had_is_a_line_of_the_log(
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


def test_damaged_on_the_way_is_noticed(server, smplx_file, monkeypatch, caplog):  # noqa: F811
    server.files["SMPLX_NEUTRAL.npz"] = smplx_file.read_bytes()
    server.wrong_bytes = True
    monkeypatch.setenv("AIOS_SMPLX_REPO", "owner/private")
    assert private_body.body_of_environment() is None
    assert "arrived damaged" in caplog.text


@pytest.mark.parametrize("named", ["", "no name of a repository", "a/b/c/d"])
def test_nothing_or_nonsense_named_is_no_body(server, monkeypatch, named):  # noqa: F811
    monkeypatch.setenv("AIOS_SMPLX_REPO", named)
    assert private_body.body_of_environment() is None


def test_the_page_takes_the_body_of_the_repository_unless_another_is_named(
    predictor, smplx_file, monkeypatch, caplog
):
    caplog.set_level(logging.INFO)
    secret = BodyModel.load(smplx_file)
    monkeypatch.setattr(space, "load_predictor", lambda _options: predictor)
    monkeypatch.setattr(private_body, "body_of_environment", lambda: secret)
    monkeypatch.delenv("AIOS_SMPLX", raising=False)
    chosen = space.load_page_predictor(SimpleNamespace(body=None))
    assert chosen.body is secret and chosen.model is predictor.model
    assert "Body: SMPL-X, from a repository of the Hub" in caplog.messages
    assert space.load_page_predictor(SimpleNamespace(body=STANDIN)) is predictor
    monkeypatch.setenv("AIOS_SMPLX", str(STANDIN))
    assert space.load_page_predictor(SimpleNamespace(body=None)) is predictor


# A body of a visitor.


def _send(address, path):
    """Upload a file as a browser does; its path on the server."""
    edge = b"edge"
    head = f'--edge\r\nContent-Disposition: form-data; name="files"; filename="{path.name}"\r\n\r\n'
    content = head.encode() + path.read_bytes() + b"\r\n--" + edge + b"--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=edge"}
    with urlopen(Request(f"{address}gradio_api/upload", content, kind)) as reply:
        return json.load(reply)[0]


def _take(address, uploaded, session):
    """Fire the event of the upload widget; what the page says."""
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


def test_a_visitors_body_is_the_visitors_alone(predictor, body, tmp_path):
    photo = handle_file(str(save_photo(tmp_path / "photo.png")))
    with served(predictor, tmp_path / "uploads") as address:
        mine, other = (
            Client(address, verbose=False, download_files=tmp_path / name) for name in "ab"
        )
        uploaded = _send(address, body)
        shown, text = _take(address, uploaded, mine.session_hash)
        assert shown is None and text.startswith("**SMPL-X** is your body now")
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


def test_a_body_goes_with_its_visitor(predictor, body, tmp_path):
    sessions = Sessions(predictor)
    handler = BodyHandler(SimpleNamespace(sessions=sessions))
    mine, other = (SimpleNamespace(session_hash=name) for name in "ab")
    choice = Choice(save_photo(tmp_path / "photo.png"), 0.0, 5, "full")
    handler.take(str(body), mine)
    assert [sessions.result(name, choice).prediction.body for name in "ab"] == [
        "SMPL-X",
        "stand-in",
    ]
    sessions.result("a", choice)
    assert len(handler._bodies) == 1
    assert handler.drop(mine).startswith("The body of this page")
    assert sessions.result("a", choice).prediction.body == "stand-in"
    assert not handler._bodies, "a body that nobody uses stays in memory"
    assert sessions.predictor_of("b") is predictor and other.session_hash == "b"


def test_one_file_of_many_visitors_is_one_body(predictor, smplx_file, tmp_path, monkeypatch):
    sessions = Sessions(predictor)
    handler = BodyHandler(SimpleNamespace(sessions=sessions))
    monkeypatch.setattr(body_upload, "MOST_BODIES", 1)
    for name in "abc":
        path = tmp_path / f"{name}.npz"
        shutil.copy(smplx_file, path)
        handler.take(str(path), SimpleNamespace(session_hash=name))
        assert not path.exists()
    assert len({id(sessions.predictor_of(name).body) for name in "abc"}) == 1
    different = tmp_path / "different.npz"
    different.write_bytes(smplx_file.read_bytes() + b"\0")
    with pytest.warns(UserWarning, match="Too many"):
        _, text = handler.take(str(different), SimpleNamespace(session_hash="d"))
    assert text == "Too many visitors use bodies of their own just now: try again later."
    assert not different.exists()
    for name in "abc":
        sessions.leave(name)
    assert not handler._bodies


def _lies_about_its_size(path):
    """A few bytes that say they are a petabyte."""
    with zipfile.ZipFile(path, "w") as archive:
        header = {"descr": "<f8", "fortran_order": False, "shape": (10**14, 3)}
        with archive.open("v_template.npy", "w") as member:
            np.lib.format.write_array_header_1_0(member, header)


@pytest.mark.parametrize(
    ("name", "make", "expected"),
    [
        ("a.npz", lambda path: path.write_bytes(b""), "a.npz is not a readable"),
        ("a.npz", lambda path: path.write_bytes(b"PK\3\4 and no more"), "a.npz is not a readable"),
        ("a.pkl", lambda path: path.write_bytes(b"cos\nsystem\n."), "a.pkl is no .npz file"),
        ("SMPLX_MALE.npz", lambda path: np.savez(path, f=1), "is the male SMPL-X body"),
        ("a.npz", lambda path: np.savez(path, f=1), "it lacks v_template"),
        ("a.npz", lambda path: np.savez(path, v_template=np.zeros((6890, 3))), "SMPL or SMPL+H"),
        ("a.npz", _lies_about_its_size, "a.npz is not a readable"),
    ],
)
def test_bad_bodies_are_refused_in_one_sentence(tmp_path, name, make, expected):
    path = tmp_path / name
    make(path)
    with pytest.raises(BodyModelError, match=re.escape(expected)) as caught:
        private_body.take_body(path)
    assert "\n" not in str(caught.value) and str(tmp_path) not in str(caught.value)
    assert not path.exists()


def test_a_body_may_not_unpack_to_any_size(body, monkeypatch):
    monkeypatch.setattr(private_body, "MOST_UNPACKED_BYTES", 50_000_000)
    with pytest.raises(BodyModelError, match="SMPLX_NEUTRAL.npz unpacks to more than 50 MB: this"):
        private_body.take_body(body)
    assert not body.exists()


# A lent GPU.


def test_elsewhere_nothing_is_lent(monkeypatch):
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    assert not space.on_zero_gpu()
    assert space.on_gpu(len) is len
    assert "spaces" not in sys.modules


def test_on_zero_gpu_the_network_alone_runs_on_loan(monkeypatch, tmp_path, one_thread):
    loans = []

    def gpu(duration):
        def decorate(function):
            def call(*arguments):
                loans.append(duration)
                # To a process of its own and back, as on ZeroGPU.
                there = pickle.loads(pickle.dumps(arguments))
                return pickle.loads(pickle.dumps(function(*there)))

            return call

        return decorate

    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    monkeypatch.setitem(sys.modules, "spaces", SimpleNamespace(GPU=gpu))
    photo = save_photo(tmp_path / "photo.png")
    expected, lent = tiny_predictor(), tiny_predictor()
    monkeypatch.setattr(space, "load_predictor", lambda options: loaded.append(options) or lent)
    monkeypatch.setattr(space, "lend_gpu", partial(space.lend_gpu, device="cpu"))
    loaded = []
    assert space.load_page_predictor(SimpleNamespace(body=STANDIN, device=None)) is lent
    assert (loaded[0].device, loaded[0].speed) == ("cpu", "exact")

    found = lent.predict(photo, 0.0)
    assert loans == [space.LOAN_SECONDS]
    np.testing.assert_array_equal(found.vertices, expected.predict(photo, 0.0).vertices)
    candidates = lent.find_candidates(photo, with_attention=True)
    assert candidates.attention is not None and len(loans) == 2
    # Bad photos and another threshold take no loan, and bodies are posed where no GPU is.
    with pytest.raises(PhotoError):
        lent.predict(b"no photo")
    lent.device = torch.device("meta")
    assert len(lent.assemble(candidates, 0.0)) == 5 and len(loans) == 2
    lent.device = torch.device("cpu")
    assert lent.with_body(lent.body).find_candidates(photo).camera == candidates.camera
    assert len(loans) == 3
