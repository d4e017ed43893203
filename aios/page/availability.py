"""Health of the server for load balancers, and a stop that lets running events end."""

from __future__ import annotations

import threading
import time

import gradio as gr
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

HEALTH_PATH = "/health"
_SECONDS_BETWEEN_CHECKS = 0.1
_STOPPING = "This server is stopping: try again in a moment."


class Availability:
    """Whether a server takes new work."""

    def __init__(self) -> None:
        """Take work."""
        self._stopping = threading.Event()

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    def stop(self, page: gr.Blocks, seconds: float) -> bool:
        """Refuse new work and wait for the events that are running, not for waiting ones.

        Args:
            page: that is served.
            seconds: to wait at most.

        Returns:
            Whether all running events have ended.
        """
        self._stopping.set()
        jobs = page._queue.active_jobs
        running = [job for job in jobs if job is not None]
        end = time.monotonic() + seconds
        while still_running := any(job is other for job in running for other in jobs):
            if time.monotonic() >= end:
                break
            time.sleep(_SECONDS_BETWEEN_CHECKS)
        return not still_running


class HealthCheck:
    """ASGI middleware: answers `/health`, and refuses new work while the server stops."""

    def __init__(self, app: ASGIApp, availability: Availability) -> None:
        """Wrap `app`."""
        self._app = app
        self._availability = availability

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with 200, or with 503 while the server stops; pass other requests on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        stopping = self._availability.is_stopping
        if scope["path"] == HEALTH_PATH:
            answer = PlainTextResponse("stopping", 503) if stopping else PlainTextResponse("ok")
            await answer(scope, receive, send)
        elif stopping and scope["method"] == "POST":
            headers = {"retry-after": "5", "connection": "close"}
            await PlainTextResponse(_STOPPING, 503, headers)(scope, receive, send)
        else:
            await self._app(scope, receive, send)
