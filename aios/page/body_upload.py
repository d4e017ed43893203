"""Upload of an SMPL-X body model, used for one visitor and kept in memory only."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import gradio as gr

from ..body.model import BodyModel, BodyModelError
from .context import PageContext
from .private_body import read_uploaded_body

MAX_BODIES = 4
"""Different uploaded bodies in memory; equal files of several visitors count once."""

_ABOUT = """Upload `SMPLX_NEUTRAL.npz` from https://smpl-x.is.tue.mpg.de. The file is read into
memory and deleted at once. Only you use it, and it is dropped when you close the page."""
_IN_USE = "**{name}** is now in use: choose a photo or change a setting to see it."
_DEFAULT = "Switched back to the default body."
_FULL = "Too many visitors use their own body at the moment: try again later."


def add_body_upload(context: PageContext) -> None:
    """Add the accordion with its events."""
    with gr.Accordion("Use your own SMPL-X file", open=False, elem_id="own-body"):
        gr.Markdown(_ABOUT)
        file = gr.File(
            label="SMPL-X file",
            file_types=[".npz"],
            type="filepath",
            height=120,
            elem_id="body-input",
        )
        back = gr.Button("Use the default body", size="sm", elem_id="body-back")
        text = gr.Markdown(elem_id="body-text")
    handler = BodyHandler(context)
    # Not queued, because the file must not stay on disk while it waits.
    file.upload(handler.upload, file, [file, text], queue=False, api_visibility="private")
    back.click(handler.reset, None, text, queue=False, api_visibility="private")


class BodyHandler:
    """Event handlers of the body upload."""

    def __init__(self, context: PageContext) -> None:
        """Serve all visitors of a page."""
        self._context = context
        self._bodies: WeakValueDictionary[str, BodyModel] = WeakValueDictionary()
        self._lock = threading.Lock()

    def upload(self, path: str | None, request: gr.Request) -> tuple[Any, str]:
        """Use a body model from now on; return an empty upload widget and a message."""
        if path is None:
            return None, ""
        try:
            body = self._read(Path(path))
        except BodyModelError as error:
            gr.Warning(str(error))
            return None, str(error)
        self._context.visit(request).use_body(body)
        return None, _IN_USE.format(name=body.name)

    def reset(self, request: gr.Request) -> str:
        """Switch back to the body of the page; return a message."""
        self._context.visit(request).use_body(None)
        return _DEFAULT

    def _read(self, path: Path) -> BodyModel:
        # One at a time, because reading a body takes hundreds of megabytes.
        with self._lock:
            try:
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                known = self._bodies.get(digest)
                if known is not None:
                    return known
                if len(self._bodies) >= MAX_BODIES:
                    raise BodyModelError(_FULL)
                body = read_uploaded_body(path)
                self._bodies[digest] = body
                return body
            finally:
                path.unlink(missing_ok=True)
