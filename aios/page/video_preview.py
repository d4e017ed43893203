"""What a visitor sees of a video before it is processed: the chosen video, and the example."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

import cv2
import gradio as gr
import numpy as np
from gradio.processing_utils import save_file_to_cache, save_img_array_to_cache

from ..media.container import VideoError
from ..media.video_reader import VideoInfo, VideoReader
from ..resources import EXAMPLES
from .widgets import file_address

_POSTER_SIDE_PX = 640
_STRIP_FRAMES, _STRIP_HEIGHT_PX = 3, 120
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 80]
_EXAMPLE_VIDEOS = "*.mp4"


def preview_html(video: str | None) -> str:
    """HTML of a player with the first frame as its poster, and a line about the video.

    The poster is also shown for formats that browsers cannot play. A file that cannot be read
    gives the reason in one sentence.

    Args:
        video: path of an uploaded file; None for none.
    """
    if video is None:
        return ""
    try:
        with VideoReader(video) as reader:
            info, frame = reader.info, next(iter(reader))
    except VideoError as error:
        return f'<p class="aios-preview-error" role="alert">{escape(str(error))}</p>'
    address = escape(file_address(video))
    name = escape(f"Preview of {Path(video).name}")
    if Path(video).suffix.lower() == ".gif":
        player = f'<img src="{address}" alt="{name}">'
    else:
        player = (
            f'<video controls muted playsinline preload="metadata" aria-label="{name}" '
            f'poster="{_data_address(frame.pixels)}" src="{address}"></video>'
        )
    return f'<div class="aios-preview">{player}<p>{_description(info)}</p></div>'


def add_video_examples(video: gr.File) -> None:
    """Add a button with frames of each video in `assets/examples`, which chooses the video."""
    for path in sorted(EXAMPLES.glob(_EXAMPLE_VIDEOS)):
        strip = save_img_array_to_cache(_strip(path), video.GRADIO_CACHE, "jpeg")
        button = gr.Button(f"Example: {path.stem}", icon=strip, elem_classes="aios-example")
        button.click(
            lambda path=str(path): path,
            None,
            video,
            queue=False,
            show_progress="hidden",
            api_visibility="private",
        )
        # Gradio deletes the copies of files after an hour.
        button.keep_in_cache.add(strip)
        video.keep_in_cache.add(save_file_to_cache(path, video.GRADIO_CACHE))


def _description(info: VideoInfo) -> str:
    duration = "" if info.duration is None else f"{info.duration:.1f} s · "
    sound = "with sound" if info.has_sound else "without sound"
    size = f"{info.width} × {info.height} px"
    return f"{duration}{size} · {info.rate:.3g} frames per second · {sound}"


def _strip(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB: frames of a video side by side."""
    with VideoReader(path) as reader:
        duration = reader.info.duration or 1.0
    with VideoReader(path, max_rate=_STRIP_FRAMES / duration) as reader:
        frames = [_scaled(frame.pixels, _STRIP_HEIGHT_PX) for frame in reader]
    return np.concatenate(frames[:_STRIP_FRAMES], 1)


def _scaled(pixels: np.ndarray, height: int) -> np.ndarray:
    width = max(1, round(pixels.shape[1] * height / pixels.shape[0]))
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)


def _data_address(pixels: np.ndarray) -> str:
    """Data URL of a JPEG with a long side of at most `_POSTER_SIDE_PX`."""
    scale = min(1.0, _POSTER_SIDE_PX / max(pixels.shape[:2]))
    small = _scaled(pixels, max(1, round(pixels.shape[0] * scale)))
    content = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), _JPEG)[1].tobytes()
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode('ascii')}"
