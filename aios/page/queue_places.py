"""Places in the queue: one visitor's jobs do not fill it for everyone."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio import route_utils

from .jobs import LONG_QUEUE

MAX_OWN_JOBS = 2
"""Video and batch jobs that wait for one session or one address of another machine."""
MAX_JOBS = 8
"""Video and batch jobs that wait for all visitors; the rest of the queue is for photos."""
_OWN = "You already have {count} videos or batches waiting: wait for one of them."
_ALL = "Too many videos and batches are waiting: try again later."


def limit_waiting_jobs(page: gr.Blocks) -> None:
    """Refuse a video or batch job if enough of them wait already."""
    queue = page._queue  # Gradio has no public accessor
    usual = queue.push

    async def push(body: Any, request: Any, username: str | None) -> Any:  # noqa: ANN401
        fn = route_utils.get_fn(page, None, body)
        if fn.concurrency_id == LONG_QUEUE:
            waiting = [
                event
                for part in queue.event_queue_per_concurrency_id.values()
                for event in part.queue
                if event.concurrency_id == LONG_QUEUE
            ]
            own = sum(_is_same_visitor(event, body, request) for event in waiting)
            if own >= MAX_OWN_JOBS:
                return False, _OWN.format(count=own), "queue_full"
            if len(waiting) >= MAX_JOBS:
                return False, _ALL, "queue_full"
        return await usual(body=body, request=request, username=username)

    queue.push = push  # type: ignore[method-assign]


def _is_same_visitor(event: Any, body: Any, request: Any) -> bool:  # noqa: ANN401
    if body.session_hash and event.session_hash == body.session_hash:
        return True
    return _address(request) is not None and _address(event.request) == _address(request)


def _address(request: Any) -> str | None:  # noqa: ANN401
    """Address of another machine; None for this one, where a reverse proxy may run."""
    client = getattr(request, "client", None)
    if client is None or client.host in ("127.0.0.1", "::1"):
        return None
    return str(client.host)
