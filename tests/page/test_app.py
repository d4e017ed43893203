"""Endpoint `/reconstruct` and start of the page."""

import io
import json
import struct
import zlib
from pathlib import Path
from types import SimpleNamespace
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from zipfile import ZipFile

import numpy as np
import pytest
import trimesh
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

import app
from aios.body.parameters import SMPLX_NAMES
from aios.page import layout, server
from tests.helpers.raw_http import FILE_DEFAULTS
from tests.helpers.served import (
    STANDIN,
    count_forwards,
    middle_threshold,
    save_photo,
    served,
    tiny_predictor,
)


@pytest.fixture(scope="module")
def predictor():
    return tiny_predictor()


@pytest.fixture(scope="module")
def address(predictor, tmp_path_factory):
    with served(predictor, tmp_path_factory.mktemp("uploads")) as address:
        yield address


@pytest.fixture(scope="module")
def client(address, tmp_path_factory):
    return Client(address, verbose=False, download_files=tmp_path_factory.mktemp("downloads"))


@pytest.fixture
def photo(tmp_path):
    return save_photo(tmp_path / "people on a hill.png")


def reconstruct(client, path, **arguments):
    return client.predict(photo=handle_file(str(path)), api_name="/reconstruct", **arguments)


def refusal(client, path, **arguments):
    """The one-sentence error of a refused request, after which the server still answers."""
    with pytest.raises(AppError) as caught:
        reconstruct(client, path, **arguments)
    assert client.predict(api_name="/status")["weights"] == "file"
    message = str(caught.value)
    assert "\n" not in message and "Traceback" not in message and len(message) < 250
    return message


def test_reconstruct_returns_the_result_of_the_predictor(client, predictor, photo):
    result, overlay, depth, npz, glb, archive = reconstruct(
        client, photo, threshold=0.0, max_people=4
    )
    expected = predictor.predict(photo, 0.0, 4)
    assert (result["width"], result["height"], result["body"]) == (120, 90, "stand-in")
    assert result["photo"] == "people on a hill.png"
    assert [p["id"] for p in result["people"]] == [1, 2, 3, 4]
    scores = [p["score"] for p in result["people"]]
    np.testing.assert_allclose(scores, expected.people.scores, rtol=1e-6)
    assert [p["depth_order"] for p in result["people"]] == (expected.depth_order + 1).tolist()
    with np.load(npz) as arrays:
        for name in SMPLX_NAMES:
            np.testing.assert_array_equal(arrays[name], getattr(expected.people, name))
    assert len(trimesh.load(glb).geometry) == 4
    drawn = np.asarray(Image.open(overlay))
    assert drawn.shape == (90, 120, 3)
    assert (drawn != np.asarray(Image.open(photo))).any()
    assert Image.open(depth).size == (240, 180)  # small photos are enlarged for the screen
    assert Path(overlay).name == "people on a hill_overlay.png"
    names = ZipFile(archive).namelist()
    assert {Path(overlay).name, Path(npz).name, Path(glb).name} < set(names)
    assert sum(name.endswith("_smplx.npz") for name in names) == 4


def test_options_change_the_files(client, photo):
    options = {"refine": True, "ground": True, "backdrop": True, "extras": ["ply"]}
    result, *_, glb, archive = reconstruct(client, photo, threshold=0.0, max_people=2, **options)
    assert result["refined"]
    assert "people on a hill_person_2.ply" in ZipFile(archive).namelist()
    scene = trimesh.load_scene(glb)
    assert len(scene.geometry) == 3  # two people and the backdrop
    lows = [scene.geometry[f"person_{number}"].bounds[0, 1] for number in (1, 2)]
    assert min(lows) == pytest.approx(0, abs=1e-5)


def test_another_threshold_does_not_run_the_network_again(client, predictor, photo):
    reconstruct(client, photo, threshold=0.0)
    runs = count_forwards(predictor)
    threshold = middle_threshold(predictor, photo)
    runs.clear()
    assert len(reconstruct(client, photo, threshold=threshold)[0]["people"]) == 2
    assert not runs


def test_no_people_is_a_normal_result(client, photo):
    result, overlay, depth, npz, glb, archive = reconstruct(client, photo, threshold=1.0)
    assert result["people"] == []
    np.testing.assert_array_equal(np.asarray(Image.open(overlay)), np.asarray(Image.open(photo)))
    assert Path(depth).stat().st_size
    with np.load(npz) as arrays:
        assert arrays["body_pose"].shape == (0, 63)
    assert Path(glb).read_bytes().startswith(b"glTF")
    assert len(ZipFile(archive).namelist()) == 3


def _decompression_bomb(width, height):
    """A small PNG that decodes to more pixels than a photo may have."""

    def chunk(kind, data):
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def _encoded(image, kind, **settings):
    content = io.BytesIO()
    image.save(content, kind, **settings)
    return content.getvalue()


def _truncated():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    content = _encoded(Image.fromarray(noise), "JPEG")
    return content[: len(content) // 2]


def _nan_tiff():
    return _encoded(Image.fromarray(np.full((40, 40), np.nan, np.float32)), "TIFF")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("empty.jpg", lambda: b"", "empty"),
        ("text.jpg", lambda: b"I am no photo", "not a photo that can be read"),
        ("cut.jpg", _truncated, "of the picture is missing"),
        ("bomb.png", lambda: _decompression_bomb(20_000, 20_000), "megapixels"),
        ("line.png", lambda: _encoded(Image.new("RGB", (3000, 2)), "PNG"), "too narrow"),
        ("nan.tiff", _nan_tiff, "NaN"),
        ("drawing.svg", lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a photo"),
    ],
)
def test_bad_photos_are_refused_in_one_sentence(client, tmp_path, name, content, expected):
    path = tmp_path / name
    path.write_bytes(content())
    message = refusal(client, path)
    assert expected in message
    assert str(tmp_path) not in message and "/tmp" not in message


