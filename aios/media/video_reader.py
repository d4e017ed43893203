"""Read videos frame by frame: upright, RGB uint8, with true times, as far as they can be read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np

from .photo import MAX_ASPECT, MAX_PIXELS

if TYPE_CHECKING:
    import av

VIDEO_SUFFIXES = frozenset(".mp4 .m4v .mov .3gp .webm .mkv .avi .gif".split())

# Others open further files or addresses that the file names: nothing a stranger's upload may do.
_DEMUXERS = "mov,matroska,avi,gif"
_MICROSECONDS = 1_000_000
_MAY_LACK_S, _MAY_LACK_SHARE = 0.5, 0.05
_USUAL_RATE = 25.0


class VideoError(ValueError):
    """Something that cannot be used as a video; the message is one sentence for a person."""


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video before it is read.

    Attributes:
        width: pixels, as it is to be looked at.
        height: pixels.
        rate: frames a second, on average.
        duration: seconds, None if the file does not say.
        origin: seconds, time of the file's own clock that counts as 0 here.
        has_sound: whether there is a sound track.
    """

    width: int
    height: int
    rate: float
    duration: float | None
    origin: float
    has_sound: bool


@dataclass(frozen=True)
class Frame:
    """One frame.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, upright; every frame of a video has the same size.
        time: seconds from the start of the video, rising from frame to frame (those that damage
            has put out of order are left out).
    """

    pixels: np.ndarray
    time: float


class VideoReader:
    """Opens a video file; iterating, once, gives its frames one at a time.

    Attributes:
        info: what is known before reading.
        problem: once all frames are out, a sentence on what could not be read; empty if nothing.
    """

    def __init__(
        self, path: str | Path, max_rate: float | None = None, max_seconds: float | None = None
    ) -> None:
        """Open and look at the first frame.

        Args:
            path: MP4, MOV, WebM, MKV, AVI or animated GIF, whatever the name.
            max_rate: frames a second; those that come sooner are passed over.  None for all.
            max_seconds: stop there; None for the whole video.

        Raises:
            VideoError: no video, none of its frames can be read, or it is too large.
        """
        self._name = Path(path).name
        self._container = open_media(path)
        try:
            self._video = _first_video(self._container, self._name)
            self._decoded = self._decode()
            self._pending = next(self._decoded, None)
            if self._pending is None:
                raise VideoError(f"{self._name} has no frame that can be read.")
            self.info = self._describe(self._pending)
        except BaseException:
            self._container.close()
            raise
        self.problem = ""
        self._broken_off = ""
        self._gap = 0.0 if max_rate is None else 1 / max_rate
        self._end = float("inf") if max_seconds is None else max_seconds

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        """The frames that are left."""
        due, last, count = float("-inf"), float("-inf"), 0
        frame, self._pending = self._pending, None
        while frame is not None:
            time = self._time(frame, last)
            if time >= self._end:
                return
            # Half a millisecond: times in files are rounded.
            if time > last and time >= due - 5e-4:
                due = (time if time > due + self._gap else due) + self._gap
                count += 1
                yield Frame(self._pixels(frame), time)
            last = max(last, time)
            frame = next(self._decoded, None)
        self.problem = self._what_lacks(last, count)

    @property
    def expected_frames(self) -> int | None:
        """How many frames there will be, roughly; None if the file does not say."""
        if self.info.duration is None:
            return None
        rate = min(self.info.rate, 1 / self._gap if self._gap else self.info.rate)
        return max(1, round(min(self.info.duration, self._end) * rate))

    def _decode(self) -> Iterator[av.VideoFrame]:
        """Every frame that can be had; what is damaged in between is passed over."""
        import av

        packets = self._container.demux(self._video)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.FFmpegError as error:
                self._broken_off = _reason(error)
                yield from self._video.decode(None)
                return
            try:
                frames = self._video.decode(packet)
            except av.FFmpegError as error:
                self._broken_off = self._broken_off or _reason(error)
                frames = []
            yield from frames

    def _describe(self, frame: av.VideoFrame) -> VideoInfo:
        video, container = self._video, self._container
        width, height = self._size(frame)
        if width * height > MAX_PIXELS:
            raise VideoError(
                f"{self._name} is {width}x{height} pixels: make it smaller first, "
                f"{MAX_PIXELS // 1_000_000} megapixels at most."
            )
        if max(width, height) > MAX_ASPECT * min(width, height):
            raise VideoError(f"{self._name} is {width}x{height} pixels, too narrow to show anyone.")
        if frame.rotation % 180:
            width, height = height, width
        duration = self._own_duration()
        if duration is None and container.duration is not None:
            duration = container.duration / _MICROSECONDS
        rate = float(video.average_rate or video.guessed_rate or _USUAL_RATE)
        first = 0.0 if frame.time is None else frame.time
        origin = first if container.start_time is None else container.start_time / _MICROSECONDS
        return VideoInfo(
            width=width,
            height=height,
            rate=rate if 0.1 <= rate <= 1000 else _USUAL_RATE,
            duration=duration,
            origin=min(origin, first),
            has_sound=bool(container.streams.audio),
        )

    def _own_duration(self) -> float | None:
        """Seconds of the pictures alone; the file as a whole may go on with sound."""
        video = self._video
        if video.duration is not None and video.time_base is not None:
            return float(video.duration * video.time_base)
        noted = re.fullmatch(r"(\d+):(\d\d):(\d\d\.\d+)", video.metadata.get("DURATION", ""))
        if noted is None:
            return None
        hours, minutes, seconds = map(float, noted.groups())
        return 3600 * hours + 60 * minutes + seconds

    def _size(self, frame: av.VideoFrame) -> tuple[int, int]:
        """Width and height with square pixels, before it is turned upright."""
        aspect = float(self._video.sample_aspect_ratio or 1) or 1.0
        return max(1, round(frame.width * aspect)), frame.height

    def _time(self, frame: av.VideoFrame, last: float) -> float:
        """Seconds; frames without a time follow at the usual rate."""
        if frame.time is not None:
            return frame.time - self.info.origin
        return max(0.0, last + 1 / self.info.rate)

    def _pixels(self, frame: av.VideoFrame) -> np.ndarray:
        turns = round(frame.rotation / 90) % 4
        width, height = self.info.width, self.info.height
        if turns % 2:
            width, height = height, width
        # Also where the size changes on the way: everything downstream relies on one size.
        pixels = frame.reformat(width, height, "rgb24").to_ndarray()
        return np.ascontiguousarray(np.rot90(pixels, turns))

    def _what_lacks(self, last: float, count: int) -> str:
        duration = self._own_duration()
        if duration is None and not self.info.has_sound:
            duration = self.info.duration
        missing = 0.0 if duration is None else duration - last
        allowed = max(_MAY_LACK_S, _MAY_LACK_SHARE * (duration or 0.0), 2 * self._gap)
        if missing > max(allowed, 2 / self.info.rate):
            return (
                f"{self._name} can be read up to {last:.1f} of {duration:.1f} seconds; "
                f"the {count} frames until there were kept."
            )
        if self._broken_off:
            return f"{self._name} is damaged in places ({self._broken_off}); the rest was kept."
        return ""


