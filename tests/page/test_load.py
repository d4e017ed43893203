"""Concurrent visitors and hostile requests."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

from aios.page import limits
from tests.helpers.app_process import ROOT
from tests.helpers.decoders import odd_decoders
from tests.helpers.live_folder import files_under
from tests.helpers.raw_http import FILE_DEFAULTS, VIDEO_DEFAULTS, call, file_data, send_file
from tests.helpers.served import STANDIN, save_photo, served, tiny_predictor
from tests.helpers.waiting import wait_until

MAX_MEMORY_GROWTH = 1.1


@pytest.fixture(scope="module")
def uploads(tmp_path_factory):
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
def address(uploads):
    with served(tiny_predictor(), uploads) as address:
        yield address


@pytest.fixture
def photos(tmp_path):
    """Photos with different widths, by which their results are recognised."""
    return [save_photo(tmp_path / f"{k}.png", 64 + k, 48) for k in range(20)]


def ask(address, photo):
    kind, answer = call(
        address,
        "reconstruct",
        [file_data(send_file(address, photo)), 0.0, 1, "fast", 0, *FILE_DEFAULTS],
    )
    assert kind == "complete", answer
    return answer


def is_alive(address):
    kind, answer = call(address, "status", [])
    return kind == "complete" and answer[0]["weights"] == "file"


def test_twenty_concurrent_visitors_get_their_own_results(address, photos):
    with ThreadPoolExecutor(20) as visitors:
        answers = list(visitors.map(lambda photo: ask(address, photo), photos))
    assert [a[0]["width"] for a in answers] == list(range(64, 84))
    assert [a[0]["photo"] for a in answers] == [photo.name for photo in photos]
    assert len({file["path"] for a in answers for file in a[1:]}) == 100


def test_photo_that_takes_long_keeps_no_other_visitor_waiting(tmp_path, monkeypatch):
    odd_decoders(monkeypatch)
    (tmp_path / "uploads").mkdir()
    slow = save_photo(tmp_path / "waiting.png")
    others = [save_photo(tmp_path / f"{k}.png", 60 + k) for k in range(3)]
    with served(tiny_predictor(), tmp_path / "uploads") as address, ThreadPoolExecutor(2) as pool:
        paths = [send_file(address, slow) for _ in range(2)]
        arguments = [0.0, 1, "fast", 0, *FILE_DEFAULTS]
        pending = [
            pool.submit(call, address, "reconstruct", [file_data(path), *arguments])
            for path in paths
        ]
        # Equal photos share one decoding.
        wait_until(lambda: any(Path(f"{path}.started").exists() for path in paths))
        assert [ask(address, photo)[0]["width"] for photo in others] == [60, 61, 62]
        assert not any(each.done() for each in pending)
        for path in paths:
            Path(f"{path}.go").touch()
        assert [each.result()[0] for each in pending] == ["complete"] * 2


def test_memory_does_not_grow_between_50_and_200_requests(tmp_path):
    """Every photo differs, so that each one is a new result for the cache."""
    photos = [save_photo(tmp_path / f"{k}.png", 200 + k % 20, 150 + k // 20) for k in range(200)]
    (tmp_path / "uploads").mkdir()
    command = [sys.executable, "-m", "tests.helpers.tiny_server", str(tmp_path / "uploads")]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        address = server.stdout.readline().strip()

        def memory_after(some: list[Path]) -> int:
            with ThreadPoolExecutor(4) as visitors:
                list(visitors.map(lambda photo: ask(address, photo), some))
            server.stdin.write("\n")
            server.stdin.flush()
            return int(server.stdout.readline())

        early = memory_after(photos[:50])
        late = memory_after(photos[50:])
        server.stdin.close()
        server.wait(60)
    assert late <= early * MAX_MEMORY_GROWTH, f"{early / 1e6:.0f} MB, then {late / 1e6:.0f} MB"


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../../../../etc/passwd",
        "..%2f..%2f..%2fetc%2fpasswd",
        str(STANDIN),
        f"{ROOT}/aios/../README.md",
        "file:///etc/passwd",
        "http://127.0.0.1:1/",
    ],
)
def test_files_of_the_server_are_not_served(address, uploads, path):
    for asked in (path, f"{uploads}/../{path}"):
        with pytest.raises(HTTPError) as caught:
            urlopen(f"{address}gradio_api/file={asked}", timeout=60)
        assert caught.value.code in (400, 403, 404)
        assert b"root:" not in caught.value.read()
    assert is_alive(address)


def test_upload_folder_is_not_listed(address, uploads):
    with pytest.raises(HTTPError) as caught:
        urlopen(f"{address}gradio_api/file={uploads}", timeout=60)
    assert caught.value.code == 403


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("reconstruct", []),
        ("reconstruct", [*[None] * 10]),
        ("reconstruct", [{"path": "/etc/passwd"}, 0.0, 1, "full", 0, *FILE_DEFAULTS]),
        ("reconstruct", [file_data("/etc/passwd"), 0.0, 1, "full", 0, *FILE_DEFAULTS]),
        ("reconstruct", [None, 0.0, 1, "huge", 0, *FILE_DEFAULTS]),
        ("reconstruct", [None, 0.0, 1, "full", 1e9, *FILE_DEFAULTS]),
        ("attention", [file_data("../secret"), 1, "nose", 1, 0.0, 0, 0]),
        ("video", [file_data("/etc/passwd"), 0.0, 1, 1, 1, *VIDEO_DEFAULTS]),
        ("video", [{"path": 7}, "x", [], {}, None, "y", 1, 2, 3, 4, 5]),
    ],
)
def test_invalid_calls_are_refused(address, name, data):
    try:
        kind, answer = call(address, name, data)
    except HTTPError as error:
        assert 400 <= error.code < 600
        answer, kind = error.read().decode(), "error"
    assert kind == "error"
    assert "Traceback" not in str(answer) and "root:" not in str(answer)
    assert len(str(answer)) < 400
    assert is_alive(address)


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("gradio_api/upload", limits.MAX_UPLOAD_MB),
        ("gradio_api/call/reconstruct", limits.MAX_CALL_MB),
    ],
)
def test_request_declared_too_large_is_not_read(address, path, limit):
    parts = urlsplit(address)
    connection = HTTPConnection(parts.hostname, parts.port, timeout=60)
    connection.putrequest("POST", f"/{path}")
    connection.putheader("Content-Type", "multipart/form-data; boundary=edge")
    connection.putheader("Content-Length", str(4 * 1024**3))
    connection.endheaders()
    reply = connection.getresponse()
    assert reply.status == 413
    assert reply.read().decode() == f"This request is too large: send at most {limit} MB."
    connection.close()
    assert is_alive(address)


def _pieces(size_mb):
    yield b'--edge\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    for _ in range(size_mb):
        yield bytes(1024 * 1024)
    yield b"\r\n--edge--\r\n"


@pytest.mark.parametrize(
    ("path", "limit_name"),
    [("gradio_api/upload", "MAX_UPLOAD_MB"), ("gradio_api/call/reconstruct", "MAX_CALL_MB")],
)
def test_chunked_request_is_cut_at_the_limit(address, uploads, monkeypatch, path, limit_name):
    monkeypatch.setattr(limits, limit_name, 2)
    before = files_under(uploads)
    kind = {"Content-Type": "multipart/form-data; boundary=edge"}
    try:
        with urlopen(Request(f"{address}{path}", _pieces(8), kind), timeout=60) as reply:
            raise AssertionError(reply.read())
    except HTTPError as error:
        assert error.code == 413 and b"2 MB" in error.read()
    except OSError:
        pass  # the server closed the connection during the upload
    assert files_under(uploads) <= before  # files of earlier visitors may be deleted meanwhile
    monkeypatch.undo()
    assert is_alive(address)
