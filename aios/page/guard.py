"""Requests that are answered: hosts, routes and wrong passwords.

Browsers send the name that a visitor typed as `Host`. A foreign name means that another web page
had its own name resolved to this machine (DNS rebinding) and would read the answers.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
import secrets
import socket
import time
from collections import deque
from collections.abc import Iterable
from contextlib import nullcontext
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .limits import refuse
from .sessions import Sessions

_LOCAL_NAMES = frozenset(("localhost", "127.0.0.1", "::1"))
_ANY_ADDRESS = ("0.0.0.0", "::", "")
SHARE_DOMAIN = "*.gradio.live"
"""Host names of public links."""
_SPACE_DOMAINS = ("*.hf.space", "huggingface.co")
# Routes of Gradio that this page does not use. Some run programs on uploads or write files.
_CLOSED = ("/process_recording", "/deep_link", "/proxy=", "/vibe-", "/undo-vibe-", "/run-history/")
_API, _CLOSED_PAGES = "/gradio_api", ("/monitoring", "/gradio_api/monitoring")
_MCP = "/gradio_api/mcp"

WRONG_PASSWORDS = 5
"""Wrong passwords a minute from one address; from all addresses together, ten times as many."""
_WINDOW_SECONDS = 60.0
_TOO_OFTEN = "Too many wrong passwords: wait a minute, then try again."


def allowed_hosts(host: str, more: Iterable[str] = ()) -> tuple[frozenset[str], bool]:
    """Names under which the page is served, and whether every numeric address is one, too.

    Args:
        host: that the server listens on.
        more: further names; `*.example.org` stands for all names below `example.org`, `*` for all.
    """
    names = {name.lower().rstrip(".") for name in more}
    if os.environ.get("SPACE_ID"):
        names.update(_SPACE_DOMAINS)
    if host in _ANY_ADDRESS:
        machine = socket.gethostname().lower()
        return frozenset({*names, *_LOCAL_NAMES, machine, f"{machine}.local"}), True
    return frozenset({*names, *_LOCAL_NAMES, host.lower()}), False


class AllowedHosts:
    """ASGI middleware that refuses requests with another `Host` or `Origin`, and unused routes."""

    def __init__(self, app: ASGIApp, names: frozenset[str], any_address: bool) -> None:
        """Wrap `app`; for the arguments see `allowed_hosts`."""
        self._app, self._names, self._any_address = app, names, any_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request of an allowed host, or answer with status 403 or 404."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        host = _host_name(headers.get(b"host", b"").decode("latin-1"))
        origin = headers.get(b"origin", b"").decode("latin-1")
        for name in (host, _host_name(urlsplit(origin).netloc) if origin else host):
            if not self._is_allowed(name):
                sentence = (
                    f"This page is not served under the name {name[:100]!r}: start the program"
                    " with --allowed-host NAME to allow a name."
                )
                await refuse(send, 403, sentence)
                return
        if _is_closed(scope["path"]):
            await refuse(send, 404, "Not found.")
            return
        await self._app(scope, receive, send)

    def _is_allowed(self, name: str) -> bool:
        if name in self._names or "*" in self._names:
            return True
        if any(f"*{name[at:]}" in self._names for at, sign in enumerate(name) if sign == "."):
            return True
        return self._any_address and _is_address(name)


class Heartbeats:
    """ASGI middleware that counts the connections that open pages keep."""

    def __init__(self, app: ASGIApp, sessions: Sessions) -> None:
        """Wrap `app`; connections are counted by `sessions`."""
        self._app, self._sessions = app, sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass every request on."""
        _, found, session = scope.get("path", "").partition("/heartbeat/")
        with self._sessions.connected(session) if found else nullcontext():
            await self._app(scope, receive, send)


class LoginPace:
    """ASGI middleware that limits wrong passwords and, with a password, protects MCP.

    Gradio's login takes any number of attempts, and its MCP server takes calls without one.
    """

    def __init__(self, app: ASGIApp, auth: tuple[str, str] | None) -> None:
        """Wrap `app`, which requires the user name and password `auth` unless it is None."""
        self._app, self._auth = app, auth
        self._wrong: deque[tuple[float, str]] = deque()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request, or answer with status 401 or 429."""
        path = scope.get("path", "").rstrip("/")
        is_login = path == "/login" and scope.get("method") == "POST"
        is_mcp = path == _MCP or path.startswith(f"{_MCP}/")
        if self._auth is None or scope["type"] != "http" or not (is_login or is_mcp):
            await self._app(scope, receive, send)
            return
        address = (scope.get("client") or ("",))[0]
        if self._is_too_often(address):
            await refuse(send, 429, _TOO_OFTEN)
            return
        if is_mcp:
            if not _has_password(scope, self._auth):
                self._count(address)
                await refuse(send, 401, "Send the user name and password by HTTP Basic login.")
                return
            await self._app(scope, receive, send)
            return
        # Counted before the answer, so that simultaneous attempts count, too.
        attempt = self._count(address)

        async def note_status(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] != 400:
                self._forget(attempt)
            await send(message)

        await self._app(scope, receive, note_status)

    def _count(self, address: str) -> tuple[float, str]:
        attempt = (time.monotonic(), address)
        self._wrong.append(attempt)
        return attempt

    def _forget(self, attempt: tuple[float, str]) -> None:
        if attempt in self._wrong:
            self._wrong.remove(attempt)

    def _is_too_often(self, address: str) -> bool:
        oldest = time.monotonic() - _WINDOW_SECONDS
        while self._wrong and self._wrong[0][0] < oldest:
            self._wrong.popleft()
        own = sum(other == address for _, other in self._wrong)
        return own >= WRONG_PASSWORDS or len(self._wrong) >= 10 * WRONG_PASSWORDS


def _has_password(scope: Scope, auth: tuple[str, str]) -> bool:
    kind, _, encoded = dict(scope["headers"]).get(b"authorization", b"").partition(b" ")
    try:
        given = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return False
    return kind.lower() == b"basic" and secrets.compare_digest(given, ":".join(auth).encode())


def _host_name(netloc: str) -> str:
    """Name or address without port, brackets and final dot, in lower case."""
    try:
        return (urlsplit(f"//{netloc}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_closed(path: str) -> bool:
    if path.startswith(_CLOSED_PAGES):
        return True
    return path.removeprefix(_API).startswith(_CLOSED)
