"""The page as a whole: a title and one tab after another."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable

import gradio as gr

from ..predictor import AiOSPredictor
from .about_tab import build_about_tab
from .attention_tab import build_attention_tab
from .batch_tab import build_batch_tab
from .context import PageContext, session_of
from .model_summary import accuracy_note
from .photo_tab import build_photo_tab
from .sessions import KEPT_SECONDS, Sessions
from .video_tab import build_video_tab
from .webcam_tab import build_webcam_tab

_SWEEP_SECONDS = 60
_INTRO = """# AiOS: everyone in a photo, as whole-body meshes
Drop a photo. Every person in it is found and posed at once, with hands and face, and laid over the
picture, nearest in front."""
_PRIVACY = """Photos stay on the machine that serves this page and are shown to nobody else. They
and all that is made of them go when you close the page, at the latest after an hour."""

TABS: tuple[Callable[[PageContext], None], ...] = (
    build_photo_tab,
    build_attention_tab,
    build_webcam_tab,
    build_video_tab,
    build_batch_tab,
    build_about_tab,
)
"""Builders of the tabs, in the order of the page."""


def build_page(predictor: AiOSPredictor, threshold: float | None = None) -> gr.Blocks:
    """The page with its events; serves nothing yet.

    Args:
        predictor: answers for all visitors.
        threshold: lowest score of the slider at first, 0-1; None for that of the weights.
    """
    if threshold is None:
        threshold = predictor.weights.threshold
    sessions = Sessions(predictor)
    sweep_regularly(sessions, _SWEEP_SECONDS)
    with gr.Blocks(
        title="AiOS: everyone in a photo",
        analytics_enabled=False,
        delete_cache=(_SWEEP_SECONDS, int(KEPT_SECONDS) - _SWEEP_SECONDS),
    ) as page:
        gr.Markdown(f"{_INTRO} {accuracy_note(predictor.weights)}", elem_id="title")
        context = PageContext(predictor, sessions, threshold, gr.State(None), gr.State(None))
        with gr.Tabs(elem_id="tabs", overflow_behavior="wrap"):
            for build in TABS:
                build(context)
        gr.Markdown(_PRIVACY, elem_id="privacy")

        def leave(request: gr.Request) -> None:
            kept = _kept_for_all(page)
            for path in sessions.leave(session_of(request)):
                if str(path) in page.upload_file_set and str(path) not in kept:
                    path.unlink(missing_ok=True)

        page.unload(leave)
    return page


def sweep_regularly(sessions: Sessions, seconds: float) -> None:
    """Drop what is old in `sessions` as long as they exist, also when nobody asks any more."""
    known = weakref.ref(sessions)

    def work() -> None:
        while (found := known()) is not None:
            found.sweep()
            del found
            time.sleep(seconds)

    threading.Thread(target=work, name="aios-sweep", daemon=True).start()


def _kept_for_all(page: gr.Blocks) -> set[str]:
    """Files that the page itself shows.

    Files are stored by content and name: an example that a visitor has sent is the same file.
    """
    blocks = page.blocks.values()
    return {path for block in blocks for path in getattr(block, "keep_in_cache", ())}
