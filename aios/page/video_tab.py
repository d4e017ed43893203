"""Layout of the tab Video: tracked people, drawn over the video and as motion files."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ..media.container import VIDEO_SUFFIXES
from .api_video import add_video_endpoint
from .context import FILES_QUEUE, PHOTOS_AT_ONCE, PageContext
from .export_options import motion_options, refine_checkbox, still_camera_radio
from .jobs import connect_job
from .links import connect_settings
from .video_handlers import VideoHandler
from .video_preview import add_video_examples, preview_html
from .widgets import number_field, number_slider

_INSTRUCTIONS = "Choose a video, then click **Process video**."
_LATEST_START_S = 86_400
_SHOWN_SECOND = """(start) => {
  const video = document.querySelector("#video-preview video");
  return video ? Math.round(video.currentTime * 100) / 100 : start;
}"""
_SHOW_SECOND = """(start) => {
  const video = document.querySelector("#video-preview video");
  if (video && Number.isFinite(start) && Math.abs(video.currentTime - start) > 0.01) {
    video.currentTime = start;
  }
}"""
_LINK_NAMES = "video_threshold video_people rate smooth video_refine ground bones still".split()
"""Names of the settings in links."""
_FILES_NOTE = """NPZ: all frames and people, with SMPL-X parameter names; `_smplx.npz`: one person
for SMPL-X tools. BVH and GLB: the motion of each person on the SMPL-X skeleton, for Blender. All
are in metres and camera space, not in world space: positions are relative to the camera of each
frame, and if it moves, people move, too. In BVH and GLB, y is up and the camera is at the origin,
unless **On the ground** is on. Then the floor of a still camera is horizontal."""


def build_video_tab(context: PageContext) -> None:
    """Add the tab with its events, and the endpoint."""
    with gr.Tab("Video"):
        # The stylesheet places the three columns: on a phone, results come before settings.
        with gr.Row(elem_classes="aios-grid"):
            with gr.Column(elem_classes="aios-choice"):
                video, part = _add_video()
                with gr.Row():
                    start = gr.Button(
                        "Process video", variant="primary", elem_id="video-start", min_width=100
                    )
                    stop = gr.Button("Stop", elem_id="video-stop", min_width=100)
            with gr.Column(elem_classes="aios-results"):
                outputs = _add_results()
            with gr.Column(elem_classes="aios-settings"):
                settings = _add_settings(context)
        handler = VideoHandler(context)
        start_second, duration = part
        inputs = [video, *settings[:2], duration, *settings[2:-1], start_second, settings[-1]]
        connect_settings(context.page, dict(zip(_LINK_NAMES, settings, strict=True)))
        connect_job(handler, start, stop, inputs, outputs, show_progress_on=outputs[1])
        add_video_endpoint(context, handler, inputs)


def _add_results() -> list[Any]:
    """Add status, overlay, 3D view, table of people and files."""
    status = gr.Markdown(_INSTRUCTIONS, elem_id="video-status")
    overlay = gr.Video(
        label="Video with meshes", interactive=False, buttons=["download"], elem_id="video-overlay"
    )
    scene = gr.HTML(padding=False, elem_id="video-scene")
    people = gr.HTML(padding=False, elem_id="video-people")
    files = gr.File(label="Files", file_count="multiple", interactive=False, elem_id="video-files")
    gr.Markdown(_FILES_NOTE)
    return [status, overlay, scene, people, files]


def _add_video() -> tuple[gr.File, list[Any]]:
    """Add file input, preview, example, and the part to process: start and maximum duration."""
    video = gr.File(
        label="Video or animated GIF",
        file_types=sorted(VIDEO_SUFFIXES),
        type="filepath",
        height=160,
        elem_id="video-input",
    )
    preview = gr.HTML(padding=False, elem_id="video-preview")
    add_video_examples(video)
    with gr.Row():
        start = number_field(
            *(0, _LATEST_START_S, 0), "Start (s)", "Second of the video to start at."
        )
        duration = number_slider(
            *(1, 120, 20, 1), "Max duration (s)", "From the start; the command line has no limit."
        )
    mark = gr.Button("Start at the frame shown", size="sm", elem_id="video-mark", visible=False)
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    video.change(
        _preview,
        video,
        [preview, mark],
        concurrency_id=FILES_QUEUE,
        concurrency_limit=PHOTOS_AT_ONCE,
        trigger_mode="always_last",
        **quiet,
    )
    video.change(None, None, start, js="() => 0", **quiet)
    mark.click(None, start, start, js=_SHOWN_SECOND, **quiet)
    start.change(None, start, None, js=_SHOW_SECOND, **quiet)
    return video, [start, duration]


def _preview(video: str | None) -> tuple[str, Any]:
    """HTML of the preview, and the button below it."""
    html = preview_html(video)
    return html, gr.update(visible="<video" in html)


def _add_settings(context: PageContext) -> list[Any]:
    most = min(10, context.max_people)
    return [
        number_slider(
            *(0, 1, context.threshold, 0.01),
            "Confidence threshold",
            "Confidence needed to start a track.",
        ),
        number_slider(
            *(1, context.max_people, most, 1), "Max people per frame", "Keeps the earliest."
        ),
        number_slider(
            *(1, 60, 30, 1),
            "Max frame rate",
            "Frames per second. Lower is faster: frames in between are skipped.",
        ),
        gr.Checkbox(
            True,
            label="Smooth motion",
            info="One-euro filter, and one body shape for each person.",
        ),
        refine_checkbox(context.predictor),
        *motion_options(),
        still_camera_radio(),
    ]
