"""Writing videos: playable, with the times and the audio of the source."""

import av
import numpy as np
import pytest

from aios.media.video_reader import VideoReader
from aios.media.video_writer import MAX_SIDE_PX, VideoWriter, playable_size
from tests.helpers.clips import SIZE, frame_number, frame_pixels, make_clip


def rewrite(source, target, **part):
    """Copy frames and audio into a new file."""
    with VideoReader(source, **part) as reader:
        sound = (source, reader.info.origin) if reader.info.has_sound else None
        with VideoWriter(target, *SIZE, reader.info.rate, sound) as writer:
            for frame in reader:
                writer.write(frame.pixels, frame.time)
            writer.close(frame.time + 1 / reader.info.rate)
    return writer


def probe(path):
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        sound = [
            (s.codec_context.name, float(s.duration * s.time_base), s.codec_context.sample_rate)
            for s in container.streams.audio
        ]
        return video.codec_context.name, video.pix_fmt, sound


def loudest_frequency(path, start, end):
    """Hz, of the audio between two times in seconds."""
    with av.open(str(path)) as container:
        parts = [
            (frame.time, frame.to_ndarray()[0], frame.sample_rate)
            for frame in container.decode(audio=0)
        ]
    wave = np.concatenate([part for time, part, _ in parts if start <= time < end])
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    return spectrum.argmax() * parts[0][2] / len(wave)


def test_written_video_is_playable_and_equal(tmp_path):
    source = make_clip(tmp_path / "a.mp4", 15)
    rewrite(source, tmp_path / "b.mp4")
    assert probe(tmp_path / "b.mp4") == ("h264", "yuv420p", [])
    with VideoReader(tmp_path / "b.mp4") as reader:
        frames = list(reader)
    assert [frame_number(frame.pixels) for frame in frames] == list(range(15))
    np.testing.assert_allclose([f.time for f in frames], np.arange(15) / 10, atol=1e-3)
    error = np.abs(frames[7].pixels.astype(int) - frame_pixels(7))
    assert error.mean() < 3
    assert error[4:12, 4:16].max() < 12  # the red mark
    content = (tmp_path / "b.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_uneven_times_are_kept(tmp_path):
    given = [0.0, 0.04, 0.5, 0.52, 1.4]
    rewrite(make_clip(tmp_path / "a.mp4", 5, times=given), tmp_path / "b.mp4")
    with VideoReader(tmp_path / "b.mp4") as reader:
        np.testing.assert_allclose([frame.time for frame in reader], given, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "aac"), ("a.webm", "libopus"), ("a.avi", "mp3"), ("a.mkv", "pcm_s16le")],
)
def test_audio_is_copied_or_converted(tmp_path, name, codec):
    source = make_clip(tmp_path / name, 20, sound=codec)
    writer = rewrite(source, tmp_path / "b.mp4")
    assert writer.sound_problem == ""
    _, _, [(found, duration, _)] = probe(tmp_path / "b.mp4")
    assert found == "aac"
    assert duration == pytest.approx(2.0, abs=0.15)
    for start, pitch in ((0.2, 440), (1.2, 880)):
        assert loudest_frequency(tmp_path / "b.mp4", start, start + 0.6) == pytest.approx(
            pitch, abs=5
        )


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "aac"), ("a.webm", "libopus"), ("a.avi", "mp3"), ("a.mkv", "pcm_s16le")],
)
def test_audio_before_the_start_of_a_part_is_dropped(tmp_path, name, codec):
    source = make_clip(tmp_path / name, 30, sound=codec)
    writer = rewrite(source, tmp_path / "b.mp4", start_seconds=0.5, max_seconds=1.5)
    assert writer.sound_problem == ""
    with VideoReader(source) as reader:
        kept = [frame for frame in reader if 0.5 - 1e-3 <= frame.time < 2.0]
    with VideoReader(tmp_path / "b.mp4") as reader:
        frames = list(reader)
    assert len(frames) == 15
    numbers = [[frame_number(frame.pixels) for frame in part] for part in (frames, kept)]
    assert numbers[0] == numbers[1]
    np.testing.assert_allclose([f.time for f in frames], [f.time - 0.5 for f in kept], atol=2e-3)
    _, _, [(_, duration, _)] = probe(tmp_path / "b.mp4")
    assert duration == pytest.approx(1.5, abs=0.15)
    # The tone changes one second after the start of the source.
    assert loudest_frequency(tmp_path / "b.mp4", 0.0, 0.4) == pytest.approx(440, abs=8)
    assert loudest_frequency(tmp_path / "b.mp4", 0.6, 1.2) == pytest.approx(880, abs=8)


