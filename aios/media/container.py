"""Open video files of untrusted origin and select the stream that players show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .photo import display_name
from .reduction import MAX_PIXELS

if TYPE_CHECKING:
    import av

VIDEO_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .3gp .webm .mkv .avi .gif .apng .mts .m2ts .ts .mpg .mpeg .vob .wmv .asf .flv"
    " .mxf".split()
)
"""Usual names of supported videos; files are recognised by their content."""
FORMAT_NAMES = "MP4, MOV, WebM, MKV, AVI, MPEG, WMV, FLV, MXF, GIF or APNG"

_GROWTH, _SMALL_PIXELS = 4, 1_000_000
"""Pictures may have this many times the pixels that the header states, or this many."""

# Other demuxers open further files or addresses that the file names.
_DEMUXERS = "mov,matroska,avi,gif,apng,mpegts,mpeg,asf,flv,mxf"


class VideoError(ValueError):
    """A video that cannot be used; the message is one sentence for a person."""


def open_media(path: str | Path) -> av.container.InputContainer:
    """Open a video file for reading by its content; no other file or address is opened.

    Raises:
        VideoError: it cannot be opened.
    """
    import av

    path = Path(path)
    name = display_name(path)
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise VideoError(f"{name} is not a regular file.")
        with path.open("rb") as file:
            if not file.read(1):
                raise VideoError(f"{name} is empty (0 bytes).")
        return av.open(
            f"file:{path}",
            container_options={"format_whitelist": _DEMUXERS, "protocol_whitelist": "file"},
            metadata_errors="replace",
        )
    except FileNotFoundError as error:
        raise VideoError(f"File {name} does not exist.") from error
    except av.FFmpegError as error:
        raise VideoError(
            f"{name} is not a video that can be read ({FORMAT_NAMES}), or its end with the index "
            "is missing."
        ) from error
    except OSError as error:
        raise VideoError(f"{name} cannot be read: {error.strerror or error}.") from error


def main_video_stream(container: av.container.InputContainer, name: str) -> av.VideoStream:
    """The stream that players show: of those marked as default, the largest.

    Cover pictures and thumbnail streams are left out.

    Raises:
        VideoError: the file has no video stream that can be decoded.
    """
    streams = [video for video in container.streams.video if not _is_picture(video)]
    if not streams:
        raise VideoError(f"{name} has no pictures, only sound or text.")
    # Streams of an unknown codec have no context.
    streams = [video for video in streams if video.codec_context is not None]
    if not streams:
        raise VideoError(f"{name} uses a video codec that is not supported: convert it to H.264.")
    defaults = [video for video in streams if video.disposition & video.disposition.default]
    chosen = max(defaults or streams, key=_pixel_count)
    chosen.thread_type = "AUTO"
    # Bounds the memory of a stream whose pictures grow: a decoder holds a picture per thread.
    stated = _pixel_count(chosen)
    limit = max(_GROWTH * stated, _SMALL_PIXELS) if stated else MAX_PIXELS
    chosen.codec_context.options = {"max_pixels": str(min(limit, MAX_PIXELS) + 1)}
    return chosen


def _is_picture(video: av.VideoStream) -> bool:
    kinds = video.disposition
    pictures = kinds.attached_pic | kinds.timed_thumbnails | kinds.still_image
    return bool(kinds & pictures)


def _pixel_count(video: av.VideoStream) -> int:
    return (video.codec_context.width or 0) * (video.codec_context.height or 0)
