"""The page as a whole: a title and one tab after another."""

from __future__ import annotations

from collections.abc import Callable

import gradio as gr

from ..predictor import AiOSPredictor
from ..sessions import KEPT_SECONDS, Sessions
from .about_tab import build_about_tab
from .context import PageContext, session_of
from .photo_tab import build_photo_tab

_SWEEP_SECONDS = 600
_INTRO = """# AiOS: everyone in a photo, as whole-body meshes
Drop a photo. Every person in it is found and posed at once — body, hands and face — and laid
over the picture, nearest in front."""

TABS: tuple[tuple[str, Callable[[PageContext], None]], ...] = (
    ("Photo", build_photo_tab),
    ("About", build_about_tab),
)
"""Name and builder of each tab, in the order of the page."""


def build_page(predictor: AiOSPredictor, threshold: float | None = None) -> gr.Blocks:
    """The page with its events; serves nothing yet.

    Args:
        predictor: answers for all visitors.
        threshold: lowest score of the slider at first, 0-1; None for that of the weights.
    """
    if threshold is None:
        threshold = predictor.weights.threshold
    sessions = Sessions(predictor)
    with gr.Blocks(
        title="AiOS: everyone in a photo",
        analytics_enabled=False,
        delete_cache=(_SWEEP_SECONDS, int(KEPT_SECONDS)),
    ) as page:
        gr.Markdown(_INTRO, elem_id="title")
        context = PageContext(predictor, sessions, threshold)
        with gr.Tabs(elem_id="tabs"):
            for name, build in TABS:
                with gr.Tab(name):
                    build(context)

        def leave(request: gr.Request) -> None:
            sessions.leave(session_of(request))

        page.unload(leave)
    return page
