"""Read videos frame by frame: upright, RGB uint8, with the times of the file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np

from .container import VideoError, main_video_stream, open_media
from .display import orientation_of, rgb_pixels
from .image_file import MAX_ASPECT
from .photo import display_name
from .reduction import MAX_PIXELS

if TYPE_CHECKING:
    import av

SKIPPED_FRAMES = 50
"""Dropped frames between two calls of `on_skip`."""
_MICROSECONDS = 1_000_000
_TOLERATED_GAP_S, _TOLERATED_GAP_SHARE = 0.5, 0.05
_DEFAULT_RATE = 25.0
_ROUNDING_S = 5e-4
"""Files round the times of frames by up to half a millisecond."""


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video from its header and first frame.

    Attributes:
        width: pixels, upright and with square pixels.
        height: pixels.
        rate: average frames per second.
        duration: seconds from the start of the part that is read; None if the file does not state
            it.
        origin: seconds on the clock of the file that count as 0 here.
        has_sound: whether there is an audio stream.
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
        time: seconds from the start of the part that is read, strictly increasing; damaged frames
            that go back in time are dropped.
    """

    pixels: np.ndarray
    time: float


class VideoReader:
    """Video file opened for reading; iterating, once, yields its frames.

    Attributes:
        info: properties of the video.
        problem: after the last frame, a sentence on parts that could not be read; else empty.
    """

    def __init__(
        self,
        path: str | Path,
        max_rate: float | None = None,
        max_seconds: float | None = None,
        on_skip: Callable[[], None] = lambda: None,
        start_seconds: float = 0.0,
    ) -> None:
        """Open the file and decode the first frame.

        Args:
            path: a file of any name in one of `container.FORMAT_NAMES`.
            max_rate: frames per second; frames in between are dropped. None keeps all.
            max_seconds: duration to read, from `start_seconds`; None reads to the end.
            on_skip: called after every `SKIPPED_FRAMES` dropped frames; may raise to stop.
            start_seconds: 0 or more; earlier frames are dropped, and the times of frames count
                from here.

        Raises:
            VideoError: not a video, no frame can be decoded, it is too large, or it ends before
                `start_seconds`.
        """
        self._on_skip = on_skip
        self._start = start_seconds
        self._name = display_name(Path(path))
        self.problem = ""
        self._damage = ""
        self._gap = 0.0 if max_rate is None else 1 / max_rate
        self._end = float("inf") if max_seconds is None else max_seconds
        self._container = open_media(path)
        try:
            self._video = main_video_stream(self._container, self._name)
            self._decoded = self._decode()
            self._check_size(self._video.codec_context.width, self._video.codec_context.height)
            self._pending = next(self._decoded, None)
            if self._pending is None:
                raise VideoError(f"{self._name} has no frame that can be read.")
            self._orientation = orientation_of(self._pending)
            self.info = self._describe(self._pending)
            self._skip_to_start()
        except BaseException:
            self._container.close()
            raise

    def _skip_to_start(self) -> None:
        """Drop the frames before the start."""
        last, skipped = float("-inf"), 0
        while self._start and self._pending is not None:
            last = self._time(self._pending, last)
            if last >= -_ROUNDING_S:
                return
            self._pending = next(self._decoded, None)
            skipped += 1
            if skipped % SKIPPED_FRAMES == 0:
                self._on_skip()
        if self._pending is None:
            raise VideoError(f"{self._name} ends before {self._start:g} s: start earlier.")

    def __enter__(self) -> Self:
        """Return the reader."""
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
        """Yield the remaining frames."""
        due, last, count, skipped = float("-inf"), float("-inf"), 0, 0
        frame, self._pending = self._pending, None
        while frame is not None:
            time = max(0.0, self._time(frame, last))
            if time >= self._end:
                return
            if time > last and time >= due - _ROUNDING_S:
                due = (time if time > due + self._gap else due) + self._gap
                count += 1
                yield Frame(self._pixels(frame), time)
            else:
                skipped += 1
                if skipped % SKIPPED_FRAMES == 0:
                    self._on_skip()
            last = max(last, time)
            frame = next(self._decoded, None)
        self.problem = self._missing_part(last, count)

    @property
    def expected_frames(self) -> int | None:
        """Approximate number of frames; None if the file does not state its duration."""
        if self.info.duration is None:
            return None
        rate = min(self.info.rate, 1 / self._gap if self._gap else self.info.rate)
        return max(1, round(min(self.info.duration, self._end) * rate))

    def _decode(self) -> Iterator[av.VideoFrame]:
        """Every frame that can be decoded; damaged packets are skipped."""
        import av

        packets = self._container.demux(self._video)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.FFmpegError as error:
                self._damage = _reason(error)
                yield from self._flush()
                return
            try:
                frames = self._video.decode(packet)
            except av.FFmpegError as error:
                self._damage = self._damage or _reason(error)
                frames = []
            yield from frames

    def _flush(self) -> Iterator[av.VideoFrame]:
        import av

        try:
            yield from self._video.decode(None)
        except av.FFmpegError as error:
            self._damage = self._damage or _reason(error)

    def _check_size(self, width: int, height: int) -> None:
        if width * height > MAX_PIXELS:
            raise VideoError(
                f"{self._name} is {width}x{height} pixels: make it smaller first, "
                f"{MAX_PIXELS // 1_000_000} megapixels at most."
            )
        if max(width, height) > MAX_ASPECT * min(width, height) > 0:
            raise VideoError(f"{self._name} is {width}x{height} pixels, which is too narrow.")

    def _describe(self, frame: av.VideoFrame) -> VideoInfo:
        video, container = self._video, self._container
        width, height = self._stored_size(frame)
        self._check_size(width, height)
        if self._orientation.transposed:
            width, height = height, width
        rate = float(video.average_rate or video.guessed_rate or _DEFAULT_RATE)
        first = 0.0 if frame.time is None else frame.time
        start = first if container.start_time is None else container.start_time / _MICROSECONDS
        origin = min(start, first)
        duration = self._stream_duration(origin)
        if duration is None and container.duration is not None:
            duration = container.duration / _MICROSECONDS
            if _is_matroska(container) and duration > origin:
                duration -= origin  # Matroska stores the time of the end
        if duration is not None:
            duration = max(0.0, duration - self._start)
        return VideoInfo(
            width=width,
            height=height,
            rate=rate if 0.1 <= rate <= 1000 else _DEFAULT_RATE,
            duration=duration,
            origin=origin + self._start,
            has_sound=bool(container.streams.audio),
        )

    def _stream_duration(self, origin: float) -> float | None:
        """Seconds of the video stream alone; audio may be longer."""
        video = self._video
        if video.duration is not None and video.time_base is not None:
            return float(video.duration * video.time_base)
        tag = re.fullmatch(r"(\d+):(\d\d):(\d\d\.\d+)", video.metadata.get("DURATION", ""))
        if tag is None:
            return None
        hours, minutes, seconds = map(float, tag.groups())
        end = 3600 * hours + 60 * minutes + seconds
        return end - origin if end > origin else end  # the tag of Matroska is the time of the end

    def _stored_size(self, frame: av.VideoFrame) -> tuple[int, int]:
        """Width and height with square pixels, before the frame is turned upright."""
        aspect = float(self._video.sample_aspect_ratio or 1) or 1.0
        return max(1, round(frame.width * aspect)), frame.height

    def _time(self, frame: av.VideoFrame, last: float) -> float:
        """Seconds from the start of the part; frames without times follow at the average rate."""
        if frame.time is not None:
            return frame.time - self.info.origin
        return max(-self._start, last + 1 / self.info.rate)

    def _pixels(self, frame: av.VideoFrame) -> np.ndarray:
        width, height = self.info.width, self.info.height
        if self._orientation.transposed:
            width, height = height, width
        # Frames that change size are scaled to the first one's.
        return self._orientation.apply(rgb_pixels(frame, width, height))

    def _missing_part(self, last: float, count: int) -> str:
        last += self._start
        duration = self._stream_duration(self.info.origin - self._start)
        if duration is None and not self.info.has_sound and self.info.duration is not None:
            duration = self.info.duration + self._start
        missing = 0.0 if duration is None else duration - last
        allowed = max(_TOLERATED_GAP_S, _TOLERATED_GAP_SHARE * (duration or 0.0), 2 * self._gap)
        if missing > max(allowed, 2 / self.info.rate):
            return (
                f"{self._name} can be read up to {last:.1f} of {duration:.1f} seconds; "
                f"the {count} frames up to there were kept."
            )
        if self._damage:
            return f"{self._name} is damaged in places ({self._damage}); the rest was kept."
        return ""


def _is_matroska(container: av.container.InputContainer) -> bool:
    return "matroska" in container.format.name


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).splitlines()[0].rstrip(".")
