"""Endpoint `/video`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from ..export.bone_names import BoneStyle
from ..pipelines.still_camera import StillCamera
from .context import PageContext
from .jobs import LONG_QUEUE
from .video_handlers import VideoHandler, video_settings


def add_video_endpoint(context: PageContext, handler: VideoHandler, inputs: list[Any]) -> None:
    """Add the endpoint.

    Args:
        context: of the page.
        handler: of the tab; both share the job of a visitor.
        inputs: video and widgets in the order of the parameters.
    """

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
        settings = video_settings(
            *(threshold, max_people, max_seconds, max_rate, smooth),
            *(ground, bones, start_seconds, still_camera),
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
