"""A visitor's own SMPL-X body: for this visitor alone, in memory, until the page is closed."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import gradio as gr

from ..body.model import BodyModel, BodyModelError
from .context import PageContext, session_of
from .private_body import take_body

MOST_BODIES = 4
"""So many different ones at once; the same file sent by several visitors is one body."""

_ABOUT = """Send `SMPLX_NEUTRAL.npz` as you got it from https://smpl-x.is.tue.mpg.de. It is
read into memory and the file removed at once; nobody else is shown it, and it is forgotten when you
close the page."""
_TAKEN = "**{name}** is your body now: choose a photo, or move a slider, to see it."
_GONE = "The body of this page is used again."
_FULL = "Too many visitors use bodies of their own just now: try again later."


def add_body_upload(context: PageContext) -> None:
    """Widgets and events, at this place of the page."""
    with gr.Accordion("Use your own SMPL-X file", open=False, elem_id="own-body"):
        gr.Markdown(_ABOUT)
        file = gr.File(
            label="SMPL-X file",
            file_types=[".npz"],
            type="filepath",
            height=120,
            elem_id="body-input",
        )
        back = gr.Button("Stop using it", size="sm", elem_id="body-back")
        text = gr.Markdown(elem_id="body-text")
    handler = BodyHandler(context)
    # Not queued: a file that waits for its turn would lie about.
    file.upload(handler.take, file, [file, text], queue=False, api_visibility="private")
    back.click(handler.drop, None, text, queue=False, api_visibility="private")


class BodyHandler:
    """Takes bodies from visitors."""

    def __init__(self, context: PageContext) -> None:
        """Hand them to `context.sessions`."""
        self._sessions = context.sessions
        self._bodies: WeakValueDictionary[str, BodyModel] = WeakValueDictionary()
        self._lock = threading.Lock()

    def take(self, path: str | None, request: gr.Request) -> tuple[Any, str]:
        """Use a file from now on; an empty widget, and what to say."""
        if path is None:
            return None, ""
        try:
            body = self._read(Path(path))
        except BodyModelError as error:
            gr.Warning(str(error))
            return None, str(error)
        self._sessions.use_body(session_of(request), body)
        return None, _TAKEN.format(name=body.name)

    def drop(self, request: gr.Request) -> str:
        """Go back to the body of the page."""
        self._sessions.use_body(session_of(request), None)
        return _GONE

    def _read(self, path: Path) -> BodyModel:
        # One after another: a body takes hundreds of megabytes while it is read.
        with self._lock:
            try:
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                known = self._bodies.get(digest)
                if known is not None:
                    return known
                if len(self._bodies) >= MOST_BODIES:
                    raise BodyModelError(_FULL)
                body = take_body(path)
                self._bodies[digest] = body
                return body
            finally:
                path.unlink(missing_ok=True)
