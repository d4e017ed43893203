"""Places in the queue: one visitor's jobs and photos do not fill it for everyone."""

from __future__ import annotations

import random
from typing import Any

import gradio as gr
from gradio import route_utils

from .context import FILES_QUEUE, MODEL_QUEUE
from .jobs import LONG_QUEUE

MAX_OWN_JOBS = 2
"""Video and batch jobs that wait for one session or one address of another machine."""
MAX_JOBS = 8
"""Video and batch jobs that wait for all visitors; the rest of the queue is for photos."""
_ONE_EACH = (MODEL_QUEUE, FILES_QUEUE)
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
            own = sum(_is_same_visitor(event, body.session_hash, request) for event in waiting)
            if own >= MAX_OWN_JOBS:
                return False, _OWN.format(count=own), "queue_full"
            if len(waiting) >= MAX_JOBS:
                return False, _ALL, "queue_full"
        return await usual(body=body, request=request, username=username)

    queue.push = push  # type: ignore[method-assign]


def run_one_photo_each(page: gr.Blocks) -> None:
    """Start a photo, or the writing of its files, when none of the same visitor is running.

    Thus one visitor holds one of the places, and the results of a visitor keep their order.
    """
    queue = page._queue

    def get_events() -> tuple[list[Any], bool, str] | None:
        running = [event for events in queue.active_jobs for event in events or []]
        parts = list(queue.event_queue_per_concurrency_id.values())
        random.shuffle(parts)
        for part in parts:
            limit = part.concurrency_limit
            if limit is not None and part.current_concurrency >= limit:
                continue
            event = _first_allowed(part, running)
            if event is not None:
                part.queue.remove(event)
                return [event], False, part.concurrency_id  # no function of the page takes batches
        return None

    queue.get_events = get_events  # type: ignore[method-assign]


def _first_allowed(part: Any, running: list[Any]) -> Any:  # noqa: ANN401
    """First event of a part of the queue whose visitor holds no place of this part."""
    if part.concurrency_id not in _ONE_EACH:
        return next(iter(part.queue), None)
    busy = [event for event in running if event.concurrency_id == part.concurrency_id]
    for event in part.queue:
        if not any(_is_same_visitor(other, event.session_hash, event.request) for other in busy):
            return event
    return None


def _is_same_visitor(event: Any, session: str | None, request: Any) -> bool:  # noqa: ANN401
    if session and event.session_hash == session:
        return True
    return _address(request) is not None and _address(event.request) == _address(request)


def _address(request: Any) -> str | None:  # noqa: ANN401
    """Address of another machine; None for this one, where a reverse proxy may run."""
    client = getattr(request, "client", None)
    if client is None or client.host in ("127.0.0.1", "::1"):
        return None
    return str(client.host)
