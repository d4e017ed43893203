"""Event handlers of the tab Video, and the texts that they show."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from ..descriptions import person_name
from ..export.bone_names import BoneStyle
from ..export.checks import ExportError
from ..media.container import VideoError
from ..media.photo import PhotoError
from ..media.photo_sources import safe_name
from ..pipelines.progress import CancelledError
from ..pipelines.still_camera import StillCamera
from ..pipelines.video import VideoResult, reconstruct_video
from ..pipelines.video_tracks import VideoSettings
from .context import PageContext
from .export_options import export_choice
from .jobs import STOPPED, JobHandler, unexpected_error_text
from .scene_view import video_scene_html
from .visit import Visit, VisitEndedError

_NO_VIDEO = "Choose a video first."


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
        settings = video_settings(
            *(threshold, max_people, max_seconds, max_rate, smooth),
            *(ground, bones, start_seconds, still_camera),
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


def video_settings(  # noqa: PLR0913  one parameter for each widget
    threshold: float,
    max_people: float,
    max_seconds: float,
    max_rate: float,
    smooth: bool,
    ground: bool,
    bones: BoneStyle,
    start_seconds: float,
    still_camera: StillCamera,
) -> VideoSettings:
    """Settings of a job from the values of the widgets, see `VideoSettings`."""
    return VideoSettings(
        threshold=threshold,
        max_people=int(max_people),
        smooth=bool(smooth),
        max_rate=max_rate,
        start_seconds=start_seconds,
        max_seconds=max_seconds,
        export=export_choice(ground, bones),
        still_camera=still_camera,
    )


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
