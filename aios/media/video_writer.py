"""Write MP4 files that browsers play: H.264 in yuv420p, with the audio of the source."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .container import VideoError, open_media

if TYPE_CHECKING:
    import av

MAX_SIDE_PX = 1920
"""Longer side of written videos at most; browsers do not play larger H.264 reliably."""

_CLOCK = 90_000
_REAL_GAP_S = 0.1
_PREROLL_S = 0.1
"""Audio kept before the start of a part: decoders need the packets before the first one that is
heard. The edit list of the file hides them from players."""
_QUALITY = {"preset": "veryfast", "crf": "20"}


def playable_size(width: int, height: int) -> tuple[int, int]:
    """Nearest size that can be written: even sides of at most `MAX_SIDE_PX`."""
    scale = min(1.0, MAX_SIDE_PX / max(width, height))
    return max(2, 2 * round(width * scale / 2)), max(2, 2 * round(height * scale / 2))


class VideoWriter:
    """One MP4 file; a context manager that deletes the file after an exception.

    Attributes:
        sound_problem: a sentence if part of the audio was lost, else empty.
    """

    def __init__(
        self,
        path: Path,
        width: int,
        height: int,
        rate: float,
        sound: tuple[Path, float] | None = None,
    ) -> None:
        """Create the file.

        Args:
            path: ends in `.mp4`; an existing file is replaced.
            width: of the frames, even.
            height: of the frames, even.
            rate: nominal frames per second; each frame has its own time.
            sound: video whose audio is copied, and its `VideoInfo.origin`; None for no audio.

        Raises:
            OSError: the file cannot be written.
        """
        import av
        from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

        self._path = path
        # With the index first, browsers start to play before the download is complete.
        self._container = av.open(str(path), "w", "mp4", options={"movflags": "+faststart"})
        self.sound_problem = ""
        self._last = -1
        self._sound: _Sound | None = None
        try:
            nominal = Fraction(rate).limit_denominator(1001)
            video = self._container.add_stream("libx264", nominal, _QUALITY)
            video.width, video.height, video.pix_fmt = width, height, "yuv420p"
            context = video.codec_context
            context.time_base = Fraction(1, _CLOCK)
            context.colorspace = Colorspace.ITU709
            context.color_primaries = ColorPrimaries.BT709
            context.color_trc = ColorTrc.BT709
            context.color_range = ColorRange.MPEG
            self._video = video
            if sound is not None:
                self._sound = _Sound(*sound, self._container)
        except VideoError as error:
            self.sound_problem = str(error)
        except BaseException:
            self._discard()
            raise

    def write(self, pixels: np.ndarray, time: float) -> None:
        """Append a frame, (height, width, 3) uint8 RGB, shown from `time` seconds."""
        import av
        from av.video.reformatter import ColorRange, Colorspace

        rgb = av.VideoFrame.from_ndarray(pixels, "rgb24")
        frame = rgb.reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        self._last = max(round(time * _CLOCK), self._last + 1)
        frame.pts, frame.time_base = self._last, Fraction(1, _CLOCK)
        self._container.mux(self._video.encode(frame))
        self._add_sound(time)

    def close(self, end: float) -> None:
        """Finish the file; audio is copied up to `end` seconds."""
        self._container.mux(self._video.encode(None))
        self._add_sound(end, finish=True)
        self._container.close()

    def __enter__(self) -> Self:
        """Return the writer; call `close` before leaving the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the audio source; after an exception, delete the file."""
        if kind is not None:
            self._discard()
        elif self._sound is not None:
            self._sound.source.close()

    def _add_sound(self, until: float, finish: bool = False) -> None:
        import av

        if self._sound is None:
            return
        try:
            self._sound.add(until)
            if finish:
                self._sound.finish()
        except av.FFmpegError:
            self.sound_problem = f"The audio was kept only up to {until:.1f} seconds."
            self._sound.source.close()
            self._sound = None
        else:
            if self._sound.damaged:
                self.sound_problem = "Damaged parts of the audio were left out."

    def _discard(self) -> None:
        import av

        if self._sound is not None:
            self._sound.source.close()
        try:
            self._container.close()
        except (av.FFmpegError, OSError):  # an incomplete file may be impossible to finish
            pass
        self._path.unlink(missing_ok=True)


class _Sound:
    """Copies the first audio stream in step with the video: AAC unchanged, other codecs as AAC.

    Attributes:
        source: the open file.
        damaged: whether a part could not be decoded and is silent.
    """

    def __init__(self, path: Path, origin: float, target: av.container.OutputContainer) -> None:
        """Start at `origin` seconds on the clock of `path`.

        Raises:
            VideoError: the audio codec is not supported.
        """
        import av

        self.source = open_media(path)
        self.damaged = False
        try:
            stream = self.source.streams.audio[0]
            if stream.codec_context is None:
                raise VideoError("The audio codec is not supported, so the audio was left out.")
            self._target, self._origin = target, origin
            self._resampler: av.AudioResampler | None = None
            self._written: int | None = None
            self._track: Any
            # AAC in ADTS framing lacks the header that MP4 requires.
            if stream.codec_context.name == "aac" and stream.codec_context.extradata:
                self._track = target.add_stream_from_template(stream)
            else:
                rate = stream.codec_context.sample_rate
                rate = rate if rate in (22050, 32000, 44100, 48000) else 48000
                layout = "mono" if stream.codec_context.channels == 1 else "stereo"
                self._track = target.add_stream("aac", rate)
                self._track.layout = layout
                self._resampler = av.AudioResampler("fltp", layout, rate, 1024)
            self._stream = stream
            self._packets = self._shifted_packets()
        except BaseException:
            self.source.close()
            raise
        self._next = next(self._packets, None)

    def add(self, until: float) -> None:
        """Write the audio before `until` seconds."""
        while self._next is not None and self._next[0] < until:
            packet = self._next[1]
            if self._resampler is None:
                packet.stream = self._track
                self._target.mux(packet)
            else:
                for part in self._decode(packet):
                    self._encode(part)
            self._next = next(self._packets, None)

    def finish(self) -> None:
        """Flush the encoder."""
        if self._resampler is not None:
            self._encode(None)
            self._target.mux(self._track.encode(None))

    def _decode(self, packet: av.Packet) -> list[av.AudioFrame]:
        import av

        try:
            return self._stream.decode(packet)
        except av.InvalidDataError:
            self.damaged = True
            return []

    def _encode(self, sound: av.AudioFrame | None) -> None:
        assert self._resampler is not None
        for part in self._resampler.resample(sound):
            # Packet times jitter in some files; only a real gap advances the clock.
            stated = round((part.time or 0.0) * part.sample_rate)
            if self._written is None or stated > self._written + _REAL_GAP_S * part.sample_rate:
                self._written = stated
            part.pts, part.time_base = self._written, Fraction(1, part.sample_rate)
            self._written += part.samples
            self._target.mux(self._track.encode(part))

    def _shifted_packets(self) -> Iterator[tuple[float, av.Packet]]:
        """Packets with their time, shifted to the origin of the video; earlier ones are dropped."""
        for packet in self.source.demux(self._stream):
            if packet.dts is None or packet.pts is None or packet.time_base is None:
                continue
            shift = round(self._origin / packet.time_base)
            packet.pts -= shift
            packet.dts -= shift
            if (packet.pts + (packet.duration or 0)) * packet.time_base >= -_PREROLL_S:
                yield float(packet.pts * packet.time_base), packet
