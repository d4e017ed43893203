"""No request may fill the memory or the disk of the server.

Gradio limits each file of an upload, and nothing else: not their sum, not the JSON of a call, and
it leaves the beginning of an upload on the disk when the sender goes away.
"""

from __future__ import annotations

from starlette.formparsers import MultiPartException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_UPLOAD_MB = 600
"""All files of one request together."""
MAX_CALL_MB = 20
"""Arguments of a call; a frame of a webcam is among them."""
_MB = 1024 * 1024


class _TooLargeError(Exception):
    """More bytes came than may come."""


class RequestLimits:
    """ASGI middleware that cuts off requests that are too large, in one sentence."""

    def __init__(self, app: ASGIApp) -> None:
        """Guard `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, unless or until it is too large."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_upload = scope["path"].rstrip("/").endswith("/upload")
        limit_mb = MAX_UPLOAD_MB if is_upload else MAX_CALL_MB
        headers = dict(scope["headers"])
        if _declared_bytes(headers.get(b"content-length", b"0")) > limit_mb * _MB:
            await _refuse(send, limit_mb)
            return
        answered = False

        async def note_answer(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        body = _Body(receive, limit_mb * _MB, is_upload)
        try:
            await self._app(scope, body.receive, note_answer)
        except _TooLargeError:
            if not answered:
                await _refuse(send, limit_mb)


class _Body:
    """The body of a request, counted as it comes."""

    def __init__(self, receive: Receive, limit: int, is_upload: bool) -> None:
        self._receive = receive
        self._left = limit
        self._is_upload = is_upload
        self._complete = False

    async def receive(self) -> Message:
        message = await self._receive()
        if self._complete:
            return message
        if message["type"] == "http.disconnect" and self._is_upload:
            # The one kind of error after which Gradio removes what it has written so far.
            raise MultiPartException("The upload broke off.")
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


async def _refuse(send: Send, limit_mb: int) -> None:
    sentence = f"This request is too large: send at most {limit_mb} MB.".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(sentence)).encode()),
        # What else was sent is not read.
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": sentence})
