"""The live tab: a camera in, the same picture with everyone's meshes out."""

from __future__ import annotations

from typing import Any

import gradio as gr
import numpy as np

from ..pipelines.live import LiveFrame, LiveSettings, LiveStream
from .context import PageContext, errors_as_sentences
from .photo_tab import size_choices
from .widgets import number_slider

_STREAM_QUEUE = "webcam"
_STREAMS_AT_ONCE = 2
_TURN_SECONDS = 120
"""After so long a stream queues again, so that nobody keeps others from their turn."""
_EVERY_SECONDS = 0.1
_IDLE = """Click the camera, then **Record** to start and **Stop** to end. Nothing is kept of a
stream."""
_CAMERA = {"video": {"width": {"ideal": 640}, "height": {"ideal": 480}}}


def build_webcam_tab(context: PageContext) -> None:
    """Widgets and events of the tab."""
    with gr.Tab("Webcam"):
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                camera = gr.Image(
                    label="Camera",
                    sources=["webcam"],
                    type="numpy",
                    streaming=True,
                    webcam_options=gr.WebcamOptions(mirror=False, constraints=_CAMERA),
                    height=300,
                    buttons=[],
                    elem_id="camera",
                )
                about = "Show people the network is at least so sure of."
                threshold = number_slider(0, 1, context.threshold, 0.01, "Live score", about)
                size = gr.Radio(size_choices(context), value="full", label="Live input size")
                smooth = gr.Checkbox(
                    True, label="Smooth", info="Steady motion: a one-euro filter for each person."
                )
            with gr.Column(scale=3, min_width=320):
                speed = gr.Markdown(_IDLE, elem_id="speed")
                picture = gr.Image(
                    label="Everyone in the picture",
                    streaming=True,
                    interactive=False,
                    format="jpeg",
                    buttons=["fullscreen"],
                    elem_id="live",
                    elem_classes="aios-picture",
                )
        stream = gr.State(None, time_to_live=_TURN_SECONDS)
        # While a frame is worked on, newer ones replace each other: the latest is next.
        camera.stream(
            LiveHandler(context),
            [camera, stream, threshold, size, smooth],
            [picture, speed, stream],
            time_limit=_TURN_SECONDS,
            stream_every=_EVERY_SECONDS,
            concurrency_id=_STREAM_QUEUE,
            concurrency_limit=_STREAMS_AT_ONCE,
            show_progress="hidden",
            api_visibility="private",
        )


class LiveHandler:
    """Answers one frame after another."""

    def __init__(self, context: PageContext) -> None:
        """Serve all visitors with the predictor of `context`."""
        self._context = context

    def __call__(
        self,
        frame: np.ndarray | None,
        stream: LiveStream | None,
        threshold: float,
        size: str,
        smooth: bool,
        request: gr.Request,
    ) -> tuple[Any, str, LiveStream | None]:
        """The picture, the speed in words, and the visitor's stream for the next frame."""
        if frame is None:
            return None, _IDLE, None
        stream = stream or LiveStream(self._context.predictor_of(request))
        with errors_as_sentences():
            shown = stream(frame, LiveSettings(threshold, size, smooth))
        return shown.picture, speed_text(shown), stream


def speed_text(frame: LiveFrame) -> str:
    """Measured speed, in words."""
    people = "1 person" if frame.people == 1 else f"{frame.people} people"
    return (
        f"**{frame.frames_per_second:.1f} frames a second** · {people} · "
        f"{1000 * frame.seconds:.0f} ms for this one"
    )
