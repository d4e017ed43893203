"""State shared by all tabs, and error handling for all event handlers."""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import gradio as gr

from ..media.photo import PhotoError
from ..predictor import AiOSPredictor
from .limits import DISK_FULL, DISK_FULL_TEXT
from .sessions import Sessions
from .visit import Visit, VisitEndedError

MODEL_QUEUE = "model"
"""Concurrency id of events that run the network on a photo, `PHOTOS_AT_ONCE` of them, one for each
visitor."""
PHOTOS_AT_ONCE = 3
"""A photo that takes long to decode does not keep others waiting; the network runs for one."""
VIEWS_QUEUE = "views"
"""Concurrency id of events that draw cached results, one at a time: in parallel, an older picture
could arrive last."""
FILES_QUEUE = "files"
"""Concurrency id of events that write files without the network, one for each visitor."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PageContext:
    """Objects that every tab receives.

    Attributes:
        page: being built; serves later.
        predictor: shared by all visitors; safe to call from any thread.
        sessions: files and cached results of each visitor.
        threshold: initial confidence threshold, 0-1.
        query: server-side state per visitor, the `PhotoQuery` shown in tab Photo, or None.
        person: server-side state per visitor, index of the selected person, or None.
    """

    page: gr.Blocks
    predictor: AiOSPredictor
    sessions: Sessions
    threshold: float
    query: gr.State
    person: gr.State

    @property
    def max_people(self) -> int:
        """Largest number of people that the network can find."""
        return self.predictor.model.config.num_people

    def visit(self, request: gr.Request | None) -> Visit:
        """Return the visit of a request. Handlers call this once, at their start."""
        return self.sessions.visit(session_name(request))


def session_name(request: gr.Request | None) -> str:
    """Return the session of a request; a new random name if the request has none."""
    return (request and request.session_hash) or uuid.uuid4().hex


@contextlib.contextmanager
def photo_errors() -> Iterator[None]:
    """Convert exceptions of photo processing to `gr.Error` with one sentence."""
    try:
        yield
    except PhotoError as error:
        raise gr.Error(str(error), title="Not a usable photo", print_exception=False) from error
    except VisitEndedError as error:
        raise gr.Error(str(error), print_exception=False) from error
    except (MemoryError, OSError, RuntimeError, ValueError) as error:
        if getattr(error, "errno", None) in DISK_FULL:
            raise gr.Error(DISK_FULL_TEXT, print_exception=False) from error
        _log.exception("A photo failed")
        raise gr.Error(
            "This photo could not be processed; try a smaller one.", print_exception=False
        ) from error
