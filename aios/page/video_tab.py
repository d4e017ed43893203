"""The tab of videos: everyone followed through one, drawn over it, and as files for animation."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from ..descriptions import person_name
from ..export.photo_files import ExportError
from ..media.photo import PhotoError
from ..media.photo_sources import safe_name
from ..media.video_reader import VIDEO_SUFFIXES, VideoError
from ..pipelines.progress import CancelledError
from ..pipelines.video import VideoResult, VideoSettings, reconstruct_video
from .context import PageContext
from .jobs import LONG_QUEUE, Jobs, working_sentence
from .widgets import add_examples, number_slider

_IDLE = "Waiting for a video."
_STOPPED = "Stopped; nothing was kept."
_FILES_NOTE = """NPZ: all frames and people under SMPL-X names. BVH and GLB: the motion of each
person with the SMPL-X joints, in metres, y up, the camera at the origin; Blender opens both."""


def build_video_tab(context: PageContext) -> None:
    """Widgets and events of the tab."""
    with gr.Tab("Video"):
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                inputs = _add_inputs(context)
                with gr.Row():
                    start = gr.Button("Work on the video", variant="primary", elem_id="video-start")
                    stop = gr.Button("Stop", elem_id="video-stop")
            with gr.Column(scale=3, min_width=320):
                status = gr.Markdown(_IDLE, elem_id="video-status")
                film = gr.Video(
                    label="Everyone in the video",
                    interactive=False,
                    buttons=["download"],
                    elem_id="video-film",
                )
                people = gr.HTML(padding=False, elem_id="video-people")
                files = gr.File(
                    label="Files", file_count="multiple", interactive=False, elem_id="video-files"
                )
                gr.Markdown(_FILES_NOTE)
        handler = VideoHandler(context)
        outputs = [status, film, people, files]
        work = start.click(
            handler.show,
            inputs,
            outputs,
            concurrency_id=LONG_QUEUE,
            concurrency_limit=1,
            trigger_mode="once",
            show_progress_on=[film],
            api_visibility="private",
        )
        stop.click(
            handler.stop, None, outputs, cancels=[work], queue=False, api_visibility="private"
        )
        _add_endpoint(handler, inputs)


def _add_inputs(context: PageContext) -> list[Any]:
    video = gr.File(
        label="Video or animated GIF",
        file_types=sorted(VIDEO_SUFFIXES),
        type="filepath",
        height=160,
        elem_id="video-input",
    )
    add_examples(video, "*.mp4", "Or try this one")
    threshold = number_slider(
        0, 1, context.threshold, 0.01, "Video score", "Follow people once seen so surely."
    )
    most = number_slider(
        1, context.max_people, min(10, context.max_people), 1, "People at a time", "Seen first."
    )
    seconds = number_slider(
        1, 120, 20, 1, "Seconds to work on", "From the start; the command line has no limit."
    )
    rate = number_slider(
        1, 60, 30, 1, "Frames a second, at most", "Fewer are faster; frames between are left out."
    )
    smooth = gr.Checkbox(
        True, label="Smooth motion", info="One-euro filters, and one shape for each person."
    )
    return [video, threshold, most, seconds, rate, smooth]


class VideoHandler:
    """Works on one video after another."""

    def __init__(self, context: PageContext) -> None:
        """Serve all visitors with the predictor of `context`."""
        self._context = context
        self._jobs = Jobs(context, "video")

    def show(
        self,
        video: str | None,
        threshold: float,
        most: float,
        seconds: float,
        rate: float,
        smooth: bool,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio looks for it here
    ) -> list[Any]:
        """Status, overlay, table of people and files; a failure is a sentence in the status."""
        if video is None:
            return [_IDLE, None, "", None]
        settings = VideoSettings(threshold, int(most), bool(smooth), rate, seconds)
        try:
            result = self.work(Path(video), settings, request, progress)
        except gr.Error as error:
            gr.Warning(error.message)
            return [escape(error.message), None, "", None]
        film, *files = [str(path) for path in result.files]
        return [status_text(result), film, tracks_html(result), files]

    def work(
        self, video: Path, settings: VideoSettings, request: gr.Request, progress: gr.Progress
    ) -> VideoResult:
        """Do it.

        Raises:
            gr.Error: a sentence.
        """
        folder, report = self._jobs.start(request, [video], progress)
        stem = safe_name(video.stem).replace("/", "_")
        try:
            predictor = self._context.predictor_of(request)
            return reconstruct_video(predictor, video, folder, stem, settings, report)
        except CancelledError as error:
            raise gr.Error(_STOPPED, print_exception=False) from error
        except (ExportError, PhotoError, VideoError) as error:
            raise gr.Error(str(error), print_exception=False) from error
        except (MemoryError, OSError, RuntimeError, ValueError) as error:
            sentence = working_sentence(error, "This video")
            raise gr.Error(sentence, print_exception=False) from error

    def stop(self, request: gr.Request) -> list[Any]:
        """Stop this visitor's work and empty the results."""
        self._jobs.stop(request)
        return [_STOPPED, None, "", None]


def status_text(result: VideoResult) -> str:
    """What came out, and what could not be read or kept."""
    people = "1 person" if result.people == 1 else f"{result.people} people"
    frames = "1 frame" if result.frames == 1 else f"{result.frames} frames"
    notes = "".join(f"\n\n{escape(note)}" for note in result.notes)
    return f"**{people}** in {frames}.{notes}"


def tracks_html(result: VideoResult) -> str:
    """A row for each person: colour, number, when to be seen."""
    tracks = json.loads(result.files[2].read_text("utf-8"))["tracks"]
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
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Person", "Frames", "Seen"))
    return (
        f'<div class="aios-people"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _add_endpoint(handler: VideoHandler, inputs: list[Any]) -> None:
    """`/video`, for programs."""

    def video(
        video: str | None,
        threshold: float,
        max_people: float,
        max_seconds: float,
        max_rate: float,
        smooth: bool,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio looks for it here
    ) -> tuple[dict[str, Any], str, list[str]]:
        """Follow everyone through a video as posed whole-body meshes.

        Args:
            video: MP4, MOV, WebM, MKV, AVI or animated GIF file.
            threshold: lowest score with which a person is first seen, 0 to 1.
            max_people: at most this many people at a time, those seen first.
            max_seconds: how much of the video, from its start, 1 to 120.
            max_rate: frames a second, 1 to 60; those that come sooner are left out.
            smooth: whether to smooth motion and give each person one shape.
            request: filled in by the server.
            progress: filled in by the server.

        Returns:
            The summary as plain JSON, with when each person is seen and what could not be read;
            MP4 with the meshes over the video and its sound; NPZ of all frames and people with
            SMPL-X names, then a BVH and an animated GLB for each person.
        """
        if video is None:
            raise gr.Error("Send a video.", print_exception=False)
        settings = VideoSettings(threshold, int(max_people), bool(smooth), max_rate, max_seconds)
        film, npz, summary, *motions = handler.work(Path(video), settings, request, progress).files
        document = json.loads(summary.read_text("utf-8"))
        return document, str(film), [str(path) for path in (npz, *motions)]

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
