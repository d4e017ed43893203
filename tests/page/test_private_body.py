"""SMPL-X body models from a private repository and from visitors, without keeping the file."""

import json
import logging
import re
import shutil
import tempfile
import zipfile
from pathlib import Path
from types import SimpleNamespace
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import gradio as gr
import numpy as np
import pytest
from gradio_client import Client, handle_file

from aios.body.model import BodyModel, BodyModelError
from aios.page import body_upload, private_body, space
from aios.page.body_upload import BodyHandler
from aios.page.context import PageContext
from aios.page.results import PhotoQuery
from aios.page.sessions import Sessions
from tests.helpers.live_folder import files_under
from tests.helpers.served import STANDIN, save_photo, served, tiny_predictor
from tests.weights.test_hub import cache, server  # noqa: F401  fixtures


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
    assert server.received("GET")[0].path == "/owner/private/resolve/main/SMPLX_NEUTRAL.npz"
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
    assert "damaged in transfer" in caplog.text


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
    assert not files_under(tmp_path / "uploads", body.name)
    assert predictor.body.name == "stand-in"


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
        ("SMPLX_MALE.npz", lambda path: np.savez(path, f=1), "is the male SMPL-X body by its name"),
        ("a.npz", lambda path: np.savez(path, betas=1), "it lacks v_template"),
        ("a.npz", lambda path: np.savez(path, v_template=np.zeros((6890, 3))), "SMPL or SMPL+H"),
        ("a.npz", _oversized_header, "v_template has shape (100000000000000, 3)"),
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
