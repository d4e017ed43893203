"""Tab Video and the endpoint `/video`: tracked people, drawn over the video and as motion files."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from ..descriptions import person_name
from ..export.bone_names import BoneStyle
from ..export.checks import ExportError
from ..media.container import VIDEO_SUFFIXES, VideoError
from ..media.photo import PhotoError
from ..media.photo_sources import safe_name
from ..pipelines.progress import CancelledError
from ..pipelines.still_camera import StillCamera
from ..pipelines.video import VideoResult, reconstruct_video
from ..pipelines.video_tracks import VideoSettings
from .context import FILES_QUEUE, PHOTOS_AT_ONCE, PageContext
from .export_options import (
    export_choice,
    motion_options,
    refine_checkbox,
    still_camera_radio,
)
from .jobs import LONG_QUEUE, STOPPED, JobHandler, connect_job, unexpected_error_text
from .scene_view import video_scene_html
from .video_preview import add_video_examples, preview_html
from .visit import Visit, VisitEndedError
from .widgets import number_field, number_slider

_NO_VIDEO = "Choose a video first."
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
_FILES_NOTE = """NPZ: all frames and people, with SMPL-X parameter names; `_smplx.npz`: one person
for SMPL-X tools. BVH and GLB: the motion of each person on the SMPL-X skeleton, for Blender. All
are in metres and camera space, not in world space: positions are relative to the camera of each
frame, and if it moves, people move, too. In BVH and GLB, y is up and the camera is at the origin,
unless **On the ground** is on."""


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
        connect_job(handler, start, stop, inputs, outputs, show_progress_on=outputs[1])
        _add_endpoint(context, handler, inputs)


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


class VideoHandler(JobHandler):
    """Event handlers of the tab."""

    def __init__(self, context: PageContext) -> None:
        """Serve all visitors of a page."""
        super().__init__(context, "video", _NO_VIDEO, [None, "", "", None])

    def show(  # noqa: PLR0913  one parameter for each widget
        self,
        video: str | None,
        threshold: float,
        max_people: float,
        max_seconds: float,
        max_rate: float,
        smooth: bool,
        refine: bool,
        ground: bool,
        bones: BoneStyle,
        start_seconds: float,
        still_camera: StillCamera,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio looks for it here
    ) -> list[Any]:
        """Return status, overlay, 3D view, table and files; an error is shown as the status."""
        if video is None:
            return [self.no_input, *self.empty_results]
        settings = VideoSettings(
            threshold=threshold,
            max_people=int(max_people),
            smooth=bool(smooth),
            max_rate=max_rate,
            start_seconds=start_seconds,
            max_seconds=max_seconds,
            export=export_choice(ground, bones),
            still_camera=still_camera,
        )
        visit = self.context.visit(request)
        try:
            result = self.process(visit, Path(video), settings, bool(refine), progress)
        except gr.Error as error:
            gr.Warning(error.message)
            return [escape(error.message), *self.empty_results]
        files = [str(path) for path in (result.npz, result.json, *result.motions)]
        scene = video_scene_html(result)
        return [status_text(result), str(result.overlay), scene, tracks_html(result), files]

    def process(
        self,
        visit: Visit,
        video: Path,
        settings: VideoSettings,
        refine: bool,
        progress: gr.Progress,
    ) -> VideoResult:
        """Process a video as the job of a visit.

        Args:
            visit: of the visitor.
            video: file.
            settings: of the job.
            refine: whether poses are refined to the keypoints.
            progress: of the page.

        Raises:
            gr.Error: the job was stopped or failed; the message is one sentence.
        """
        stem = safe_name(video.stem).replace("/", "_")
        try:
            with self.jobs.run(visit, [video], progress) as (folder, report):
                predictor = visit.predictor.with_refinement(refine)
                return reconstruct_video(predictor, video, folder, stem, settings, report)
        except CancelledError as error:
            raise gr.Error(STOPPED, print_exception=False) from error
        except (ExportError, PhotoError, VideoError, VisitEndedError) as error:
            raise gr.Error(str(error), print_exception=False) from error
        except (MemoryError, OSError, RuntimeError, ValueError) as error:
            sentence = unexpected_error_text(error, "This video")
            raise gr.Error(sentence, print_exception=False) from error


def status_text(result: VideoResult) -> str:
    """Markdown: number of people and frames, the space of positions, and notes on damage."""
    people = "1 person" if result.people == 1 else f"{result.people} people"
    frames = "1 frame" if result.frames == 1 else f"{result.frames} frames"
    notes = "".join(f"\n\n{escape(note)}" for note in result.notes)
    space = f" {result.summary['space']}" if result.people else ""
    return f"**{people}** in {frames}.{space}{notes}"


def tracks_html(result: VideoResult) -> str:
    """Table with colour, name, frames and time span of each person; empty without people."""
    tracks = result.summary["tracks"]
    if not tracks:
        return ""
    rows = ""
    for track in tracks:
        red, green, blue = track["color"]
        swatch = f'<span class="aios-swatch" style="background:rgb({red},{green},{blue})"></span>'
        rows += (
            f'<tr><th scope="row">{swatch}{person_name(track["number"] - 1)}</th>'
            f"<td>{track['frames']}</td>"
            f"<td>{track['first_second']:.1f} – {track['last_second']:.1f} s</td></tr>"
        )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Person", "Frames", "Visible"))
    return (
        f'<div class="aios-people" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _add_endpoint(context: PageContext, handler: VideoHandler, inputs: list[Any]) -> None:
    def video(  # noqa: PLR0913  the parameters are the arguments of the endpoint
        video: str | None,
        threshold: float,
        max_people: float,
        max_seconds: float,
        max_rate: float,
        smooth: bool,
        refine: bool,
        ground: bool,
        bones: BoneStyle,
        start_seconds: float,
        still_camera: StillCamera,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio looks for it here
    ) -> tuple[dict[str, Any], str, list[str]]:
        """Track everyone in a video as whole-body 3D meshes.

        Args:
            video: MP4, MOV, WebM, MKV, AVI or animated GIF file.
            threshold: confidence needed to start a track, 0 to 1.
            max_people: maximum number of people per frame; the earliest are kept.
            max_seconds: seconds to process from `start_seconds`, 1 to 120.
            max_rate: maximum frame rate, 1 to 60; frames in between are skipped.
            smooth: whether to smooth motion and give each person one body shape.
            refine: whether to move the meshes onto the predicted 2D keypoints.
            ground: put the people of 3D files on the floor, around the origin, instead of the
                camera.
            bones: joint names of BVH and GLB files: smplx, mixamo or unreal.
            start_seconds: second of the video to start at; all times count from there.
            still_camera: whether to put everyone on one floor, where standing feet slide less: on,
                off, or auto for smoothed videos whose background does not move.
            request: set by the server.
            progress: set by the server.

        Returns:
            JSON summary with the time span of each person and notes on damage; MP4 with the meshes
            over the video and its sound; NPZ of all frames and people with SMPL-X parameter names,
            then a BVH and an animated GLB for each person.
        """
        if video is None:
            raise gr.Error("Send a video.", print_exception=False)
        settings = VideoSettings(
            threshold=threshold,
            max_people=int(max_people),
            smooth=bool(smooth),
            max_rate=max_rate,
            start_seconds=start_seconds,
            max_seconds=max_seconds,
            export=export_choice(ground, bones),
            still_camera=still_camera,
        )
        visit = context.visit(request)
        result = handler.process(visit, Path(video), settings, bool(refine), progress)
        files = [str(path) for path in (result.npz, *result.motions)]
        return result.summary, str(result.overlay), files

    gr.Button(visible=False).click(
        video,
        inputs,
        [
            gr.JSON(visible=False, label="Summary"),
            gr.File(visible=False, label="Overlay (MP4)"),
            gr.File(visible=False, label="Files", file_count="multiple"),
        ],
        concurrency_id=LONG_QUEUE,
        concurrency_limit=1,
        api_name="video",
    )
