"""The page: title, tabs and clean-up when a visitor leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder

from ..predictor import AiOSPredictor
from .about_tab import build_about_tab
from .arguments import answer_in_sentences, check_arguments
from .attention_tab import build_attention_tab
from .batch_tab import build_batch_tab
from .context import PageContext, session_name
from .model_summary import accuracy_note
from .page_state import forget_state
from .photo_tab import build_photo_tab
from .sessions import EXPIRY_SECONDS, Sessions, sweep_regularly
from .video_tab import build_video_tab
from .webcam_tab import build_webcam_tab

SWEEP_SECONDS = 60
_TITLE = "AiOS: whole-body 3D meshes"
_INTRO = """# Whole-body 3D meshes of everyone in a photo
Recovers a 3D body mesh, with hands and face, for everyone in it."""
_PRIVACY = """Photos stay on the server of this page and are visible to you only. Uploads and
results are deleted when you close the page, or within an hour."""

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
    """Build the page with its events, without serving it.

    Args:
        predictor: shared by all visitors.
        threshold: initial confidence threshold, 0-1; None for that of the weights.
    """
    if threshold is None:
        threshold = predictor.weights.threshold
    folder = Path(get_upload_folder())
    folder.mkdir(parents=True, exist_ok=True)
    sessions = Sessions(predictor, folder)
    sweep_regularly(sessions, SWEEP_SECONDS)
    with gr.Blocks(
        title=_TITLE,
        analytics_enabled=False,
        # Sweeps reset the age of files in use, so a file must live longer than one interval.
        delete_cache=(SWEEP_SECONDS, int(EXPIRY_SECONDS) - SWEEP_SECONDS),
    ) as page:
        gr.Markdown(f"{_INTRO} {accuracy_note(predictor.weights)}", elem_id="title")
        context = PageContext(page, predictor, sessions, threshold, gr.State(None), gr.State(None))
        with gr.Tabs(elem_id="tabs", overflow_behavior="wrap"):
            for build in TABS:
                build(context)
        gr.Markdown(_PRIVACY, elem_id="privacy")

        def leave(request: gr.Request) -> None:
            session = session_name(request)

            def delete(uploads: list[Path]) -> None:
                for path in uploads:
                    if str(path) in page.upload_file_set:
                        page.upload_file_set.discard(str(path))
                        path.unlink(missing_ok=True)
                forget_state(page, session)

            sessions.leave_later(session, delete)

        page.unload(leave)
    check_arguments(page)
    answer_in_sentences(page)
    page.sessions = sessions  # `server.launch` needs them
    return page
