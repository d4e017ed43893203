"""Reading videos: orientation, times, damage, limits, choice of the stream."""

import numpy as np
import pytest
from PIL import Image

from aios.media.container import VideoError, open_media
from aios.media.video_reader import VideoReader
from tests.helpers.clips import (
    DISPLAY_MATRICES,
    SIZE,
    frame_number,
    frame_pixels,
    make_clip,
    set_display_matrix,
    write_streams,
)


def read(path, **arguments):
    with VideoReader(path, **arguments) as reader:
        return reader, list(reader)


def numbers(frames):
    return [frame_number(frame.pixels) for frame in frames]


def times(frames):
    return [round(frame.time, 3) for frame in frames]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".webm", ".mkv", ".avi", ".gif"])
def test_every_container_is_read(tmp_path, suffix):
    path = make_clip(tmp_path / f"clip{suffix}", count=12)
    reader, frames = read(path)
    assert (reader.info.width, reader.info.height) == SIZE
    assert reader.info.rate == pytest.approx(10, rel=0.02)
    assert reader.info.duration == pytest.approx(1.2, abs=0.11)
    assert abs(reader.expected_frames - 12) <= 1
    assert not reader.info.has_sound
    assert reader.problem == ""
    assert numbers(frames) == list(range(12))
    np.testing.assert_allclose(np.diff(times(frames)), 0.1, atol=2e-3)
    pixels = frames[5].pixels
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    wanted = frame_pixels(5).astype(int)
    allowed = 40 if suffix == ".gif" else 6  # a fixed table of 256 colours, dithered
    for part in (np.s_[20:, 40:], np.s_[2:10, 2:10]):
        error = pixels[part].mean((0, 1)) - wanted[part].mean((0, 1))
        assert np.abs(error).max() < allowed


@pytest.mark.parametrize("size", [(17, 23), (2, 2), (300, 20)])
def test_odd_and_extreme_sizes_are_read(tmp_path, size):
    # An MP4 cannot have odd sides, a GIF can.
    reader, frames = read(make_clip(tmp_path / "clip.gif", 3, size))
    assert frames[0].pixels.shape == (size[1], size[0], 3)


def test_times_of_a_variable_frame_rate_are_kept(tmp_path):
    given = [0.0, 0.04, 0.08, 0.5, 0.52, 1.4, 1.44]
    reader, frames = read(make_clip(tmp_path / "clip.mp4", 7, times=given))
    assert times(frames) == given
    assert numbers(frames) == list(range(7))


def test_max_rate_drops_frames(tmp_path):
    path = make_clip(tmp_path / "clip.mp4", 30, rate=30)
    reader, frames = read(path, max_rate=10)
    assert numbers(frames) == list(range(0, 30, 3))
    assert reader.expected_frames == 10
    _, frames = read(path, max_rate=12)
    assert len(frames) == 12
    _, frames = read(path, max_rate=100)
    assert len(frames) == 30


def test_max_seconds_ends_reading(tmp_path):
    reader, frames = read(make_clip(tmp_path / "clip.mp4", 30), max_seconds=1.0)
    assert numbers(frames) == list(range(10))
    assert reader.expected_frames == 10
    assert reader.problem == ""


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".mkv", ".avi", ".gif", ".ts"])
def test_start_drops_earlier_frames_and_times_count_from_there(tmp_path, suffix):
    path = make_clip(tmp_path / f"clip{suffix}", 30)
    reader, frames = read(path, start_seconds=1.2, max_seconds=0.5)
    assert numbers(frames) == list(range(12, 17))
    np.testing.assert_allclose(times(frames), np.arange(5) / 10, atol=2e-3)
    assert times(frames)[0] == 0
    assert reader.expected_frames == 5
    reader, frames = read(path, start_seconds=1.2)
    assert numbers(frames) == list(range(12, 30))
    assert reader.info.duration == pytest.approx(1.8, abs=0.11)
    assert reader.problem == ""


def test_start_between_frames_of_a_variable_rate_keeps_the_times_of_later_frames(tmp_path):
    given = [0.0, 0.04, 0.08, 0.5, 0.52, 1.4, 1.44]
    path = make_clip(tmp_path / "clip.mp4", 7, times=given)
    _, frames = read(path, start_seconds=0.3)
    assert numbers(frames) == [3, 4, 5, 6]
    assert times(frames) == [0.2, 0.22, 1.1, 1.14]


def test_start_and_max_rate_are_combined(tmp_path):
    path = make_clip(tmp_path / "clip.mp4", 30, rate=30)
    _, frames = read(path, start_seconds=0.5, max_rate=10)
    assert numbers(frames) == [15, 18, 21, 24, 27]


