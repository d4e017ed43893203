"""Files without their last bytes, and JPEG files with bytes before the first."""

import io

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFile

from aios.media.decoder import read_photo_apart
from aios.media.photo import PhotoError, read_noted_photo, read_photo
from aios.pipelines.inputs import list_inputs

UPSIDE_DOWN = Image.Exif()
UPSIDE_DOWN[ExifTags.Base.Orientation] = 3
FORMATS = pytest.mark.parametrize(
    ("fmt", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"exif": UPSIDE_DOWN.tobytes()}),
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("PPM", {}),
    ],
    ids=["JPEG", "progressive JPEG", "upside down JPEG", "PNG", "BMP", "TIFF", "PPM"],
)


def encode(fmt, **options):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, fmt, **options)
    return buffer.getvalue()


@FORMATS
def test_photo_without_its_last_bytes_is_read_with_a_note(tmp_path, caplog, fmt, options):
    content = encode(fmt, **options)
    whole = read_noted_photo(content)
    assert whole.note == ""
    path = tmp_path / "beach.jpg"
    path.write_bytes(content[:-60])
    found, note = read_noted_photo(path)
    assert note in (
        "beach.jpg is cut off: its end is missing.",
        "beach.jpg is cut off: 2 % of the picture is missing.",
    )
    assert np.abs(found.astype(int) - whole.pixels).mean() < 8
    caplog.clear()
    read_photo(path)
    assert caplog.messages == [note]
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_jpeg_without_an_end_marker_has_all_its_pixels():
    content = encode("JPEG")
    found, note = read_noted_photo(content[:-2])
    assert np.array_equal(found, read_photo(content))
    assert note == "The photo is cut off: its end is missing."


@FORMATS
def test_half_a_photo_is_refused_or_lacks_detail_alone(fmt, options):
    content = encode(fmt, **options)
    half = content[: len(content) // 2]
    if "progressive" in options:
        assert read_noted_photo(half).note
        return
    with pytest.raises(PhotoError, match=r"^The photo is cut off: [45]. % of the picture"):
        read_photo(half)


def test_note_comes_from_the_decoding_process():
    found, _, note = read_photo_apart(encode("JPEG")[:-2])
    assert np.array_equal(found, read_photo(encode("JPEG")))
    assert note == "The photo is cut off: its end is missing."


@pytest.mark.parametrize(
    "junk", [b"\r\n", b"\xef\xbb\xbf", bytes(100), b"Content-Type: image/jpeg\r\n\r\n"]
)
def test_bytes_before_a_jpeg_are_passed_over(tmp_path, junk):
    content = encode("JPEG")
    path = tmp_path / "photo"
    path.write_bytes(junk + content)
    assert np.array_equal(read_photo(path), read_photo(content))
    assert list_inputs([tmp_path]).photos == [path]


def test_cover_picture_of_a_song_is_no_photo():
    with pytest.raises(PhotoError, match="not a photo but a sound file"):
        read_photo(b"ID3\x03" + bytes(60) + encode("JPEG"))
