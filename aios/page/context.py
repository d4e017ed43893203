"""What every tab is given, and what every handler needs."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import gradio as gr
import numpy as np
from gradio.utils import get_upload_folder

from ..media.photo import PhotoError
from ..predictor import AiOSPredictor
from .sessions import Sessions

MODEL_QUEUE = "model"
"""Concurrency id of events that run the network on a photo: one at a time, in turn."""
VIEWS_QUEUE = "views"
"""Concurrency id of events that draw what the network has said already: one after another, or an
older picture could come last."""
FILES_QUEUE = "files"
"""Concurrency id of events that write files and keep nobody from the network."""

_JPEG_QUALITY = 90
_OLDER_FILES = 3
"""The browser may still be fetching the files before."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PageContext:
    """Everything that tabs share.

    Attributes:
        predictor: answers for all visitors; may be called from any thread.
        sessions: what is kept of each visitor's photos.
        threshold: lowest score at first, 0-1.
        asked: server-side state of each visitor, the `Choice` looked at in tab Photo, or None.
        person: server-side state of each visitor, index of the person singled out, or None.
    """

    predictor: AiOSPredictor
    sessions: Sessions
    threshold: float
    asked: gr.State
    person: gr.State

    @property
    def max_people(self) -> int:
        """The most people that the network can find."""
        return self.predictor.model.config.num_people

    def predictor_of(self, request: gr.Request | None) -> AiOSPredictor:
        """What answers this visitor, who may have brought a body of their own."""
        return self.sessions.predictor_of(session_of(request))

    def folder(self, request: gr.Request | None) -> Path:
        """Where files of this visitor go; removed when the visitor leaves."""
        return self.sessions.folder(session_of(request), Path(get_upload_folder()))

    def save(self, request: gr.Request | None, name: str, content: bytes | np.ndarray) -> str:
        """Write a file for this visitor to see, in place of older ones of this name.

        Args:
            request: of the visitor.
            name: of the file, by its suffix `.jpg` or `.png` for a picture.
            content: bytes, or a picture (h, w, 3) uint8 RGB.

        Returns:
            Its path, never the same twice: browsers would show the older file.
        """
        if isinstance(content, np.ndarray):
            picture = cv2.cvtColor(content, cv2.COLOR_RGB2BGR)
            quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if name.endswith("jpg") else []
            content = cv2.imencode(Path(name).suffix, picture, quality)[1].tobytes()
        folder = self.folder(request)
        older = sorted(folder.glob(f"*/{name}"), key=lambda path: path.stat().st_mtime_ns)
        for path in older[: -_OLDER_FILES or None]:
            path.unlink(missing_ok=True)
        path = Path(tempfile.mkdtemp(dir=folder)) / name
        path.write_bytes(content)
        return str(path)


def session_of(request: gr.Request | None) -> str:
    """Who asks; a visitor without a name shares with nobody."""
    return (request and request.session_hash) or uuid.uuid4().hex


@contextlib.contextmanager
def errors_as_sentences() -> Iterator[None]:
    """Whatever goes wrong with a photo becomes a sentence on the page."""
    try:
        yield
    except PhotoError as error:
        raise gr.Error(str(error), title="Not a usable photo", print_exception=False) from error
    except (MemoryError, OSError, RuntimeError, ValueError) as error:
        _log.exception("A photo failed")
        raise gr.Error(
            "This photo could not be worked on; try a smaller one.", print_exception=False
        ) from error
