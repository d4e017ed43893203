"""The run over a folder of odd files."""

import os
import time
import zipfile

import pytest

from aios.media.photo import PhotoError
from tests.field import in_child, process
from tests.helpers.clips import make_clip
from tests.helpers.served import save_photo, tiny_predictor

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def predictor():
    return tiny_predictor()


def test_every_kind_of_file_is_processed(predictor, tmp_path):
    photo, out = save_photo(tmp_path / "a.png"), tmp_path / "out"
    out.mkdir()
    assert process(predictor, photo, out) == "5 people in 1 of 1 photos"
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.write(photo, "a.png")
        archive.writestr("c.jpg", b"no photo")
    text = process(predictor, tmp_path / "b.zip", out)
    assert text.startswith("5 people in 1 of 2 photos; c.jpg: c.jpg is not a photo")
    clip = make_clip(tmp_path / "clip.mp4", 3)
    assert process(predictor, clip, out).endswith("people in 3 frames")
    with pytest.raises(PhotoError):
        (tmp_path / "d.txt").write_text("no photo")
        process(predictor, tmp_path / "d.txt", out)


def refuse():
    raise PhotoError("a.jpg is empty.")


def fail():
    raise KeyError("x")


@pytest.mark.parametrize(
    ("work", "seconds", "text", "is_defect"),
    [
        (lambda: "1 person", 60, "1 person", False),
        (refuse, 60, "refused: a.jpg is empty.", False),
        (fail, 60, "KeyError: 'x'", True),
        (lambda: os._exit(3), 60, "the process ended with 3", True),
        (lambda: time.sleep(600), 0.2, "no answer within 0 s", True),
    ],
)
def test_answer_of_the_process_of_a_file(work, seconds, text, is_defect):
    answer = in_child(work, seconds)
    assert (answer.text, answer.is_defect) == (text, is_defect)
