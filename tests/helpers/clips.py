"""Small generated videos."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SIZE = (96, 64)


def frame_pixels(index, size=SIZE):
    """A grey image whose shade encodes `index`, with a red mark in the upper left corner."""
    width, height = size
    pixels = np.full((height, width, 3), 40 + 5 * (index % 40), np.uint8)
    pixels[: height // 4, : width // 4] = (230, 20, 20)
    return pixels


def frame_number(pixels):
    """Index, below 40, that the shade of such an image encodes."""
    height, width = pixels.shape[:2]
    return round((float(pixels[height // 2 :, width // 2 :].mean()) - 40) / 5)


def make_clip(
    path,
    count=20,
    size=SIZE,
    rate=10,
    times=None,
    sound=None,
    sound_seconds=None,
    pixels=frame_pixels,
):
    """Write a clip; the container follows the name.

    Args:
        path: ends in .mp4, .mov, .webm, .mkv, .avi, .gif, .ts, .mts, .mpg, .wmv, .flv or .mxf.
        count: number of frames.
        size: width and height.
        rate: frames per second.
        times: seconds of each frame; None for a constant rate.
        sound: codec of a tone; None for no audio.
        sound_seconds: length of the tone; None for that of the video.
        pixels: frame index, size -> (H, W, 3) uint8.
    """
    path = Path(path)
    codec, pixel_format = {
        ".webm": ("libvpx", "yuv420p"),
        ".gif": ("gif", "rgb8"),
        ".avi": ("mpeg4", "yuv420p"),
        ".mpg": ("mpeg2video", "yuv420p"),
        ".mxf": ("mpeg2video", "yuv420p"),
        ".wmv": ("wmv2", "yuv420p"),
    }.get(path.suffix, ("libx264", "yuv420p"))
    options = {"movflags": "+faststart"} if path.suffix in (".mp4", ".mov") else {}
    kind = "mpegts" if path.suffix == ".mts" else None
    if path.suffix == ".mts":
        options = {"mpegts_m2ts_mode": "1"}
    with av.open(str(path), "w", kind, options=options) as container:
        video = container.add_stream(codec, rate, {"g": "5"} if codec == "libx264" else {})
        video.width, video.height, video.pix_fmt = *size, pixel_format
        clock = Fraction(1, 100 if codec == "gif" else 1000)
        if codec in ("mpeg4", "mpeg2video", "wmv2"):
            clock, video.bit_rate = Fraction(1, rate), 3_000_000
        else:
            video.codec_context.time_base = clock
        tone = None if sound is None else add_tone(container, sound)
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(pixels(index, size), "rgb24")
            frame = frame.reformat(format=pixel_format)
            time = index / rate if times is None else times[index]
            frame.pts, frame.time_base = round(time / clock), clock
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if tone is not None:
            seconds = count / rate if times is None else times[-1]
            write_tone(container, tone, sound_seconds or seconds)
    return path


def add_tone(container, codec):
    """Add an audio stream for `write_tone`."""
    stream = container.add_stream(codec, 48000)
    stream.layout = "mono"
    return stream


def write_tone(container, stream, seconds):
    """Write a tone of 440 Hz, and of 880 Hz after the first second."""
    step = stream.codec_context.frame_size or 960
    for start in range(0, int(seconds * 48000), step):
        pitch = 440 if start < 48000 else 880
        wave = 0.3 * np.sin(2 * np.pi * pitch * (start + np.arange(step)) / 48000)
        samples = wave.astype(np.float32)[None]
        kind = stream.codec_context.format.name
        if not kind.startswith("flt"):
            width = int(kind[1:3])
            samples = (samples * (2 ** (width - 1) - 1)).astype(f"int{width}")
        sound = av.AudioFrame.from_ndarray(samples, kind, "mono")
        sound.sample_rate, sound.pts, sound.time_base = 48000, start, Fraction(1, 48000)
        container.mux(stream.encode(sound))
    container.mux(stream.encode(None))


DISPLAY_MATRICES = {
    "none": ((1, 0, 0, 1), lambda pixels: pixels),
    "90": ((0, 1, -1, 0), lambda pixels: np.rot90(pixels, -1)),
    "180": ((-1, 0, 0, -1), lambda pixels: pixels[::-1, ::-1]),
    "270": ((0, -1, 1, 0), lambda pixels: np.rot90(pixels)),
    "mirrored": ((-1, 0, 0, 1), lambda pixels: pixels[:, ::-1]),
    "upside down": ((1, 0, 0, -1), lambda pixels: pixels[::-1]),
    "transposed": ((0, 1, 1, 0), lambda pixels: pixels.transpose(1, 0, 2)),
    "transversed": ((0, -1, -1, 0), lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2)),
}
"""Name -> display matrix (a, b, c, d), which maps stored (p, q) to (a p + c q, b p + d q), and the
stored pixels as a player shows them."""


def set_display_matrix(path, matrix):
    """Write the display matrix (a, b, c, d) of an MP4 file."""
    content = bytearray(Path(path).read_bytes())
    start = content.index(b"tkhd") + 4 + 4 + 4 * 5 + 8 + 2 * 4
    one = 1 << 16
    a, b, c, d = (one * value for value in matrix)
    assert bytes(content[start : start + 4]) == one.to_bytes(4, "big")
    content[start : start + 36] = np.array((a, b, 0, c, d, 0, 0, 0, 1 << 30), ">i4").tobytes()
    Path(path).write_bytes(bytes(content))


def write_streams(path, streams):
    """Write a video with several video streams of 5 frames.

    Args:
        path: the kind of file follows the name.
        streams: for each stream (size, disposition), an `av` disposition name.
    """
    with av.open(str(path), "w") as container:
        opened = []
        for size, disposition in streams:
            video = container.add_stream("libx264", 10)
            video.width, video.height, video.pix_fmt = *size, "yuv420p"
            video.disposition = av.stream.Disposition[disposition] if disposition else 0
            opened.append((video, size))
        for index in range(5):
            for video, size in opened:
                frame = av.VideoFrame.from_ndarray(frame_pixels(index, size), "rgb24")
                frame = frame.reformat(format="yuv420p")
                frame.pts, frame.time_base = index, Fraction(1, 10)
                container.mux(video.encode(frame))
        for video, _ in opened:
            container.mux(video.encode(None))
    return path
