"""Photos decoded in other processes."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aios.media import decoder
from aios.media.decoder import close_idle, read_photo_apart
from aios.media.photo import PhotoError, read_photo
from tests.helpers.decoders import odd_decoders
from tests.helpers.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = sorted((ROOT / "assets" / "examples").glob("*.jpg"))[0]


@pytest.fixture(autouse=True)
def few_processes():
    yield
    close_idle()


@pytest.fixture
def odd(monkeypatch):
    odd_decoders(monkeypatch)


def photo(path: Path, width: int = 60) -> Path:
    Image.new("RGB", (width, 40), "orange").save(path)
    return path


def process_of_next_photo() -> int:
    """Process id of the idle decoder, which reads the next photo."""
    idle = decoder._idle.take()
    decoder._idle.put(idle)
    return idle._process.pid


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or waits for a parent that does not ask for its end."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return True
    return state == "Z"


def test_pixels_are_those_of_read_photo():
    expected = read_photo(EXAMPLE)
    for source in (EXAMPLE, str(EXAMPLE), EXAMPLE.read_bytes()):
        assert np.array_equal(read_photo_apart(source).pixels, expected)


def test_focal_length_is_that_of_the_exif_data(tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 26
    Image.new("RGB", (60, 40)).save(tmp_path / "a.jpg", exif=exif)
    content = (tmp_path / "a.jpg").read_bytes()
    assert read_photo_apart(content).field_of_view == pytest.approx(69.4, abs=0.1)
    assert read_photo_apart(EXAMPLE).field_of_view is None


def test_arrays_and_opened_images_need_no_process():
    image = Image.new("RGB", (3, 2), "red")
    for source in (image, np.array(image)):
        assert read_photo_apart(source).pixels.tolist() == [[[255, 0, 0]] * 3] * 2
    assert decoder._idle.take() is None


@pytest.mark.parametrize("content", [b"", b"no photo", b"\xff\xd8\xff\xe0" + bytes(100)])
def test_errors_are_those_of_read_photo_and_the_process_stays(tmp_path, content):
    read_photo_apart(EXAMPLE)
    process = process_of_next_photo()
    (tmp_path / "Ä \udce4.jpg").write_bytes(content)
    for source in (content, tmp_path / "Ä \udce4.jpg", tmp_path / "missing.jpg", tmp_path):
        with pytest.raises(PhotoError) as expected:
            read_photo(source)
        with pytest.raises(PhotoError) as found:
            read_photo_apart(source)
        assert str(found.value) == str(expected.value)
    assert process_of_next_photo() == process


def test_relative_paths_are_of_the_current_folder(tmp_path, monkeypatch):
    read_photo_apart(EXAMPLE)
    monkeypatch.chdir(tmp_path)
    photo(tmp_path / "a.png")
    assert read_photo_apart("a.png").pixels.shape == (40, 60, 3)


def test_photo_that_takes_too_long_is_refused_and_its_process_ends(tmp_path, odd):
    read_photo_apart(photo(tmp_path / "a.png"))
    process = process_of_next_photo()
    with pytest.raises(PhotoError) as caught:
        read_photo_apart(photo(tmp_path / "hanging.png"), seconds=1)
    sentence = "hanging.png takes more than 1 s to decode: save it as a plain JPEG."
    assert str(caught.value) == sentence
    assert has_ended(process)
    assert len(read_photo_apart(tmp_path / "a.png").pixels)


def test_photo_that_crashes_its_decoder_is_refused(tmp_path, odd):
    with pytest.raises(PhotoError) as caught:
        read_photo_apart(photo(tmp_path / "crashing.png"))
    sentence = "crashing.png is damaged, or there is not enough memory for it."
    assert str(caught.value) == sentence
    assert len(read_photo_apart(photo(tmp_path / "a.png")).pixels)


def test_photo_that_takes_long_does_not_keep_others_waiting(tmp_path, odd):
    slow = photo(tmp_path / "waiting.png", 61)
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(read_photo_apart, slow)
        others = [read_photo_apart(photo(tmp_path / f"{k}.png", 50 + k)).pixels for k in range(3)]
        assert [pixels.shape[1] for pixels in others] == [50, 51, 52]
        assert not pending.done()
        (tmp_path / "waiting.png.go").touch()
        assert pending.result().pixels.shape[1] == 61


def test_process_that_has_ended_meanwhile_is_replaced():
    read_photo_apart(EXAMPLE)
    idle = decoder._idle.take()
    idle._process.kill()
    idle._process.wait()
    decoder._idle.put(idle)
    assert read_photo_apart(EXAMPLE).pixels.size


def test_forked_program_starts_its_own_process():
    read_photo_apart(EXAMPLE)
    child = os.fork()
    if child == 0:
        os._exit(0 if decoder._idle.take() is None else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert decoder._idle.take() is not None


PROGRAM = """
import os, sys
from aios.media import decoder
decoder.read_photo_apart(sys.argv[1])
print(decoder._idle._decoders[0]._process.pid, flush=True)
if sys.argv[2] == "killed":
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("end", ["ended", "killed"])
def test_processes_end_with_the_program(end):
    command = [sys.executable, "-c", PROGRAM, str(EXAMPLE), end]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    process = int(run.stdout)
    wait_until(lambda: has_ended(process))


def test_decoding_process_cannot_write_to_files(tmp_path, odd):
    (tmp_path / "writing.png").write_bytes(photo(tmp_path / "a.png").read_bytes())
    with pytest.raises(PhotoError, match=r"^writing\.png cannot be read: File too large\.$"):
        read_photo_apart(tmp_path / "writing.png")
