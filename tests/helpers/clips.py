"""Small videos made on the fly."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SIZE = (96, 64)


def frame_pixels(index, size=SIZE):
    """A grey picture that says which frame it is by its shade, with a red mark in its corner."""
    width, height = size
    pixels = np.full((height, width, 3), 40 + 5 * (index % 40), np.uint8)
    pixels[: height // 4, : width // 4] = (230, 20, 20)
    return pixels


def frame_number(pixels):
    """The index, up to 40, that such a picture says."""
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
    """Write a clip; the kind of file follows the name.

    Args:
        path: ends in .mp4, .mov, .webm, .mkv, .avi or .gif.
        count: of frames.
        size: width and height.
        rate: frames a second.
        times: seconds of each frame; None for even steps.
        sound: codec of a tone, None for none.
        sound_seconds: how long it is; None for as long as the pictures.
        pixels: frame index, size -> (H, W, 3) uint8.
    """
    path = Path(path)
    codec, pixel_format = {
        ".webm": ("libvpx", "yuv420p"),
        ".gif": ("gif", "rgb8"),
        ".avi": ("mpeg4", "yuv420p"),
    }.get(path.suffix, ("libx264", "yuv420p"))
    options = {"movflags": "+faststart"} if path.suffix in (".mp4", ".mov") else {}
    with av.open(str(path), "w", options=options) as container:
        video = container.add_stream(codec, rate, {"g": "5"} if codec == "libx264" else {})
        video.width, video.height, video.pix_fmt = *size, pixel_format
        clock = Fraction(1, 100 if codec == "gif" else 1000)
        if codec == "mpeg4":
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
    """A sound track for `write_tone`."""
    stream = container.add_stream(codec, 48000)
    stream.layout = "mono"
    return stream


def write_tone(container, stream, seconds):
    """440 Hz."""
    step = stream.codec_context.frame_size or 960
    for start in range(0, int(seconds * 48000), step):
        wave = 0.3 * np.sin(2 * np.pi * 440 * (start + np.arange(step)) / 48000)
        samples = wave.astype(np.float32)[None]
        kind = stream.codec_context.format.name
        if not kind.startswith("flt"):
            width = int(kind[1:3])
            samples = (samples * (2 ** (width - 1) - 1)).astype(f"int{width}")
        sound = av.AudioFrame.from_ndarray(samples, kind, "mono")
        sound.sample_rate, sound.pts, sound.time_base = 48000, start, Fraction(1, 48000)
        container.mux(stream.encode(sound))
    container.mux(stream.encode(None))


def turn_by_metadata(path, quarter_turns):
    """Write the display matrix of an MP4 so that players turn it clockwise."""
    content = bytearray(Path(path).read_bytes())
    place = content.index(b"tkhd") + 4 + 4 + 4 * 5 + 8 + 2 * 4
    one = 1 << 16
    rows = {
        0: (one, 0, 0, one),
        1: (0, one, -one, 0),
        2: (-one, 0, 0, -one),
        3: (0, -one, one, 0),
    }[quarter_turns]
    matrix = (rows[0], rows[1], 0, rows[2], rows[3], 0, 0, 0, 1 << 30)
    assert bytes(content[place : place + 4]) == one.to_bytes(4, "big")
    content[place : place + 36] = np.array(matrix, ">i4").tobytes()
    Path(path).write_bytes(bytes(content))
