"""Foreign hosts, unused routes of Gradio, wrong passwords, MCP with a login."""

import asyncio
import base64
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from http.client import HTTPConnection
from pathlib import Path
from types import SimpleNamespace
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

import numpy as np
import pytest
from PIL import Image

from aios.cli import StartError, find_port
from aios.page import guard, limits, queue_places
from aios.page.guard import SHARE_DOMAIN, AllowedHosts, LoginPace, allowed_hosts
from aios.page.limits import RequestLimits
from aios.page.page_state import OpenPagesFirst
from aios.page.queue_places import (
    MAX_JOBS,
    MAX_OWN_JOBS,
    limit_waiting_jobs,
    run_one_photo_each,
)
from tests.helpers.app_process import ROOT, app_process, clean_environment
from tests.helpers.clips import make_clip
from tests.helpers.live_folder import paths_under
from tests.helpers.raw_http import VIDEO_DEFAULTS, file_data, send_file
from tests.helpers.served import free_port, served, tiny_predictor
from tests.helpers.waiting import wait_until


def status_of(middleware, path="/", method="GET", client="9.9.9.9", body=b"", **headers) -> int:
    """Status with which an ASGI app answers."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "path": path,
        "method": method,
        "client": (client, 1),
        "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()],
    }
    asyncio.run(middleware(scope, receive, send))
    return sent[0]["status"]


def answering(status: int):
    async def app(_scope, _receive, send):
        await send({"type": "http.response.start", "status": status, "headers": []})

    return app


@pytest.mark.parametrize(
    ("listening", "more", "host", "is_allowed"),
    [
        ("127.0.0.1", [], "127.0.0.1:7860", True),
        ("127.0.0.1", [], "LOCALHOST:7860", True),
        ("127.0.0.1", [], "[::1]:7860", True),
        ("127.0.0.1", [], "evil.example", False),
        ("127.0.0.1", [], "localhost.evil.example:7860", False),
        ("127.0.0.1", [], "10.0.0.7", False),
        ("127.0.0.1", [], "", False),
        ("::1", [], "[::1]:7860", True),
        ("0.0.0.0", [], "10.0.0.7:7860", True),
        ("0.0.0.0", [], "[fe80::1]:7860", True),
        ("0.0.0.0", [], socket.gethostname(), True),
        ("0.0.0.0", [], "evil.example", False),
        ("127.0.0.1", ["aios.example.org"], "aios.example.org", True),
        ("127.0.0.1", ["*.example.org"], "a.b.example.org", True),
        ("127.0.0.1", ["*.example.org"], "example.org.evil", False),
        ("127.0.0.1", ["*"], "anything", True),
        ("127.0.0.1", [SHARE_DOMAIN], "abc.gradio.live", True),
        ("myhost", [], "myhost:1", True),
    ],
)
def test_host_names(listening, more, host, is_allowed):
    names, any_address = allowed_hosts(listening, more)
    middleware = AllowedHosts(answering(200), names, any_address)
    assert status_of(middleware, host=host) == (200 if is_allowed else 403)
    origin = f"http://{host}"
    local = {"host": "127.0.0.1:7860"} if listening != "myhost" else {"host": "myhost"}
    if host:
        expected = 200 if is_allowed else 403
        assert status_of(middleware, origin=origin, **local) == expected
    assert status_of(middleware, origin="null", **local) == (200 if "*" in more else 403)


def test_space_is_served_under_its_own_name(monkeypatch):
    monkeypatch.setenv("SPACE_ID", "somebody/aios")
    middleware = AllowedHosts(answering(200), *allowed_hosts("0.0.0.0"))
    assert status_of(middleware, host="somebody-aios.hf.space") == 200
    assert status_of(middleware, host="evil.example") == 403


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/process_recording",
        "/gradio_api/deep_link",
        "/gradio_api/proxy=http://127.0.0.1",
        "/gradio_api/vibe-code",
        "/monitoring/summary",
        "/gradio_api/run-history/buckets",
    ],
)
def test_unused_routes_are_closed(path):
    middleware = AllowedHosts(answering(200), *allowed_hosts("127.0.0.1"))
    assert status_of(middleware, path, host="localhost") == 404
    assert status_of(middleware, "/gradio_api/info", host="localhost") == 200


def test_wrong_passwords_are_slowed_down(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(guard.time, "monotonic", lambda: now[0])
    pace = LoginPace(answering(400), ("me", "secret"))
    limit = guard.WRONG_PASSWORDS

    def attempts(client):
        return [status_of(pace, "/login", "POST", client) for _ in range(limit + 2)]

    assert attempts("1.1.1.1") == [400] * limit + [429] * 2
    assert attempts("2.2.2.2")[0] == 400  # another address is not locked out
    now[0] += 61
    assert attempts("1.1.1.1")[0] == 400
    # Many addresses together are limited, too.
    found = [s for n in range(3, 20) for s in attempts(f"{n}.1.1.1")]
    assert found.count(400) <= 10 * limit
    now[0] += 61
    pace = LoginPace(answering(200), ("me", "secret"))
    assert [status_of(pace, "/login", "POST") for _ in range(50)] == [200] * 50


def test_mcp_requires_the_password():
    pace = LoginPace(answering(200), ("me", "sec:ret"))

    def ask(text):
        encoded = base64.b64encode(text.encode()).decode()
        return status_of(pace, "/gradio_api/mcp/", "POST", authorization=f"Basic {encoded}")

    assert status_of(pace, "/gradio_api/mcp", "POST") == 401
    assert status_of(pace, "/gradio_api/mcp/", "POST", authorization="Basic %%%") == 401
    assert ask("me:wrong") == 401 and ask("me:sec:ret") == 200
    assert status_of(LoginPace(answering(200), None), "/gradio_api/mcp", "POST") == 200


@pytest.mark.parametrize("number", [28, 122])  # no space, over quota
def test_full_disk_is_one_sentence(number):
    async def app(_scope, _receive, _send):
        raise OSError(number, "full")

    assert status_of(RequestLimits(app), "/gradio_api/upload", "POST") == 507


def test_uploads_of_an_hour_are_limited(monkeypatch):
    monkeypatch.setattr(limits, "MAX_OWN_UPLOADS_MB", 2)
    monkeypatch.setattr(limits, "MAX_UPLOADS_MB", 5)
    now = [1000.0]
    monkeypatch.setattr(limits.time, "monotonic", lambda: now[0])

    async def app(_scope, receive, send):
        await receive()
        await answering(200)(_scope, receive, send)

    middleware = RequestLimits(app)

    def send(client):
        content = bytes(1024 * 1024)
        return status_of(middleware, "/gradio_api/upload", "POST", client, content)

    assert [send("1.1.1.1") for _ in range(4)] == [200, 200, 507, 507]
    assert [send("2.2.2.2") for _ in range(3)] == [200, 200, 507]
    assert [send("3.3.3.3") for _ in range(3)] == [200, 507, 507]
    now[0] += 3601
    assert send("1.1.1.1") == 200


def test_widgets_of_open_pages_are_kept_before_those_of_calls():
    holder = OpenPagesFirst(lambda name: name == "page")
    holder.capacity = 10
    holder.session_data["page"] = SimpleNamespace()
    for number in range(110):
        holder.session_data[f"call {number}"] = SimpleNamespace()
        holder.update(f"call {number}")
    assert "page" in holder.session_data and len(holder.session_data) == 10
    assert "call 109" in holder.session_data and "call 0" not in holder.session_data


def test_one_visitor_does_not_fill_the_queue(monkeypatch):
    waiting: list[SimpleNamespace] = []
    queue = SimpleNamespace(event_queue_per_concurrency_id={"long": SimpleNamespace(queue=waiting)})

    async def push(body, request, username):
        kind = body.kind
        waiting.append(
            SimpleNamespace(concurrency_id=kind, session_hash=body.session_hash, request=request)
        )
        return True, "id", "success"

    queue.push = push
    page = SimpleNamespace(_queue=queue)
    kinds = lambda _page, _, body: SimpleNamespace(concurrency_id=body.kind)  # noqa: E731
    monkeypatch.setattr(queue_places.route_utils, "get_fn", kinds)
    limit_waiting_jobs(page)

    def join(session, host, kind="long"):
        body = SimpleNamespace(session_hash=session, kind=kind)
        request = SimpleNamespace(client=SimpleNamespace(host=host))
        return asyncio.run(queue.push(body=body, request=request, username=None))[0]

    assert [join("a", "127.0.0.1") for _ in range(33)] == [True] * MAX_OWN_JOBS + [False] * 31
    assert [join(str(n), "8.8.8.8") for n in range(33)] == [True] * MAX_OWN_JOBS + [False] * 31
    assert sum(join(str(n), "127.0.0.1") for n in range(33)) == MAX_JOBS - 2 * MAX_OWN_JOBS
    assert join("photo", "127.0.0.1", "model")


@pytest.mark.parametrize("kind", ["model", "files"])
def test_one_visitor_holds_one_place_for_photos(kind):
    def event(session, host="127.0.0.1"):
        request = SimpleNamespace(client=SimpleNamespace(host=host))
        return SimpleNamespace(session_hash=session, request=request, concurrency_id=kind)

    waiting = [event("a"), event("a"), event("b", "8.8.8.8"), event("c", "8.8.8.8"), event("d")]
    a, second_of_a, b, c, d = waiting
    part = SimpleNamespace(
        queue=waiting, concurrency_id=kind, concurrency_limit=3, current_concurrency=0
    )
    queue = SimpleNamespace(
        event_queue_per_concurrency_id={kind: part}, active_jobs=[None, None, None, None]
    )
    run_one_photo_each(SimpleNamespace(_queue=queue))

    def start():
        found = queue.get_events()
        if found is None:
            return None
        events, is_batch, name = found
        assert (is_batch, name) == (False, kind)
        queue.active_jobs[queue.active_jobs.index(None)] = events
        part.current_concurrency += 1
        return events[0]

    assert [start() for _ in range(4)] == [a, b, d, None]
    queue.active_jobs[0] = None
    part.current_concurrency -= 1
    assert start() is second_of_a
    queue.active_jobs[1] = None
    part.current_concurrency -= 1
    assert start() is c
    assert not waiting


@pytest.fixture(scope="module")
def protected(tmp_path_factory):
    """Page with a password, serving MCP."""
    with served(
        tiny_predictor(), tmp_path_factory.mktemp("uploads"), auth=("me", "sec:ret"), mcp=True
    ) as address:
        yield address


def raw(address: str, path: str, **headers: str) -> int:
    parts = urlsplit(address)
    connection = HTTPConnection(parts.hostname, parts.port, timeout=60)
    connection.request("GET", path, headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status


def test_page_refuses_foreign_hosts_and_origins(protected):
    assert raw(protected, "/") == 200
    assert raw(protected, "/", Host="evil.example:7860") == 403
    assert raw(protected, "/config", Origin="https://evil.example") == 403


@pytest.mark.parametrize("host", ["::1", "::"])
def test_page_is_served_over_ipv6(tmp_path, host):
    try:
        find_port(host, None)
    except StartError as error:  # a machine without IPv6
        assert "Cannot listen" in str(error)
        return
    with served(tiny_predictor(), tmp_path, host=host) as address:
        assert urlsplit(address).netloc.startswith("[::1]:")
        assert raw(address, "/config") == 200


def test_wrong_passwords_of_the_served_page(protected):
    def log_in(password: str) -> int:
        form = urlencode({"username": "me", "password": password}).encode()
        try:
            with urlopen(Request(f"{protected}login", form), timeout=60) as reply:
                return reply.status
        except HTTPError as error:
            return error.code

    assert log_in("sec:ret") == 200
    assert [log_in("wrong") for _ in range(7)] == [400] * 5 + [429] * 2


def test_mcp_tools_work_with_the_login(tmp_path_factory):
    uploads = tmp_path_factory.mktemp("uploads")
    auth = ("me", "sec:ret")
    with served(tiny_predictor(), uploads, auth=auth, mcp=True) as address:
        url = f"{address}gradio_api/mcp/"
        before = paths_under(uploads)
        with pytest.raises(BaseException, match="") as caught:
            asyncio.run(ask_over_mcp(url, {}))
        assert "401" in repr(collect(caught.value))
        assert paths_under(uploads) == before
        encoded = base64.b64encode(b"me:sec:ret").decode()
        found, refused = asyncio.run(ask_over_mcp(url, {"Authorization": f"Basic {encoded}"}))
    assert not found.isError and "'people': [{" in found.content[0].text
    assert refused.isError and "uploaded file" in refused.content[0].text


def collect(error: BaseException) -> list[BaseException]:
    parts = getattr(error, "exceptions", ())
    return [error, *(inner for part in parts for inner in collect(part))]


async def ask_over_mcp(url: str, headers: dict[str, str]):
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    # More than the 4 MB that the library allows.
    noise = np.random.default_rng(0).integers(0, 256, (1100, 1300, 3)).astype(np.uint8)
    path = Path(tempfile.mkdtemp()) / "noise.png"
    Image.fromarray(noise).save(path)
    photo = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
    assert len(photo) > 5_000_000
    async with (
        streamablehttp_client(url, headers=headers) as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        found = await session.call_tool("reconstruct", {"photo": photo, "input_size": "fast"})
        refused = await session.call_tool("reconstruct", {"photo": "/etc/passwd"})
    return found, refused


def heartbeat(address: str, session: str):
    return urlopen(f"{address}gradio_api/heartbeat/{session}", timeout=60)


def test_page_that_connects_again_keeps_its_photo(tmp_path):
    from aios.page import sessions
    from tests.helpers.raw_http import FILE_DEFAULTS, file_data, send_file
    from tests.helpers.served import save_photo

    uploads = tmp_path / "uploads"
    uploads.mkdir()
    photo, session = save_photo(tmp_path / "a.png"), uuid.uuid4().hex

    def answer(address, path):
        url = f"{address}gradio_api/call/reconstruct"
        data = [file_data(path), 0.0, 1, "fast", 0, *FILE_DEFAULTS]
        body = json.dumps({"data": data, "session_hash": session}).encode()
        kind = {"Content-Type": "application/json"}
        with urlopen(Request(url, body, kind), timeout=60) as reply:
            event = json.load(reply)["event_id"]
        with urlopen(f"{url}/{event}", timeout=60) as reply:
            return reply.read()

    done: list[float] = []
    usual = sessions.Sessions.leave_later

    def counted(self, name, then):
        usual(self, name, then)
        done.append(1.0)

    with pytest.MonkeyPatch.context() as patch, served(tiny_predictor(), uploads) as address:
        patch.setattr(sessions.Sessions, "leave_later", counted)
        path = send_file(address, photo)
        first = heartbeat(address, session)
        first.readline()
        assert b"event: complete" in answer(address, path)
        first.close()
        second = heartbeat(address, session)
        second.readline()
        wait_until(lambda: done)
        threads = [t for t in __import__("threading").enumerate() if hasattr(t, "interval")]
        for timer in threads:
            timer.join(30)
        assert Path(path).exists()
        second.close()
        wait_until(lambda: not Path(path).exists())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_signals_leave_no_uploads(request, tmp_path, number):
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    environment = clean_environment(home) | {"TMPDIR": str(temporary)}
    command = [sys.executable, "app.py", "--weights", "builtin", "--port", str(free_port())]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=-2
    )
    request.addfinalizer(process.kill)
    assert any("Page: " in line for line in process.stdout)
    (folder,) = [path for path in temporary.glob("aios-page-*") if path.is_dir()]
    os.kill(process.pid, number)
    process.stdout.read()
    assert process.wait(60) == (-9 if number == signal.SIGKILL else 0)
    assert folder.exists() == (number == signal.SIGKILL)
    if number == signal.SIGKILL:
        with app_process(ROOT, environment, "--weights", "builtin"):
            assert not folder.exists()


def test_signal_during_a_video_ends_the_page_without_leaving_files(request, tmp_path):
    """The video has not ended when the server has waited for it."""
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    environment = clean_environment(home) | {"TMPDIR": str(temporary), "AIOS_STOP_SECONDS": "1"}
    port = free_port()
    command = [sys.executable, "app.py", "--weights", "builtin", "--port", str(port)]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=-2
    )
    request.addfinalizer(process.kill)
    assert any("Page: " in line for line in process.stdout)
    address = f"http://127.0.0.1:{port}/"
    path = send_file(address, make_clip(tmp_path / "clip.mp4", 1000))
    content = {"data": [file_data(path), 0.3, 5, 120, 60, *VIDEO_DEFAULTS]}
    call = Request(
        f"{address}gradio_api/call/video",
        json.dumps(content).encode(),
        {"Content-Type": "application/json"},
    )
    with urlopen(call, timeout=60) as answer:
        assert answer.status == 200
    wait_until(lambda: paths_under(temporary, ".unfinished-*"))
    os.kill(process.pid, signal.SIGTERM)
    log = process.stdout.read()
    assert process.wait(60) == 0, log
    assert "Stopping when the running jobs have ended, in 1 s at most." in log
    assert not list(temporary.glob("aios-page-*"))
