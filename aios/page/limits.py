"""Request limits that protect server memory and disk.

Gradio limits the size of each uploaded file only. It limits neither the sum of an upload nor the
JSON of a call, and keeps the first part of an upload on disk when the connection breaks.
"""

from __future__ import annotations

import errno
import os
import time
from collections import deque

from starlette.formparsers import MultiPartException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..cli import StartError


def _from_environment(name: str, default: int) -> int:
    """A whole number of at least 1 from an environment variable.

    Raises:
        StartError: it is not such a number.
    """
    text = os.environ.get(name, str(default))
    if not text.isdecimal() or int(text) < 1:
        raise StartError(f"{name} is {text!r}: set it to a whole number of at least 1.")
    return int(text)


MAX_UPLOAD_FILE_MB = _from_environment("AIOS_MAX_FILE_MB", 200)
"""One file. The SMPL-X body model has 110 MB."""
MAX_UPLOAD_MB = _from_environment("AIOS_MAX_UPLOAD_MB", 600)
"""Sum of all files of one request."""
MAX_CALL_MB = 20
"""Arguments of a call; one webcam frame is the largest of them."""
MAX_WAITING = _from_environment("AIOS_MAX_WAITING", 32)
"""Events in the queue of all visitors."""
STOP_SECONDS = _from_environment("AIOS_STOP_SECONDS", 60)
"""Longest time that a server which is asked to stop waits for its running events."""
MAX_STATES = 100
"""Visitors whose widget state Gradio keeps, at a third of a megabyte each."""
MAX_OWN_UPLOADS_MB = 2000
"""Uploads from one address within `_KEPT_SECONDS`, after which they are deleted."""
MAX_UPLOADS_MB = 8000
"""Uploads from all addresses within this time."""
_KEPT_SECONDS = 3600.0
_NO_ROOM = "The server has no room for more uploads: try again later."
_MB = 1024 * 1024
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
DISK_FULL_TEXT = "The server has no free disk space: try again later."


class _TooLargeError(Exception):
    """The body of a request exceeds its limit."""


class RequestLimits:
    """ASGI middleware that answers requests above the size limit with status 413."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap `app`."""
        self._app = app
        self._uploads: deque[tuple[float, str, int]] = deque()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; refuse it as soon as its declared or received size is too large."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_upload = scope["path"].rstrip("/").endswith("/upload")
        limit_mb = MAX_UPLOAD_MB if is_upload else MAX_CALL_MB
        headers = dict(scope["headers"])
        declared = _declared_bytes(headers.get(b"content-length", b"0"))
        if declared > limit_mb * _MB:
            await refuse(send, 413, _too_large(limit_mb))
            return
        address = (scope.get("client") or ("",))[0]
        if is_upload and not self._has_room(address):
            await refuse(send, 507, _NO_ROOM)
            return
        response_started = False

        async def note_response(message: Message) -> None:
            nonlocal response_started
            response_started = True
            await send(message)

        body = _Body(receive, limit_mb * _MB, is_upload)
        try:
            await self._app(scope, body.receive, note_response)
        except _TooLargeError:
            if not response_started:
                await refuse(send, 413, _too_large(limit_mb))
        except OSError as error:
            if response_started or error.errno not in DISK_FULL:
                raise
            await refuse(send, 507, DISK_FULL_TEXT)
        finally:
            if is_upload:
                self._uploads.append((time.monotonic(), address, body.received))

    def _has_room(self, address: str) -> bool:
        oldest = time.monotonic() - _KEPT_SECONDS
        while self._uploads and self._uploads[0][0] < oldest:
            self._uploads.popleft()
        own = sum(size for _, sender, size in self._uploads if sender == address)
        total = sum(size for _, _, size in self._uploads)
        return own < MAX_OWN_UPLOADS_MB * _MB and total < MAX_UPLOADS_MB * _MB


class _Body:
    """Counts the bytes of a request body while they are received."""

    def __init__(self, receive: Receive, limit: int, is_upload: bool) -> None:
        self._receive = receive
        self._left = limit
        self.received = 0
        self._is_upload = is_upload
        self._complete = False

    async def receive(self) -> Message:
        message = await self._receive()
        if self._complete:
            return message
        if message["type"] == "http.disconnect" and self._is_upload:
            # Gradio deletes a partial upload after this exception only.
            raise MultiPartException("The upload was interrupted.")
        self.received += len(message.get("body", b""))
        self._left -= len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        if self._left < 0:
            if self._is_upload:
                raise MultiPartException(
                    f"This is over the maximum allowed size of {MAX_UPLOAD_MB} MB in all."
                )
            raise _TooLargeError
        return message


def _declared_bytes(text: bytes) -> int:
    return int(text) if text.isdigit() else 0


def _too_large(limit_mb: int) -> str:
    return f"This request is too large: send at most {limit_mb} MB."


async def refuse(send: Send, status: int, sentence: str) -> None:
    """Answer a request with an error status and one sentence; the rest of it is not read."""
    content = sentence.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(content)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
