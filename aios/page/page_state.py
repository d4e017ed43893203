"""What Gradio keeps of each visitor: widget values, and uploads in folders of their own."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio import route_utils
from gradio.state_holder import StateHolder


class OpenPagesFirst(StateHolder):
    """Widget values of the latest sessions; those of open pages are kept before all others.

    Every call of the API creates a session, and Gradio drops the oldest ones above a capacity.
    """

    def __init__(self, is_open: Callable[[str], bool]) -> None:
        """Start empty; `is_open` tells whether the page of a session is open."""
        super().__init__()
        self._is_open = is_open

    def update(self, session_id: str) -> None:
        """Note the use of a session, and drop the oldest closed one above the capacity."""
        with self.lock:
            if session_id in self.session_data:
                self.session_data.move_to_end(session_id)
            if len(self.session_data) <= self.capacity:
                return
            others = [name for name in self.session_data if name != session_id]
            closed = (name for name in others if not self._is_open(name))
            oldest = next(closed, others[0])
            del self.session_data[oldest]
            self.time_last_used.pop(oldest, None)


def forget_state(page: gr.Blocks, session: str) -> None:
    """Drop the widget values of a session."""
    holder = getattr(page, "state_holder", None)
    if holder is not None:
        with holder.lock:
            holder.session_data.pop(session, None)
            holder.time_last_used.pop(session, None)


class _OwnUpload(route_utils.GradioUploadFile):
    """Upload whose folder is named at random.

    Gradio names folders by content: equal files of two visitors would be one file.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **options)
        self.sha.update(secrets.token_bytes(32))


def own_folders() -> None:
    """Make Gradio store each upload in a folder whose name only its sender knows."""
    route_utils.GradioUploadFile = _OwnUpload  # type: ignore[misc]
