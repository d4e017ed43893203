"""Hub downloads, against a small HTTP server on the loopback address."""

import errno
import hashlib
import re
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import close_session
from torch import nn

from aios.network.config import AiOSConfig
from aios.weights import download, hub
from aios.weights import load as weights
from aios.weights.checkpoint import CheckpointError, save_safetensors

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONTENT = bytes(range(256)) * 4096
REPO, FILE = "user/name", "weights.bin"


@dataclass
class Hub:
    """Files and behaviour of the server, and the requests it received."""

    files: dict[str, bytes] = field(default_factory=dict)
    refusal: tuple[int, str] | None = None
    """Status and `X-Error-Code` of every response."""
    cuts: list[int] = field(default_factory=list)
    """Bytes of the body that the next GETs send before the connection breaks."""
    ignores_ranges: bool = False
    wrong_bytes: bool = False
    storage_url: str = ""
    """Redirection target of GET, as the Hub does for large files."""
    silence: threading.Event | None = None
    """The server does not respond until it is set."""
    requests: list[SimpleNamespace] = field(default_factory=list)
    url: str = ""

    def received(self, method):
        return [request for request in self.requests if request.method == method]


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        hub = self.hub
        self.close_connection = True
        hub.requests.append(
            SimpleNamespace(
                method=self.command,
                path=self.path,
                range=self.headers.get("Range"),
                token=self.headers.get("Authorization"),
            )
        )
        if hub.silence is not None:
            hub.silence.wait(30)
            return
        _, _, filename = self.path.removeprefix("/storage").rpartition("/")
        content = hub.files.get(filename)
        if hub.refusal is not None or content is None:
            self.refuse(*(hub.refusal or (404, "EntryNotFound")))
        elif hub.storage_url and not self.path.startswith("/storage"):
            self.send_response(302)
            self.describe(content, linked=True)
            self.send_header("Location", f"{hub.storage_url}/storage/{filename}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.serve(content)

    def refuse(self, status, code):
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def describe(self, content, linked=False):
        etag = hashlib.sha256(content).hexdigest()
        self.send_header("X-Linked-Etag" if linked else "ETag", f'"{etag}"')
        self.send_header("X-Repo-Commit", COMMIT)
        if linked:
            self.send_header("X-Linked-Size", str(len(content)))

    def serve(self, content):
        first = 0
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if match and not self.hub.ignores_ranges:
            first = int(match[1])
        self.send_response(206 if first else 200)
        self.describe(content)
        if first:
            last = len(content) - 1
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        body = content[first:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            if self.hub.wrong_bytes:
                body = bytes(len(body))
            self.wfile.write(body[: self.hub.cuts.pop(0)] if self.hub.cuts else body)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Empty Hub cache, no token, no waits between retries."""
    for name in ("HF_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    monkeypatch.setattr(download, "RETRY_WAITS_SECONDS", (0.0, 0.0))
    close_session()
    yield tmp_path / "hf" / "hub"
    close_session()


@pytest.fixture
def server(cache, monkeypatch):
    state = Hub(files={FILE: CONTENT})
    handler = type("BoundHandler", (Handler,), {"hub": state})
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    state.url = f"http://127.0.0.1:{http.server_port}"
    monkeypatch.setenv("HF_ENDPOINT", state.url)
    yield state
    if state.silence is not None:
        state.silence.set()
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def no_network(cache, monkeypatch):
    """An address without a server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")


def unfinished(cache):
    return list(cache.rglob("*.incomplete"))


# Files.


def test_file_is_fetched_once(server, cache, caplog):
    caplog.set_level("INFO", "aios")
    path = hub.fetch_file(REPO, FILE)
    assert path.read_bytes() == CONTENT
    assert path.is_relative_to(cache)
    assert "Fetching weights.bin from user/name of 1.0 MB" in caplog.text
    assert hub.find_cached(REPO, FILE) == path
    assert hub.fetch_file(REPO, FILE) == path
    assert len(server.received("GET")) == 1
    assert unfinished(cache) == []


def test_progress_is_shown(server, capsys):
    hub.fetch_file(REPO, FILE)
    assert f"{FILE} from {REPO}: 100%" in capsys.readouterr().err


def test_new_version_is_fetched(server):
    first = hub.fetch_file(REPO, FILE)
    server.files[FILE] = CONTENT[::-1]
    # Removed, since the cache identifies a file by its commit, which stays the same here.
    first.unlink()
    assert hub.fetch_file(REPO, FILE).read_bytes() == CONTENT[::-1]


def test_interrupted_download_is_resumed_in_the_same_call(server):
    server.cuts = [300_000, 0, 500_000]
    assert hub.fetch_file(REPO, FILE).read_bytes() == CONTENT
    ranges = [request.range for request in server.received("GET")]
    assert ranges == [None, "bytes=300000-", "bytes=300000-", "bytes=800000-"]


def test_next_call_resumes_an_interrupted_download(server, cache):
    server.cuts = [400_000, 0, 0]
    with pytest.raises(hub.HubError, match=r"interrupted after 0\.4 MB of 1\.0 MB.*resume"):
        hub.fetch_file(REPO, FILE)
    assert [path.stat().st_size for path in unfinished(cache)] == [400_000]
    assert hub.find_cached(REPO, FILE) is None
    server.requests.clear()
    assert hub.fetch_file(REPO, FILE).read_bytes() == CONTENT
    assert [request.range for request in server.received("GET")] == ["bytes=400000-"]
    assert unfinished(cache) == []


def test_download_restarts_if_the_server_ignores_ranges(server):
    server.cuts = [400_000]
    server.ignores_ranges = True
    assert hub.fetch_file(REPO, FILE).read_bytes() == CONTENT


def test_partial_file_that_is_too_long_is_discarded(server, cache):
    blobs = cache / "models--user--name" / "blobs"
    blobs.mkdir(parents=True)
    left_over = blobs / f"{hashlib.sha256(CONTENT).hexdigest()}.incomplete"
    left_over.write_bytes(CONTENT + b"more")
    assert hub.fetch_file(REPO, FILE).read_bytes() == CONTENT


def test_wrong_checksum_is_detected(server, cache):
    server.wrong_bytes = True
    with pytest.raises(hub.HubError, match="damaged in transfer"):
        hub.fetch_file(REPO, FILE)
    assert unfinished(cache) == []
    server.wrong_bytes = False
    assert hub.fetch_file(REPO, FILE).read_bytes() == CONTENT


def test_token_is_sent_to_the_hub_only(server, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_IMPLICIT_TOKEN", False)
    server.storage_url = server.url.replace("127.0.0.1", "localhost")
    server.cuts = [100_000]
    assert hub.fetch_file(REPO, FILE).read_bytes() == CONTENT
    assert {request.token for request in server.received("HEAD")} == {"Bearer hf_secret"}
    gets = server.received("GET")
    assert [request.range for request in gets] == [None, "bytes=100000-"]
    assert {request.path for request in gets} == {f"/storage/{FILE}"}
    assert {request.token for request in gets} == {None}


def test_etag_that_is_a_path_is_refused(server, cache, monkeypatch):
    metadata = SimpleNamespace(etag="../../evil", commit_hash=COMMIT, size=3, location=server.url)
    monkeypatch.setattr(hub, "get_hf_file_metadata", lambda *_, **__: metadata)
    with pytest.raises(hub.HubError, match="does not respond like the Hugging Face Hub"):
        hub.fetch_file(REPO, FILE)
    assert not cache.exists()


# Errors of the Hub.


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        ((401, "GatedRepo"), r"gated \(401\).*licence at https.*user/name.*hf auth login"),
        ((403, "GatedRepo"), r"gated \(403\)"),
        ((401, ""), r"\(401\).*hf auth login.*licence"),
        ((403, ""), r"\(403\).*hf auth login"),
        ((404, "RepoNotFound"), r"user/name does not exist.*404"),
        ((404, ""), r"user/name does not exist.*404"),
        ((404, "RevisionNotFound"), r"user/name does not exist.*404"),
        ((404, "EntryNotFound"), r"has no file weights\.bin"),
        ((400, ""), r"failed to serve.*400"),
        ((429, ""), r"failed to serve.*429.*later"),
        ((500, ""), r"failed to serve.*500.*later"),
    ],
)
def test_error_status_gives_one_sentence(server, refusal, words):
    server.refusal = refusal
    with pytest.raises(hub.HubError, match=words) as caught:
        hub.fetch_file(REPO, FILE)
    assert "\n" not in str(caught.value)
    assert len(server.requests) == 1


def test_missing_network_gives_one_sentence(no_network):
    with pytest.raises(hub.HubError, match=r"127\.0\.0\.1.*not reachable.*network"):
        hub.fetch_file(REPO, FILE)


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "socks://127.0.0.1:9", "ftp://x"])
def test_proxy_of_another_kind_gives_one_sentence(no_network, monkeypatch, proxy):
    close_session()
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(hub.HubError, match=r"through the proxy.*http://HOST:PORT"):
        hub.fetch_file(REPO, FILE)
    monkeypatch.delenv("ALL_PROXY")
    close_session()


