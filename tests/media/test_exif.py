"""Field of view from EXIF data."""

import io
import math

import numpy as np
import pytest
from PIL import ExifTags, Image

from aios.media.exif import exif_field_of_view
from tests.helpers.image_files import heic

FOCAL_35MM = 26
LANDSCAPE = 67.3
"""Degrees across the longer side of a 4:3 photo taken with 26 mm."""


def photo(size=(400, 300), focal=FOCAL_35MM, written=None, orientation=1, kind="JPEG"):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    details = exif.get_ifd(ExifTags.IFD.Exif)
    if focal is not None:
        details[ExifTags.Base.FocalLengthIn35mmFilm] = focal
    if written is not None:
        details[ExifTags.Base.ExifImageWidth], details[ExifTags.Base.ExifImageHeight] = written
    if kind == "HEIF":
        return heic(Image.new("RGB", size), exif=exif.tobytes())
    content = io.BytesIO()
    Image.new("RGB", size).save(content, kind, exif=exif.tobytes())
    return content.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIF"])
@pytest.mark.parametrize(
    ("size", "written", "orientation"),
    [
        ((400, 300), None, 1),
        ((400, 300), (4000, 3000), 1),
        ((400, 300), (4000, 3000), 6),
        ((300, 400), (4000, 3000), 1),
    ],
)
def test_focal_length_refers_to_the_diagonal(kind, size, written, orientation):
    content = photo(size, written=written, orientation=orientation, kind=kind)
    assert exif_field_of_view(content) == pytest.approx(LANDSCAPE, abs=0.5)


def test_film_format_itself():
    expected = math.degrees(2 * math.atan(36 / 2 / 50))
    assert exif_field_of_view(photo((360, 240), 50)) == pytest.approx(expected)


def test_path_and_image_give_the_same(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(photo())
    assert exif_field_of_view(path) == exif_field_of_view(Image.open(path)) is not None


@pytest.mark.parametrize(
    "source",
    [
        photo(focal=None),
        photo(focal=0),
        photo(focal=3),
        photo(focal=65535),
        photo((300, 300), written=(4000, 3000)),
        b"no photo",
        "nothing/here.jpg",
        np.zeros((4, 4, 3), np.uint8),
    ],
    ids=["without", "zero", "short", "long", "cropped", "bytes", "missing", "array"],
)
def test_photo_without_a_usable_focal_length_has_none(source):
    assert exif_field_of_view(source) is None