def test_aac_is_copied_bit_by_bit(tmp_path):
    source = make_clip(tmp_path / "a.mp4", 20, sound="aac")
    rewrite(source, tmp_path / "b.mp4")

    def packets(path):
        with av.open(str(path)) as container:
            return [bytes(packet) for packet in container.demux(audio=0) if packet.size]

    copied = packets(tmp_path / "b.mp4")
    assert len(copied) > 80
    assert copied == packets(source)[: len(copied)]


def test_audio_of_a_part_ends_with_it(tmp_path):
    source = make_clip(tmp_path / "a.mp4", 40, sound="aac")
    with (
        VideoReader(source, max_seconds=1.0) as reader,
        VideoWriter(tmp_path / "b.mp4", *SIZE, 10, (source, 0.0)) as writer,
    ):
        for frame in reader:
            writer.write(frame.pixels, frame.time)
        writer.close(1.0)
    _, _, [(_, duration, _)] = probe(tmp_path / "b.mp4")
    assert duration == pytest.approx(1.0, abs=0.1)


def test_damaged_audio_is_reported_and_video_kept(tmp_path):
    source = make_clip(tmp_path / "a.mkv", 40, sound="flac")
    content = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        places = [content.find(bytes(p)) for p in container.demux(audio=0) if p.size > 20]
    for place in places[2:]:
        content[place : place + 20] = bytes(20)
    source.write_bytes(bytes(content))
    writer = rewrite(source, tmp_path / "b.mp4")
    assert writer.sound_problem == "Damaged parts of the audio were left out."
    with VideoReader(tmp_path / "b.mp4") as reader:
        assert len(list(reader)) == 40


def test_audio_that_cannot_be_written_is_reported(tmp_path, monkeypatch):
    source = make_clip(tmp_path / "a.mp4", 20, sound="aac")

    def refuse(self, until):
        if until > 1:
            raise av.InvalidDataError(1, "no")

    monkeypatch.setattr("aios.media.video_writer._Sound.add", refuse)
    writer = rewrite(source, tmp_path / "b.mp4")
    assert writer.sound_problem == "The audio was kept only up to 1.1 seconds."
    with VideoReader(tmp_path / "b.mp4") as reader:
        assert len(list(reader)) == 20


def test_failed_writing_leaves_no_file(tmp_path):
    source = make_clip(tmp_path / "a.mp4", 5, sound="aac")
    for frames in (0, 3):
        with pytest.raises(KeyboardInterrupt):
            with VideoWriter(tmp_path / "b.mp4", *SIZE, 10, (source, 0.0)) as writer:
                for index in range(frames):
                    writer.write(frame_pixels(index), index / 10)
                raise KeyboardInterrupt
        assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_missing_folder_raises_os_error(tmp_path):
    with pytest.raises(OSError), VideoWriter(tmp_path / "missing" / "b.mp4", *SIZE, 10) as writer:
        writer.write(frame_pixels(0), 0.0)
        writer.close(0.1)


def test_playable_size_is_even_and_bounded():
    assert playable_size(1280, 720) == (1280, 720)
    assert playable_size(17, 23) == (16, 24) or playable_size(17, 23) == (18, 24)
    assert playable_size(1, 1) == (2, 2)
    assert playable_size(3840, 2160) == (MAX_SIDE_PX, 1080)
    assert playable_size(1000, 9000)[1] == MAX_SIDE_PX
    assert all(side % 2 == 0 for width in range(1, 60) for side in playable_size(width, 77))
