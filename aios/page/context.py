"""What every tab is given, and what every handler needs."""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder

from ..photo import PhotoError
from ..predictor import AiOSPredictor
from ..sessions import Sessions

MODEL_QUEUE = "model"
"""Concurrency id of events that run the network on a photo: one at a time, in turn."""
FILES_QUEUE = "files"
"""Concurrency id of events that write files and keep nobody from the network."""
ASSETS = Path(__file__).resolve().parents[2] / "assets"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PageContext:
    """Everything that tabs share.

    Attributes:
        predictor: answers for all visitors; may be called from any thread.
        sessions: what is kept of each visitor's photos.
        threshold: lowest score at first, 0-1.
    """

    predictor: AiOSPredictor
    sessions: Sessions
    threshold: float

    @property
    def max_people(self) -> int:
        """The most people that the network can find."""
        return self.predictor.model.config.num_people

    def folder(self, request: gr.Request | None) -> Path:
        """Where files of this visitor go; removed when the visitor leaves."""
        return self.sessions.folder(session_of(request), Path(get_upload_folder()))


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
