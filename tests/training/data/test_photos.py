"""Photos are read as stored; errors name the file."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from aios.body.model import BodyModel
from tests.helpers.humandata_files import open_set, write_set
from training.data.archive import DataError
from training.data.photos import mean_hands, read_image_as_stored
from training.data.sets import DATA_SETS


def test_photos_are_rgb_and_exif_orientation_is_ignored(tmp_path):
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[..., 0] = 200
    encoded = cv2.imencode(".jpg", picture[..., ::-1])[1].tobytes()
    # EXIF orientation 6: rotate by 90 degrees.
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    marked = encoded[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + encoded[2:]
    (tmp_path / "photo.jpg").write_bytes(marked)
    assert cv2.imread(str(tmp_path / "photo.jpg")).shape == (30, 20, 3)
    again = read_image_as_stored(tmp_path / "photo.jpg")
    assert again.shape == (20, 30, 3)
    assert again[10, 15, 0] > 190 and again[10, 15, 1:].max() < 10


def test_errors_name_the_photo(tmp_path):
    with pytest.raises(DataError, match=r"gone\.png cannot be read: No such file"):
        read_image_as_stored(tmp_path / "gone.png")
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"empty\.png cannot be decoded"):
        read_image_as_stored(tmp_path / "empty.png")


def test_photo_of_another_size_is_refused(tmp_path):
    path = write_set(tmp_path, BodyModel.load())
    cv2.imwrite(str(tmp_path / "synthetic/images/000000.png"), np.zeros((96, 64, 3), np.uint8))
    with pytest.raises(DataError, match=r"000000\.png is 64 x 96 pixels, but annotated as 96 x 64"):
        open_set(path, tmp_path)[0]


def test_set_without_usable_images_is_refused(tmp_path):
    path = write_set(tmp_path, BodyModel.load())
    with pytest.raises(DataError, match="no usable image"):
        hidden = replace(DATA_SETS["synthetic"], box_scale=1e-6)
        open_set(path, tmp_path, hidden)


def test_standin_body_has_no_mean_hands(monkeypatch):
    monkeypatch.delenv("AIOS_SMPLX", raising=False)
    assert mean_hands() is None
