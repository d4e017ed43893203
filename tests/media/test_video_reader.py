"""Reading videos: upright, at their times, and as far as they can be read."""

import numpy as np
import pytest
from PIL import Image

from aios.media.video_reader import VideoError, VideoReader, is_video, list_videos, open_media
from tests.helpers.clips import SIZE, frame_number, frame_pixels, make_clip, turn_by_metadata


def read(path, **arguments):
    with VideoReader(path, **arguments) as reader:
        return reader, list(reader)


def numbers(frames):
    return [frame_number(frame.pixels) for frame in frames]


def times(frames):
    return [round(frame.time, 3) for frame in frames]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".webm", ".mkv", ".avi", ".gif"])
def test_every_kind_of_file(tmp_path, suffix):
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
def test_any_size(tmp_path, size):
    # An MP4 cannot have odd sides, a GIF can.
    reader, frames = read(make_clip(tmp_path / "clip.gif", 3, size))
    assert frames[0].pixels.shape == (size[1], size[0], 3)


def test_variable_frame_rate_keeps_its_times(tmp_path):
    given = [0.0, 0.04, 0.08, 0.5, 0.52, 1.4, 1.44]
    reader, frames = read(make_clip(tmp_path / "clip.mp4", 7, times=given))
    assert times(frames) == given
    assert numbers(frames) == list(range(7))


def test_a_highest_rate_passes_frames_over(tmp_path):
    path = make_clip(tmp_path / "clip.mp4", 30, rate=30)
    reader, frames = read(path, max_rate=10)
    assert numbers(frames) == list(range(0, 30, 3))
    assert reader.expected_frames == 10
    _, frames = read(path, max_rate=12)
    assert len(frames) == 12
    _, frames = read(path, max_rate=100)
    assert len(frames) == 30


def test_a_longest_time_stops(tmp_path):
    reader, frames = read(make_clip(tmp_path / "clip.mp4", 30), max_seconds=1.0)
    assert numbers(frames) == list(range(10))
    assert reader.expected_frames == 10
    assert reader.problem == ""


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_frames_stand_upright(tmp_path, quarters):
    path = make_clip(tmp_path / "clip.mp4", 2)
    turn_by_metadata(path, quarters)
    reader, frames = read(path)
    expected = np.rot90(frame_pixels(0), -quarters)
    assert (reader.info.height, reader.info.width) == expected.shape[:2]
    assert np.abs(frames[0].pixels.astype(int) - expected).mean() < 8


def test_a_cut_off_tail_is_kept_until_there_and_said(tmp_path):
    path = make_clip(tmp_path / "clip.mp4", 40, rate=10, pixels=noisy)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 6 // 10])
    reader, frames = read(path)
    assert 15 <= len(frames) <= 30
    assert f"clip.mp4 can be read up to {frames[-1].time:.1f} of 4.0 seconds" in reader.problem
    assert f"the {len(frames)} frames" in reader.problem


@pytest.mark.parametrize("name", ["clip.mp4", "clip.webm", "clip.mkv"])
def test_sound_that_goes_on_is_no_lack_of_pictures(tmp_path, name):
    sound = "libopus" if name == "clip.webm" else "aac"
    reader, frames = read(make_clip(tmp_path / name, 10, sound=sound, sound_seconds=4.0))
    assert len(frames) == 10
    assert reader.info.duration == pytest.approx(1.0, abs=0.11)
    assert reader.problem == ""


def test_a_cut_off_webm_is_said_too(tmp_path):
    path = make_clip(tmp_path / "clip.webm", 60, sound="libopus", pixels=noisy)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    reader, frames = read(path)
    assert 10 < len(frames) < 50
    assert "of 6.0 seconds" in reader.problem


def test_damage_in_the_middle_costs_only_that(tmp_path):
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
    """Pictures that take many bytes."""
    return np.random.default_rng(index).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)


def no_table(path):
    """An MP4 whose table of contents was never written."""
    content = make_clip(path, 10).read_bytes()
    path.write_bytes(content.replace(b"moov", b"junk"))


def sound_alone(path):
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
        (lambda path: None, "There is no file"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b"no video" * 99), "is not a video that can be read"),
        (lambda path: path.mkdir(), "cannot be read: Is a directory"),
        (no_table, "is not a video that can be read"),
        (sound_alone, "has no pictures"),
        (playlist, "is not a video that can be read"),
        (concatenation, "is not a video that can be read"),
        (lambda path: Image.new("RGB", (9, 9)).save(path, "PNG"), "is not a video"),
    ],
)
def test_what_is_no_video_is_a_sentence(tmp_path, write, sentence):
    path = tmp_path / "clip.mp4"
    write(path)
    with pytest.raises(VideoError, match=sentence) as caught:
        VideoReader(path)
    assert "clip.mp4" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_too_large_and_too_narrow_are_refused(tmp_path, monkeypatch):
    with pytest.raises(VideoError, match="too narrow"):
        VideoReader(make_clip(tmp_path / "clip.gif", 2, (300, 4)))
    monkeypatch.setattr("aios.media.video_reader.MAX_PIXELS", 1000)
    with pytest.raises(VideoError, match="96x64 pixels: make it smaller"):
        VideoReader(make_clip(tmp_path / "clip.mp4", 2))


def test_names_are_files_and_never_addresses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_clip(tmp_path / "a.mp4", 2).rename(tmp_path / "pipe:0.mp4")
    open_media("pipe:0.mp4").close()


def test_which_files_are_videos(tmp_path):
    make_clip(tmp_path / "moves.gif", 3)
    Image.new("RGB", (9, 9)).save(tmp_path / "still.gif")
    (tmp_path / "broken.gif").write_bytes(b"GIF89a")
    assert is_video(tmp_path / "moves.gif")
    assert not is_video(tmp_path / "still.gif")
    assert not is_video(tmp_path / "broken.gif")
    assert is_video(tmp_path / "NOT_THERE.MP4")
    assert not is_video(tmp_path / "photo.jpg")


def test_videos_of_folders_and_names(tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    for name in ("b.mp4", "a.WEBM", ".hidden.mp4", "photo.jpg", "notes.txt"):
        (folder / name).write_bytes(b"x")
    (folder / "folder.mp4").mkdir()
    named = [folder / "b.mp4", folder, tmp_path / "missing.mov", tmp_path / "photo.jpg"]
    found = [path.name for path in list_videos(named)]
    assert found == ["b.mp4", "a.WEBM", "missing.mov"]