def _unusual_photos():
    base = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8))
    turned = Image.Exif()
    turned[0x0112] = 6
    deep = Image.fromarray(np.full((40, 60), 40_000, np.uint16))
    return {
        "dot.png": (_encoded(base.resize((1, 1)), "PNG"), (1, 1)),
        "grey.jpg": (_encoded(base.convert("L"), "JPEG"), (60, 40)),
        "palette.png": (_encoded(base.convert("P"), "PNG"), (60, 40)),
        "clear.png": (_encoded(base.convert("RGBA"), "PNG"), (60, 40)),
        "deep.png": (_encoded(deep, "PNG"), (60, 40)),
        "cmyk.jpg": (_encoded(base.convert("CMYK"), "JPEG"), (60, 40)),
        "turned.jpg": (_encoded(base, "JPEG", exif=turned), (40, 60)),
        "moving.gif": (
            _encoded(base, "GIF", save_all=True, append_images=[base.rotate(90)]),
            (60, 40),
        ),
    }


@pytest.mark.parametrize("name", _unusual_photos())
def test_unusual_photo_formats_are_read(client, tmp_path, name):
    content, (width, height) = _unusual_photos()[name]
    path = tmp_path / name
    path.write_bytes(content)
    result, overlay, *_ = reconstruct(client, path)
    assert (result["width"], result["height"]) == (width, height)
    assert Image.open(overlay).size == (width, height)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"threshold": -0.5}, "Confidence threshold must be a number from 0 to 1."),
        ({"threshold": "low"}, "Confidence threshold must be a number from 0 to 1."),
        ({"threshold": None}, "Confidence threshold must be a number from 0 to 1."),
        ({"max_people": 0}, "Max people must be a number from 1 to 5."),
        ({"max_people": [3]}, "Max people must be a number from 1 to 5."),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(client, photo, arguments, expected):
    assert expected in refusal(client, photo, **arguments)


def test_missing_photo_is_refused(client):
    with pytest.raises(AppError, match="Send a photo"):
        client.predict(photo=None, api_name="/reconstruct")


def _answer_over_http(address, data):
    """Events of `/reconstruct` over plain HTTP."""
    call = f"{address}gradio_api/call/reconstruct"
    body = json.dumps({"data": data}).encode()
    with urlopen(Request(call, body, {"Content-Type": "application/json"})) as reply:
        event = json.load(reply)["event_id"]
    with urlopen(f"{call}/{event}") as reply:
        return reply.read().decode()


@pytest.mark.parametrize("path", ["/etc/passwd", str(STANDIN), "../../etc/passwd"])
def test_files_that_were_not_uploaded_are_not_read(client, address, path):
    data = {"path": path, "meta": {"_type": "gradio.FileData"}}
    answer = _answer_over_http(address, [data, 0.0, 5, "full", 0, *FILE_DEFAULTS])
    assert "event: error" in answer
    assert "event: complete" not in answer and path not in answer and "Traceback" not in answer
    assert client.predict(api_name="/status")["weights"] == "file"


def test_nan_threshold_is_refused_in_one_sentence(address):
    answer = _answer_over_http(address, [None, float("nan"), 5, "full", 0, *FILE_DEFAULTS])
    assert "Confidence threshold must be a number from 0 to 1." in answer


@pytest.mark.parametrize(
    "value", [[[float("nan"), 1.0], [0.5, 0.5]], "photo.jpg", {"url": "data:image/png;base64,AA"}]
)
def test_value_that_is_not_an_uploaded_file_is_refused_in_one_sentence(address, value):
    answer = _answer_over_http(address, [value, 0.0, 5, "full", 0, *FILE_DEFAULTS])
    assert "Send the photo" in answer and "as an uploaded file." in answer


@pytest.mark.parametrize("path", [STANDIN, Path(app.__file__), Path("/etc/passwd")])
def test_files_of_the_server_are_not_served(address, path):
    with pytest.raises(HTTPError) as caught:
        urlopen(f"{address}gradio_api/file={path}")
    assert caught.value.code in (403, 404)


def test_share_without_a_network_logs_one_line(monkeypatch, caplog):
    from gradio import networking

    def no_network(*_arguments):
        raise OSError("[Errno -2] Name or service not known\nand more")

    monkeypatch.setattr(networking, "setup_tunnel", no_network)
    caplog.set_level("INFO", "aios.app")
    server.share(SimpleNamespace(share_token="token", server_name="127.0.0.1"), 7860)
    assert caplog.messages == [
        "No public link, only the local page: [Errno -2] Name or service not known."
    ]


def test_startup_error_is_one_sentence(monkeypatch, caplog):
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setenv("GRADIO_TEMP_DIR", "/nowhere")
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    assert app.main(["--weights", "nowhere.safetensors"]) == 2
    assert "nowhere.safetensors" in caplog.messages[-1]
    assert app.main(["--host", "203.0.113.1"]) == 2
    assert "Cannot listen" in caplog.messages[-1]


def test_building_the_page_writes_no_files_into_the_package(address):
    folders = [Path(app.__file__).parent, Path(layout.__file__).parent]
    assert not [path for folder in folders for path in folder.glob("*.pyi")]
