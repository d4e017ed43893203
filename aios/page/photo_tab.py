"""The tab of one photo: choose it, see everyone in it, take the files away."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from ..report import people_html, summary_text
from .context import (
    ASSETS,
    FILES_QUEUE,
    MODEL_QUEUE,
    PageContext,
    errors_as_sentences,
    session_of,
)
from .endpoints import add_endpoints
from .widgets import number_slider, photo_input

_WAITING = "Waiting for a photo."
_FILES = ("Results (JSON)", "SMPL-X (NPZ)", "Meshes (GLB)", "Overlay (PNG)")


def build_photo_tab(context: PageContext) -> None:
    """Widgets and events of the tab, and the endpoints that share its inputs."""
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            inputs = _add_inputs(context)
        with gr.Column(scale=3, min_width=320):
            outputs, buttons = _add_results()
    _connect(context, inputs, outputs, buttons)
    add_endpoints(context, inputs)


def _add_inputs(context: PageContext) -> list[Any]:
    """Photo, threshold and number of people."""
    photo = photo_input()
    if examples := sorted((ASSETS / "examples").glob("*.jpg")):
        gr.Examples(
            [[str(path)] for path in examples],
            photo,
            cache_examples=False,
            label="Or try one of these",
            api_visibility="private",
        )
    lowest = number_slider(
        0,
        1,
        context.threshold,
        0.01,
        "Score threshold",
        "Show people the network is at least so sure of.",
    )
    most = number_slider(
        1,
        context.max_people,
        min(30, context.max_people),
        1,
        "Maximum people",
        "Best scores first.",
    )
    return [photo, lowest, most]


def _add_results() -> tuple[list[Any], list[Any]]:
    """Summary, before and after, depth order, table; and the download buttons."""
    summary = gr.Markdown(_WAITING, elem_id="summary")
    with gr.Tabs():
        with gr.Tab("Meshes over the photo"):
            slider = gr.ImageSlider(
                label="Photo and meshes: drag the line",
                format="jpeg",
                interactive=False,
                max_height=560,
                slider_position=12,
                elem_id="overlay",
            )
        with gr.Tab("Depth order"):
            depth = gr.Image(
                label="Near to far",
                format="jpeg",
                interactive=False,
                buttons=["download", "fullscreen"],
                elem_id="depth",
            )
    with gr.Row(elem_id="downloads"):
        buttons = [
            gr.DownloadButton(label, interactive=False, size="sm", min_width=130)
            for label in _FILES
        ]
    people = gr.HTML(padding=False, elem_id="people")
    return [summary, slider, depth, people], buttons


def _connect(
    context: PageContext, inputs: list[Any], outputs: list[Any], buttons: list[Any]
) -> None:
    """A new photo, threshold or number redraws everything; the files follow the pictures."""
    sessions = context.sessions

    def waiting() -> list[Any]:
        return [gr.DownloadButton(value=None, interactive=False) for _ in buttons]

    def nothing(reason: str) -> list[Any]:
        return [reason, None, None, "", *waiting()]

    def show(path: str | None, threshold: float, most: float, request: gr.Request) -> list[Any]:
        if path is None:
            sessions.forget(session_of(request))
            return nothing(_WAITING)
        try:
            with errors_as_sentences():
                view = sessions.view(session_of(request), Path(path), threshold, int(most))
        except gr.Error as error:
            # Not raised: beside the sentence, pictures of the photo before must not stay.
            gr.Warning(error.message, title=error.title)
            return nothing(escape(error.message))
        text = summary_text(view.prediction, threshold, view.best_score)
        pictures = [(view.photo, view.overlay), view.depth]
        return [text, *pictures, people_html(view.prediction), *waiting()]

    def write(path: str | None, threshold: float, most: float, request: gr.Request) -> list[Any]:
        if path is None or not sessions.holds(session_of(request), Path(path)):
            return waiting()
        with errors_as_sentences():
            files = sessions.write(
                session_of(request), Path(path), threshold, int(most), context.folder(request)
            )
        return [gr.DownloadButton(value=file, interactive=True) for file in files]

    shown = gr.on(
        [part.change for part in inputs],
        show,
        inputs,
        [*outputs, *buttons],
        concurrency_id=MODEL_QUEUE,
        concurrency_limit=1,
        trigger_mode="always_last",
        api_visibility="private",
        show_progress_on=outputs[:3],
    )
    shown.success(
        write,
        inputs,
        buttons,
        concurrency_id=FILES_QUEUE,
        concurrency_limit=1,
        trigger_mode="always_last",
        show_progress="hidden",
        api_visibility="private",
    )