@pytest.mark.parametrize("start", [2.0, 5000.0])
def test_start_after_the_end_is_refused_in_one_sentence(tmp_path, start):
    path = make_clip(tmp_path / "clip.mp4", 20)
    with pytest.raises(VideoError, match=rf"^clip.mp4 ends before {start:g} s: start earlier\.$"):
        VideoReader(path, start_seconds=start)


def test_truncated_file_is_reported_in_seconds_of_the_file_with_a_start(tmp_path):
    path = make_clip(tmp_path / "clip.mp4", 40, rate=10, pixels=noisy)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 6 // 10])
    reader, frames = read(path, start_seconds=1.0)
    assert f"up to {frames[-1].time + 1:.1f} of 4.0 seconds" in reader.problem


@pytest.mark.parametrize("name", DISPLAY_MATRICES)
def test_display_matrix_is_applied(tmp_path, name):
    matrix, shown = DISPLAY_MATRICES[name]
    path = make_clip(tmp_path / "clip.mp4", 2)
    set_display_matrix(path, matrix)
    reader, frames = read(path)
    expected = shown(frame_pixels(0))
    assert (reader.info.height, reader.info.width) == expected.shape[:2]
    assert np.abs(frames[0].pixels.astype(int) - expected).mean() < 8


def test_truncated_file_is_read_up_to_there_and_reported(tmp_path):
    path = make_clip(tmp_path / "clip.mp4", 40, rate=10, pixels=noisy)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 6 // 10])
    reader, frames = read(path)
    assert 15 <= len(frames) <= 30
    assert f"clip.mp4 can be read up to {frames[-1].time:.1f} of 4.0 seconds" in reader.problem
    assert f"the {len(frames)} frames" in reader.problem


@pytest.mark.parametrize("name", ["clip.mp4", "clip.webm", "clip.mkv"])
def test_longer_audio_is_not_reported_as_missing_video(tmp_path, name):
    sound = "libopus" if name == "clip.webm" else "aac"
    reader, frames = read(make_clip(tmp_path / name, 10, sound=sound, sound_seconds=4.0))
    assert len(frames) == 10
    assert reader.info.duration == pytest.approx(1.0, abs=0.11)
    assert reader.problem == ""


def test_truncated_webm_is_reported(tmp_path):
    path = make_clip(tmp_path / "clip.webm", 60, sound="libopus", pixels=noisy)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    reader, frames = read(path)
    assert 10 < len(frames) < 50
    assert "of 6.0 seconds" in reader.problem


def test_damage_in_the_middle_loses_only_that_part(tmp_path):
    path = make_clip(tmp_path / "clip.mp4", 40, rate=10, pixels=noisy)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = bytes(3000)
    path.write_bytes(bytes(content))
    reader, frames = read(path)
    assert len(frames) >= 30
    assert frames[-1].time == pytest.approx(3.9, abs=0.01)
    assert "damaged in places" in reader.problem


def noisy(index, size):
    """Noise, which takes many bytes per frame."""
    return np.random.default_rng(index).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)


def without_index(path):
    """An MP4 whose index was never written."""
    content = make_clip(path, 10).read_bytes()
    path.write_bytes(content.replace(b"moov", b"junk"))


def audio_alone(path):
    import av

    from tests.helpers.clips import add_tone, write_tone

    with av.open(str(path), "w") as container:
        write_tone(container, add_tone(container, "aac"), 0.3)


def playlist(path):
    (path.parent / "other.mp4").write_bytes(make_clip(path.parent / "o.mp4", 3).read_bytes())
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nother.mp4\n#EXT-X-ENDLIST\n")


def concatenation(path):
    make_clip(path.parent / "other.mp4", 3)
    path.write_text("ffconcat version 1.0\nfile other.mp4\n")


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b"no video" * 99), "is not a video that can be read"),
        (lambda path: path.mkdir(), "cannot be read: Is a directory"),
        (without_index, "is not a video that can be read"),
        (audio_alone, "has no pictures"),
        (playlist, "is not a video that can be read"),
        (concatenation, "is not a video that can be read"),
        (lambda path: Image.new("RGB", (9, 9)).save(path, "PNG"), "is not a video"),
    ],
)
def test_file_that_is_not_a_video_is_refused_in_one_sentence(tmp_path, write, sentence):
    path = tmp_path / "clip.mp4"
    write(path)
    with pytest.raises(VideoError, match=sentence) as caught:
        VideoReader(path)
    assert "clip.mp4" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_too_large_and_too_narrow_videos_are_refused(tmp_path, monkeypatch):
    with pytest.raises(VideoError, match="too narrow"):
        VideoReader(make_clip(tmp_path / "clip.gif", 2, (300, 4)))
    monkeypatch.setattr("aios.media.video_reader.MAX_PIXELS", 1000)
    with pytest.raises(VideoError, match="96x64 pixels: make it smaller"):
        VideoReader(make_clip(tmp_path / "clip.mp4", 2))