def open_media(path: str | Path) -> av.container.InputContainer:
    """Open a video file for reading, whatever its name, and nothing but that file.

    Raises:
        VideoError: it cannot be opened.
    """
    import av

    path = Path(path)
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise VideoError(f"{path.name} is empty (0 bytes).")
        return av.open(
            f"file:{path}",
            container_options={"format_whitelist": _DEMUXERS, "protocol_whitelist": "file"},
            metadata_errors="replace",
        )
    except FileNotFoundError as error:
        raise VideoError(f"There is no file {path.name}.") from error
    except av.FFmpegError as error:
        raise VideoError(
            f"{path.name} is not a video that can be read (MP4, MOV, WebM, MKV, AVI, GIF), or its "
            "end with the table of contents is missing."
        ) from error
    except OSError as error:
        raise VideoError(f"{path.name} cannot be read: {error.strerror or error}.") from error


def is_video(path: Path) -> bool:
    """Whether to treat a file as a video: by its name, and GIF only if it moves."""
    suffix = path.suffix.lower()
    if suffix != ".gif":
        return suffix in VIDEO_SUFFIXES
    from PIL import Image

    try:
        with Image.open(path, formats=("GIF",)) as image:
            return bool(getattr(image, "is_animated", False))
    except Exception:  # damaged in whatever way: reading it as a photo says how
        return False


def list_videos(paths: Iterable[str | Path]) -> list[Path]:
    """Videos named by `paths`, in order and without repetition.

    A folder stands for the videos directly in it, by name, hidden ones left out.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        for file in inside:
            if not (path.is_dir() and (file.name.startswith(".") or file.is_dir())):
                found.update({file: None} if is_video(file) else {})
    return list(found)


def _first_video(container: av.container.InputContainer, name: str) -> av.VideoStream:
    # A cover picture of a song is a video stream, too.
    for video in container.streams.video:
        if not video.disposition & video.disposition.attached_pic:
            video.thread_type = "AUTO"
            return video
    raise VideoError(f"{name} has no pictures, only sound or text.")


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).splitlines()[0].rstrip(".")