def test_offline_mode_makes_no_request(server, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(hub.HubError, match="HF_HUB_OFFLINE"):
        hub.fetch_file(REPO, FILE)
    assert server.requests == []


def test_cached_copy_is_used_if_the_hub_fails(server, monkeypatch, caplog):
    path = hub.fetch_file(REPO, FILE)
    server.refusal = (500, "")
    assert hub.fetch_file(REPO, FILE) == path
    assert "cached copy" in caplog.text


def test_silent_hub_times_out(server):
    server.silence = threading.Event()
    with pytest.raises(hub.HubError, match="timeout"):
        hub.fetch_metadata(REPO, FILE, timeout=2.0)
    assert len(server.requests) == 1


@pytest.mark.parametrize("name", ["a//b", "a/b--c/../d", "x" * 200 + "/y"])
def test_invalid_repository_name_is_named(server, name):
    with pytest.raises(hub.HubError, match="not a valid Hub repository name"):
        hub.fetch_file(name, FILE)


# The disk.


def test_unwritable_cache_is_named(server, tmp_path, monkeypatch):
    # A file in place of the folder also blocks root, unlike permissions.
    blocked = tmp_path / "blocked"
    blocked.touch()
    monkeypatch.setenv("HF_HOME", str(blocked))
    with pytest.raises(hub.HubError, match=r"blocked.*not writable.*set HF_HOME"):
        hub.fetch_file(REPO, FILE)


def test_read_only_disk_is_named(server, monkeypatch):
    def read_only(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(hub.Path, "mkdir", read_only)
    with pytest.raises(hub.HubError, match=r"not writable \(Read-only file system\)"):
        hub.fetch_file(REPO, FILE)


def test_full_disk_is_detected_before_the_download(server, monkeypatch):
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(hub.HubError, match=r"is full.*HF_HOME"):
        hub.fetch_file(REPO, FILE)
    assert server.received("GET") == []


# Weights from the Hub.


@pytest.fixture
def network(monkeypatch, tmp_path):
    """Replaces the network by one layer, with built-in weights for it."""

    class OneLayer(nn.Linear):
        def __init__(self, config):
            super().__init__(2, 2)

    monkeypatch.setattr("aios.network.model.AiOS", OneLayer)
    monkeypatch.setattr("aios.weights.official_names.rename_official", lambda state, config: state)
    builtin = tmp_path / "builtin.safetensors"
    save_safetensors(builtin, OneLayer(None).state_dict(), AiOSConfig())
    monkeypatch.setattr(weights, "BUILTIN_WEIGHTS", builtin)
    released = tmp_path / "released.pth"
    torch.save({"model": OneLayer(None).state_dict()}, released)
    return SimpleNamespace(own=builtin.read_bytes(), released=released.read_bytes())


def test_official_and_auto_fetch_the_released_file(server, network):
    server.files["aios_checkpoint.pth"] = network.released
    for source in ("auto", "official"):
        info = weights.load_model(source).weights
        assert (info.name, info.is_official) == ("official", True)
    assert {request.path for request in server.requests} == {
        "/ttxskk/AiOS/resolve/main/aios_checkpoint.pth"
    }
    assert len(server.received("GET")) == 1


def test_auto_uses_the_cached_file_without_a_request(server, network, monkeypatch):
    server.files["aios_checkpoint.pth"] = network.released
    weights.load_model("official")
    server.requests.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert weights.load_model("auto").weights.name == "official"
    assert server.requests == []


def test_auto_without_network_uses_built_in_weights_and_logs_the_reason(
    no_network, network, caplog
):
    info = weights.load_model().weights
    assert (info.name, info.is_official) == ("builtin", False)
    assert "built-in" in info.description
    assert "not reachable" in info.description
    assert info.description in caplog.text


def test_auto_falls_back_if_the_hub_is_silent(server, network, monkeypatch):
    monkeypatch.setattr(weights, "AUTO_TIMEOUT_SECONDS", 2.0)
    server.silence = threading.Event()
    info = weights.load_model("auto").weights
    assert info.name == "builtin"
    assert "timeout" in info.description
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("refusal", "words"), [((401, "GatedRepo"), "gated"), ((404, "RepoNotFound"), "does not exist")]
)
def test_auto_falls_back_if_the_hub_refuses(server, network, refusal, words):
    server.refusal = refusal
    info = weights.load_model("auto").weights
    assert info.name == "builtin"
    assert words in info.description


def test_auto_falls_back_if_the_released_file_is_damaged(server, network):
    server.files["aios_checkpoint.pth"] = network.released[:-50]
    info = weights.load_model("auto").weights
    assert info.name == "builtin"
    assert "aios_checkpoint.pth" in info.description


def test_auto_without_any_weights_reports_both_reasons(no_network, network):
    weights.BUILTIN_WEIGHTS.unlink()
    with pytest.raises(CheckpointError, match="built-in.*missing.*not reachable"):
        weights.load_model("auto")


def test_official_does_not_fall_back(no_network, network):
    with pytest.raises(hub.HubError, match="not reachable"):
        weights.load_model("official")


def test_repository_prefers_safetensors_to_the_released_file(server, network):
    server.files["model.safetensors"] = network.own
    server.files["aios_checkpoint.pth"] = network.released
    info = weights.load_model(REPO).weights
    assert (info.name, info.is_official, info.path.name) == ("hub", False, "model.safetensors")
    assert "user/name (model.safetensors)" in info.description
    assert weights.load_model(f"{REPO}:aios_checkpoint.pth").weights.is_official
    del server.files["model.safetensors"]
    assert weights.load_model("other/name").weights.path.name == "aios_checkpoint.pth"


def test_repository_without_weights_is_named(server):
    with pytest.raises(hub.HubError, match=r"user/name.*contains neither.*user/name:FILE"):
        weights.load_model(REPO)
    with pytest.raises(hub.HubError, match=r"has no file other\.pth"):
        weights.load_model(f"{REPO}:other.pth")