def test_name_is_never_taken_for_an_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_clip(tmp_path / "a.mp4", 2).rename(tmp_path / "pipe:0.mp4")
    open_media("pipe:0.mp4").close()


@pytest.mark.parametrize("suffix", [".ts", ".mts", ".mpg", ".wmv", ".flv", ".mxf"])
def test_containers_of_cameras_and_old_programs_are_read(tmp_path, suffix):
    reader, frames = read(make_clip(tmp_path / f"clip{suffix}", 12, (160, 96), rate=25))
    assert numbers(frames) == list(range(12))
    np.testing.assert_allclose(np.diff(times(frames)), 0.04, atol=2e-3)
    assert reader.problem == ""


def test_animated_png_is_read(tmp_path):
    images = [Image.fromarray(frame_pixels(index)) for index in range(4)]
    images[0].save(tmp_path / "a.png", save_all=True, append_images=images[1:], duration=100)
    _, frames = read(tmp_path / "a.png")
    assert numbers(frames) == [0, 1, 2, 3]


PREVIEW, FULL = (32, 24), (96, 64)


MARKED = (
    [(PREVIEW, "default"), (FULL, "default")],
    [(PREVIEW, ""), (FULL, "default")],
    [((160, 120), ""), (FULL, "default")],
)
# MOV always marks a stream as default.
STREAMS = [(".mkv", [(PREVIEW, ""), (FULL, "")])]
STREAMS += [(suffix, streams) for suffix in (".mkv", ".mov") for streams in MARKED]


@pytest.mark.parametrize(("suffix", "streams"), STREAMS)
def test_stream_that_players_show_is_read(tmp_path, suffix, streams):
    reader, frames = read(write_streams(tmp_path / f"a{suffix}", streams))
    assert (reader.info.width, reader.info.height) == FULL
    assert numbers(frames) == list(range(5))


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".ts", ".flv"])
def test_clock_that_starts_late_is_shifted_to_zero(tmp_path, suffix):
    late = [10 + index / 10 for index in range(10)]
    reader, frames = read(make_clip(tmp_path / f"a{suffix}", 10, times=late))
    np.testing.assert_allclose(times(frames), np.arange(10) / 10, atol=2e-3)
    assert reader.info.duration == pytest.approx(1.0, abs=0.25)
    assert reader.expected_frames <= 13
    assert reader.problem == ""


def test_name_that_is_not_utf8_is_read(tmp_path):
    path = tmp_path / "M\udcfcnchen.mp4"
    path.write_bytes(make_clip(tmp_path / "a.mp4", 3).read_bytes())
    reader, frames = read(path)
    assert len(frames) == 3
    path.write_bytes(b"no video")
    with pytest.raises(VideoError, match="M\ufffdnchen.mp4 is not a video"):
        read(path)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null"])
def test_device_is_refused(path):
    with pytest.raises(VideoError, match="is not a regular file"):
        VideoReader(path)


def test_skipped_frames_can_be_interrupted(tmp_path):
    """Thousands of frames within a millisecond are dropped, and the job can still be stopped."""
    path = make_clip(tmp_path / "dense.mkv", 120, rate=1000)

    def stop():
        raise InterruptedError

    with VideoReader(path, max_rate=1.0, on_skip=stop) as reader, pytest.raises(InterruptedError):
        for _ in reader:
            pass
    with VideoReader(path, max_rate=1.0) as reader:
        assert len(list(reader)) == 1
    with pytest.raises(InterruptedError):
        VideoReader(path, on_skip=stop, start_seconds=0.1)


def test_pictures_that_grow_are_dropped(tmp_path):
    """A decoder holds a picture per thread, so that growing pictures take gigabytes."""
    small = make_clip(tmp_path / "small.ts", 5, (64, 48)).read_bytes()
    large = make_clip(tmp_path / "large.ts", 5, (1600, 1200)).read_bytes()
    path = tmp_path / "grows.ts"
    path.write_bytes(small + large)
    with VideoReader(path) as reader:
        frames = list(reader)
        assert 1 <= len(frames) <= 5 and reader.problem
    assert {frame.pixels.shape for frame in frames} == {(48, 64, 3)}
