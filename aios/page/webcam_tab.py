"""Tab Webcam: live camera frames with the meshes of everyone drawn over them."""

from __future__ import annotations

from typing import Any

import gradio as gr
import numpy as np

from ..pipelines.live import LiveFrame, LiveSettings
from .context import PageContext, photo_errors
from .widgets import camera_input, input_size_radio, live_picture, number_slider

_STREAM_QUEUE = "webcam"
_MAX_STREAMS = 2
_TURN_SECONDS = 120
"""Time after which a stream queues again, to give other visitors a turn."""
_FRAME_SECONDS = 0.1
_INSTRUCTIONS = """Click the camera to allow access, then **Record** to start and **Stop** to end.
Nothing of the stream is stored."""


def build_webcam_tab(context: PageContext) -> None:
    """Add the tab with its events."""
    with gr.Tab("Webcam"):
        # The stylesheet places the three columns: on a phone, results come before settings.
        with gr.Row(elem_classes="aios-grid"):
            with gr.Column(elem_classes="aios-choice"):
                camera = camera_input()
            with gr.Column(elem_classes="aios-results"):
                speed = gr.Markdown(_INSTRUCTIONS, elem_id="speed")
                picture = live_picture()
            with gr.Column(elem_classes="aios-settings"):
                settings = _add_settings(context)
        # While a frame is processed, newer ones replace each other; the latest is next.
        camera.stream(
            LiveHandler(context),
            [camera, *settings],
            [picture, speed],
            time_limit=_TURN_SECONDS,
            stream_every=_FRAME_SECONDS,
            concurrency_id=_STREAM_QUEUE,
            concurrency_limit=_MAX_STREAMS,
            show_progress="hidden",
            api_visibility="private",
        )


def _add_settings(context: PageContext) -> list[Any]:
    return [
        number_slider(
            0,
            1,
            context.threshold,
            0.01,
            "Confidence threshold",
            "Hide detections below this confidence.",
        ),
        input_size_radio(context.predictor, "live-input-size"),
        gr.Checkbox(True, label="Smooth motion", info="One-euro filter for each person."),
    ]


class LiveHandler:
    """Event handler for the frames of a stream."""

    def __init__(self, context: PageContext) -> None:
        """Serve all visitors of a page."""
        self._context = context

    def __call__(
        self,
        frame: np.ndarray | None,
        threshold: float,
        size: str,
        smooth: bool,
        request: gr.Request,
    ) -> tuple[np.ndarray | None, str]:
        """Return the picture and the speed as text."""
        visit = self._context.visit(request)
        if frame is None:
            visit.end_stream()
            return None, _INSTRUCTIONS
        with photo_errors():
            shown = visit.stream()(frame, LiveSettings(threshold, size, smooth))
        return shown.picture, speed_text(shown)


def speed_text(frame: LiveFrame) -> str:
    """Markdown: measured frame rate, number of people and latency."""
    people = "1 person" if frame.people == 1 else f"{frame.people} people"
    return (
        f"**{frame.frames_per_second:.1f} frames per second** · {people} · "
        f"{1000 * frame.seconds:.0f} ms latency"
    )
