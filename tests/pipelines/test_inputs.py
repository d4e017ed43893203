"""Inputs of a job: photos, videos and skipped files, by content."""

import io

import numpy as np
import pytest
from PIL import Image

from aios.pipelines.inputs import list_inputs
from tests.helpers.clips import frame_pixels, make_clip


def encode(fmt, **options):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, fmt, **options)
    return buffer.getvalue()


def names(paths):
    return [path.name for path in paths]


def test_files_of_a_folder_are_sorted_by_content(tmp_path):
    for name, content in {
        "a.png": encode("PNG"),
        "b": encode("JPEG"),
        "c.dat": encode("TIFF"),
        "d.ppm": encode("PPM"),
        "e.gif": encode("GIF"),
        "f.jpg": encode("WEBP"),
    }.items():
        (tmp_path / name).write_bytes(content)
    make_clip(tmp_path / "k.mts", 3, (160, 96), rate=25)
    make_clip(tmp_path / "moves.gif", 3)
    make_clip(tmp_path / "l.mp4", 3).rename(tmp_path / "l.jpg")
    images = [Image.fromarray(frame_pixels(index)) for index in range(3)]
    images[0].save(tmp_path / "m.png", save_all=True, append_images=images[1:])
    images[0].save(tmp_path / "n.apng", "PNG", save_all=True, append_images=images[1:])
    found = list_inputs([tmp_path])
    assert names(found.photos) == ["a.png", "b", "c.dat", "d.ppm", "e.gif", "f.jpg"]
    assert names(found.videos) == ["k.mts", "l.jpg", "m.png", "moves.gif", "n.apng"]
    assert found.skipped == []


def test_everything_else_in_a_folder_is_skipped_with_a_reason(tmp_path):
    (tmp_path / "notes.txt").write_text("text")
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7")
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04")
    (tmp_path / "a.jxl").write_bytes(b"\0\0\0\x0cJXL ")
    (tmp_path / ".hidden.jpg").write_bytes(encode("JPEG"))
    (tmp_path / "inner").mkdir()
    (tmp_path / "empty.txt").touch()
    (tmp_path / "broken link.jpg").symlink_to(tmp_path / "gone.jpg")
    found = list_inputs([tmp_path])
    assert (found.photos, found.videos) == ([], [])
    assert dict(found.skipped) == {
        "notes.txt": "not a photo or video",
        "a.pdf": "PDF document, not a photo or video",
        "a.zip": "ZIP archive, not a photo or video",
        "a.jxl": "JPEG XL image, not a photo or video",
        ".hidden.jpg": "hidden file",
        "inner": "folder; only files directly in a given folder are processed",
        "empty.txt": "not a photo or video",
        "broken link.jpg": "not a regular file",
    }


def test_broken_photos_and_videos_of_a_folder_are_not_skipped(tmp_path):
    for name in ("a.jpg", "b.heic", "c.CR2", "d.mp4", "e.m2ts"):
        (tmp_path / name).write_bytes(b"unreadable")
    found = list_inputs([tmp_path])
    assert names(found.photos) == ["a.jpg", "b.heic", "c.CR2"]
    assert names(found.videos) == ["d.mp4", "e.m2ts"]
    assert found.skipped == []


def test_given_files_are_never_skipped(tmp_path):
    text, missing = tmp_path / "notes.txt", tmp_path / "missing.jpg"
    clip, hidden = tmp_path / "missing.MP4", tmp_path / ".hidden.png"
    text.write_text("text")
    hidden.write_bytes(encode("PNG"))
    found = list_inputs([text, missing, clip, hidden])
    assert found.photos == [text, missing, hidden]
    assert found.videos == [clip]


def test_file_given_twice_is_listed_once(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(encode("PNG"))
    found = list_inputs([tmp_path / "b.png", tmp_path])
    assert names(found.photos) == ["b.png", "a.png"]


@pytest.mark.parametrize("fmt", ["PNG", "GIF"])
def test_damaged_animation_is_read_as_a_photo(tmp_path, fmt):
    (tmp_path / "a.dat").write_bytes(encode(fmt)[:20])
    assert names(list_inputs([tmp_path]).photos) == ["a.dat"]


def test_raw_array_is_not_mistaken_for_a_photo(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    assert [name for name, _ in list_inputs([tmp_path]).skipped] == ["a.npy"]
