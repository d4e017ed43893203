"""The command line end to end, with a small network and small inputs."""

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import smplx
import torch
import trimesh
from PIL import Image

from aios.__main__ import main
from aios.media.video_reader import VideoReader
from aios.network.config import ImageConfig
from aios.resources import STANDIN_BODY
from aios.weights.checkpoint import save_safetensors
from tests.helpers.clips import make_clip
from tests.helpers.glb_reader import GlbReader
from tests.helpers.image_files import save_photo_with_focal_length
from tests.helpers.networks import TINY, random_model

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).resolve().parents[1]
SUFFIXES = (".json", ".npz", ".glb", "_overlay.png")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_weights(tmp_path_factory.mktemp("weights") / "small.safetensors", TINY)


def save_weights(path, config):
    extra = {"body_convention": "standin", "threshold": "0.0"}
    save_safetensors(path, random_model(config, 0).state_dict(), config, extra)
    return path


@pytest.fixture(autouse=True)
def same_everywhere(monkeypatch):
    """The stand-in body, and no OpenGL context."""
    monkeypatch.setenv("AIOS_RENDERER", "software")
    monkeypatch.delenv("AIOS_SMPLX", raising=False)


@pytest.fixture
def folder(tmp_path):
    """Two photos of different sizes, and a text file."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed, (name, size) in enumerate({"first.png": (70, 96), "second.jpg": (81, 50)}.items()):
        pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(pixels).save(folder / name)
    (folder / "notes.txt").write_text("nothing")
    return folder


def run(weights, out, *arguments):
    return main([*map(str, arguments), "--out", str(out), "--weights", str(weights)])


def stems(out):
    return sorted(path.name.removesuffix(".json") for path in out.glob("*.json"))


def test_photo_gives_four_files(weights, folder, tmp_path):
    out = tmp_path / "new" / "out"
    assert run(weights, out, folder) == 0
    names = {path.name for path in out.iterdir()}
    results = {stem + suffix for stem in ("first", "second") for suffix in SUFFIXES}
    numbers = range(1, TINY.num_people + 1)
    results |= {f"{s}_person_{n}_smplx.npz" for s in ("first", "second") for n in numbers}
    assert names == {*results, "people.csv", "problems.csv", "finished.jsonl"}
    with (out / "people.csv").open(newline="", encoding="utf-8-sig") as table:
        rows = list(csv.DictReader(table))
    assert [row["photo"] for row in rows] == [
        *["first.png"] * TINY.num_people,
        *["second.jpg"] * TINY.num_people,
    ]
    for stem, name, (height, width) in (
        ("first", "first.png", (70, 96)),
        ("second", "second.jpg", (81, 50)),
    ):
        document = json.loads((out / f"{stem}.json").read_text())
        assert (document["photo"], document["width"], document["height"]) == (name, width, height)
        assert len(document["people"]) == TINY.num_people
        scores = [person["score"] for person in document["people"]]
        assert scores == sorted(scores, reverse=True)
        assert np.array(document["people"][0]["keypoints_2d_px"]).shape == (17, 2)
        with Image.open(out / f"{stem}_overlay.png") as picture:
            assert picture.size == (width, height)
        assert len(trimesh.load(out / f"{stem}.glb").geometry) == TINY.num_people


def test_npz_poses_the_drawn_mesh_with_the_smplx_package(weights, folder, tmp_path):
    assert run(weights, tmp_path / "out", folder / "first.png") == 0
    with np.load(tmp_path / "out" / "first.npz") as arrays:
        people = {name: arrays[name] for name in arrays.files}
    assert people["betas"].shape == (TINY.num_people, 10)
    parameters = {
        name: torch.from_numpy(people[name])
        for name in (
            "betas expression global_orient body_pose jaw_pose left_hand_pose right_hand_pose "
            "transl"
        ).split()
    }
    body = smplx.SMPLX(
        str(STANDIN_BODY), use_pca=False, flat_hand_mean=False, batch_size=TINY.num_people
    )
    posed = body(**parameters).vertices.detach().numpy()
    scene = trimesh.load(tmp_path / "out" / "first.glb")
    for index, vertices in enumerate(posed):
        mesh = scene.geometry[f"person_{index + 1}"]
        # GLB: y up, z backward; camera frame: y down, z forward.
        np.testing.assert_allclose(mesh.vertices, vertices * (1, -1, -1), atol=1e-3)


def test_bad_file_does_not_stop_the_others(weights, folder, tmp_path, caplog):
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    (folder / "empty.png").write_bytes(b"")
    out = tmp_path / "out"
    assert run(weights, out, folder) == 1
    assert stems(out) == ["first", "second"]
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 2
    assert "broken.jpg" in errors[0].getMessage()
    assert "empty.png" in errors[1].getMessage()
    assert "2 of 4 photos" in caplog.text
    assert "broken.jpg" in (out / "problems.csv").read_text()


def test_photo_that_is_cut_off_has_results_and_a_note(weights, folder, tmp_path, caplog):
    first, out = folder / "first.png", tmp_path / "out"
    Image.open(first).save(folder / "cut.jpg")
    content = (folder / "cut.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(content[:-2])
    assert run(weights, out, folder) == 0
    assert stems(out) == ["cut", "first", "second"]
    note = "cut.jpg is cut off: its end is missing."
    assert note in caplog.messages
    assert f"cut.jpg,{note}" in (out / "problems.csv").read_text("utf-8-sig")


def test_photos_of_equal_names_get_different_outputs(weights, folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "first.png").write_bytes((folder / "first.png").read_bytes())
    (folder / "first.bmp").write_bytes(b"")  # a bad file takes a number, too
    out = tmp_path / "out"
    assert run(weights, out, folder / "first.png", folder / "first.bmp", other) == 1
    assert stems(out) == ["first", "first_3"]


def test_photo_given_twice_is_processed_once(weights, folder, tmp_path):
    out = tmp_path / "out"
    assert run(weights, out, folder / "first.png", folder) == 0
    assert stems(out) == ["first", "second"]


def test_threshold_and_max_people_are_applied(weights, folder, tmp_path):
    photo = folder / "first.png"
    assert run(weights, tmp_path / "none", photo, "--threshold", "1") == 0
    document = json.loads((tmp_path / "none" / "first.json").read_text())
    assert document["people"] == []
    assert {path.name for path in (tmp_path / "none").iterdir()} == {
        *("first" + suffix for suffix in SUFFIXES),
        "people.csv",
        "finished.jsonl",
    }
    assert run(weights, tmp_path / "two", photo, "--max-people", "2") == 0
    assert len(json.loads((tmp_path / "two" / "first.json").read_text())["people"]) == 2


@pytest.mark.parametrize("what", ["empty folder", "weights", "body", "out", "renderer"])
def test_unusable_start_gives_one_error_and_exit_code_2(
    weights, folder, tmp_path, monkeypatch, caplog, what
):
    if what == "renderer":
        monkeypatch.setenv("AIOS_RENDERER", "painter")
    arguments = {"photos": folder, "--out": tmp_path / "out", "--weights": weights}
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    arguments |= {
        "empty folder": {"photos": tmp_path / "empty"},
        "weights": {"--weights": tmp_path / "missing.safetensors"},
        "body": {"--body": tmp_path / "missing.npz"},
        "out": {"--out": tmp_path / "file"},
        "renderer": {},
    }[what]
    photos = str(arguments.pop("photos"))
    options = [str(part) for pair in arguments.items() for part in pair]
    assert main([photos, *options]) == 2
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
    assert not list((tmp_path / "out").glob("*.json"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["photo.jpg"],
        ["--out", "x"],
        ["photo.jpg", "--out", "x", "--threshold", "2"],
        ["photo.jpg", "--out", "x", "--threshold", "high"],
        ["photo.jpg", "--out", "x", "--max-people", "many"],
        ["photo.jpg", "--out", "x", "--max-people", "-3"],
        ["photo.jpg", "--out", "x", "--max-people", "0"],
        ["photo.jpg", "--out", "x", "--max-people", "2.5"],
        ["photo.jpg", "--out", "x", "--threshold", "-0.1"],
        ["video.mp4", "--out", "x", "--fps", "-5"],
        ["video.mp4", "--out", "x", "--seconds", "nan"],
        ["video.mp4", "--out", "x", "--fps", "0"],
        ["video.mp4", "--out", "x", "--seconds", "inf"],
        ["video.mp4", "--out", "x", "--start", "-1"],
    ],
)
def test_wrong_arguments_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from aios.__main__ import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit as error:\n    assert error.code == 0\n"
        "heavy = {'torch', 'numpy', 'cv2', 'PIL', 'gradio', 'smplx', 'av'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "PHOTO_FOLDER_OR_VIDEO" in done.stdout


def test_module_runs_as_a_program_in_an_ascii_locale(weights, folder, tmp_path):
    (folder / "first.png").rename(folder / "grün.png")
    (folder / "second.jpg").rename(folder / "M\udcfcnchen.jpg")
    command = [sys.executable, "-m", "aios", str(folder)]
    command += ["--out", str(tmp_path / "out"), "--weights", str(weights)]
    ascii_locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=os.environ | ascii_locale
    )
    assert done.returncode == 0, done.stderr
    assert stems(tmp_path / "out") == ["M\udcfcnchen", "grün"]
    assert "2 of 2 photos" in done.stderr
    table = (tmp_path / "out" / "people.csv").read_text("utf-8-sig")
    assert "grün.png" in table and r"M\udcfcnchen.jpg" in table
    found = {json.loads(path.read_bytes())["photo"] for path in (tmp_path / "out").glob("*.json")}
    assert found == {"grün.png", "M\udcfcnchen.jpg"}


def test_folder_of_videos_and_photos(weights, folder, tmp_path, caplog):
    make_clip(folder / "clip.mp4", 12, (96, 64))
    make_clip(folder / "moves.gif", 6, (96, 64))
    (folder / "broken.webm").write_bytes(b"no video")
    out = tmp_path / "out"
    assert run(weights, out, folder, "--fps", "5", "--start", "0.1", "--seconds", "0.7") == 1
    assert stems(out) == ["clip", "first", "moves", "second"]
    assert sorted(path.name for path in out.glob("clip*.*"))[:2] == ["clip.json", "clip.npz"]
    tracks = json.loads((out / "clip.json").read_text())["tracks"]
    assert len(tracks) == len(list(out.glob("clip_track_*.bvh"))) >= 3
    with np.load(out / "clip.npz") as arrays:
        np.testing.assert_allclose(arrays["frame_times"], [0, 0.2, 0.4, 0.6], atol=1e-3)
    with VideoReader(out / "clip_overlay.mp4") as reader:
        assert len(list(reader)) == 4
    [error] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "broken.webm is not a video" in error.getMessage()
    assert "2 of 2 photos" in caplog.text
    assert f"{len(tracks)} people in 4 frames" in caplog.text


def test_interrupt_leaves_only_complete_results(weights, folder, tmp_path, monkeypatch):
    make_clip(folder / "clip.mp4", 12, (96, 64))

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("aios.pipelines.video.draw_people", interrupt)
    out = tmp_path / "out"
    assert run(weights, out, folder / "first.png", folder / "clip.mp4") == 1
    assert stems(out) == ["first"]
    assert not [path for path in out.iterdir() if "clip" in path.name or path.name[0] == "."]


def test_live_photo_pair_gets_different_outputs_in_every_run(weights, folder, tmp_path):
    make_clip(folder / "clip.mp4", 4, (96, 64))
    (folder / "clip.mp4").rename(folder / "first.MOV")
    out = tmp_path / "out"
    for _ in range(2):
        assert run(weights, out, folder) == 0
        assert stems(out) == ["first", "first_2", "second"]
        assert json.loads((out / "first.json").read_text())["photo"] == "first.png"
        assert json.loads((out / "first_2.json").read_text())["video"] == "first.MOV"
    assert run(weights, out, folder / "first.MOV") == 0
    assert stems(out) == ["first", "first_2", "second"]


def test_output_folder_may_be_the_input_folder(weights, folder):
    make_clip(folder / "clip.mp4", 4, (96, 64))
    assert run(weights, folder, folder) == 0
    before = sorted(path.name for path in folder.iterdir())
    assert stems(folder) == ["clip", "first", "second"]
    assert run(weights, folder, folder) == 0
    assert sorted(path.name for path in folder.iterdir()) == before
    assert "overlay" not in (folder / "people.csv").read_text("utf-8-sig")


def test_input_is_never_replaced_by_an_output(weights, folder):
    original = (folder / "first.png").read_bytes()
    (folder / "x.jpg").write_bytes((folder / "second.jpg").read_bytes())
    (folder / "x_overlay.png").write_bytes(original)
    assert run(weights, folder, folder) == 0
    assert (folder / "x_overlay.png").read_bytes() == original
    assert stems(folder) == ["first", "second", "x_2", "x_overlay"]


def test_skipped_files_are_listed_with_reasons(weights, folder, tmp_path, caplog):
    (folder / "letter.pdf").write_bytes(b"%PDF-1.7")
    (folder / "inner").mkdir()
    out = tmp_path / "out"
    assert run(weights, out, folder) == 0
    with (out / "problems.csv").open(newline="", encoding="utf-8-sig") as table:
        rows = {row["file"]: row["problem"] for row in csv.DictReader(table)}
    assert rows == {
        "notes.txt": "Skipped: not a photo or video.",
        "letter.pdf": "Skipped: PDF document, not a photo or video.",
        "inner": "Skipped: folder; only files directly in a given folder are processed.",
    }
    assert "Skipped letter.pdf: PDF document" in caplog.text


def test_names_that_are_not_utf8_or_too_long(weights, folder, tmp_path):
    photo = (folder / "first.png").read_bytes()
    (folder / "M\udcfcnchen.png").write_bytes(photo)
    (folder / ("照" * 82 + ".png")).write_bytes(photo)
    (folder / "two\nlines.png").write_bytes(photo)
    (folder / "50% off #1?.png").write_bytes(photo)
    make_clip(folder / "clip.mp4", 4, (96, 64))
    (folder / "clip.mp4").rename(folder / "K\udcf6ln.mp4")
    out = tmp_path / "out"
    assert run(weights, out, folder) == 0
    assert len(stems(out)) == 7
    names = {json.loads(path.read_bytes()).get("photo") for path in out.glob("*.json")}
    assert {"M\udcfcnchen.png", "照" * 82 + ".png", "two\nlines.png"} <= names
    assert (out / "K\udcf6ln_overlay.mp4").exists()


def test_web_address_is_explained(weights, folder, tmp_path, caplog):
    assert run(weights, tmp_path / "out", "https://example.org/a.jpg") == 1
    assert "is a web address: download the photo and give its path" in caplog.text


def test_failed_video_is_listed_and_the_next_one_processed(
    weights, folder, tmp_path, monkeypatch, caplog
):
    from aios.pipelines import video

    for name in ("a.mp4", "b.mp4"):
        make_clip(folder / name, 4, (96, 64))
    usual = video.motion_to_npz

    def fail_once(path, *arguments):
        if path.name == "a.npz":
            raise OSError(28, "No space left on device")
        usual(path, *arguments)

    monkeypatch.setattr(video, "motion_to_npz", fail_once)
    out = tmp_path / "out"
    assert run(weights, out, folder / "a.mp4", folder / "b.mp4") == 1
    assert stems(out) == ["b"]
    assert "Results of a.mp4 cannot be written: No space left on device." in caplog.text
    assert "a.mp4" in (out / "problems.csv").read_text("utf-8-sig")


def test_camera_and_input_size_are_options(tmp_path):
    # Large enough that the coarsest level has several pixels at the smallest input size.
    weights = save_weights(
        tmp_path / "small.safetensors",
        replace(TINY, image=ImageConfig(short_side=96, long_side=128)),
    )
    photo = save_photo_with_focal_length(tmp_path / "phone.jpg", 26)
    documents = []
    for name, options in (
        ("usual", ()),
        ("other", ("--field-of-view", "80", "--input-size", "fast")),
    ):
        assert run(weights, tmp_path / name, photo, *options) == 0
        documents.append(json.loads((tmp_path / name / "phone.json").read_text("utf-8")))
    usual, other = documents
    assert [d["focal_length_from"] for d in documents] == ["exif", "chosen"]
    assert usual["camera"]["focal_length_px"] == pytest.approx(26 * 150 / 43.27, rel=1e-3)
    expected = 60 / np.tan(np.radians(40))
    assert other["camera"]["focal_length_px"] == pytest.approx(expected)
    assert other["people"][0]["score"] != usual["people"][0]["score"]


@pytest.mark.parametrize("value", ["0", "180", "wide"])
def test_impossible_field_of_view_is_refused(value, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["photo.jpg", "--out", str(tmp_path), "--field-of-view", value])
    assert "is not a number of degrees from 0 to 180" in capsys.readouterr().err


def test_ground_backdrop_bones_and_further_files(weights, folder, tmp_path):
    out = tmp_path / "out"
    photo = folder / "first.png"
    options = ("--ground", "--backdrop", "--bones", "unreal", "--add", "rigged,obj,ply,vertices")
    assert run(weights, out, photo, "--max-people", 1, *options) == 0
    names = {path.name.removeprefix("first_person_1") for path in out.glob("first_person_*")}
    assert names == {"_smplx.npz", "_rigged.glb", ".obj", ".ply"}
    scene = GlbReader((out / "first.glb").read_bytes())
    assert [node["name"] for node in scene.nodes] == ["person_1", "camera", "photo"]
    rigged = GlbReader((out / "first_person_1_rigged.glb").read_bytes())
    assert rigged.nodes[0]["name"] == "pelvis" and rigged.nodes[1]["name"] == "thigh_l"
    with np.load(out / "first.npz") as archive:
        assert archive["vertices"].shape == (1, 10475, 3)
    obj = trimesh.load(out / "first_person_1.obj", process=False)
    assert abs(obj.vertices[:, 1].min()) < 1e-4


def test_unknown_further_file_is_one_sentence(weights, folder, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(weights, tmp_path / "out", folder, "--add", "obj,fbx")
    assert "'fbx' is not one of rigged, obj, ply, vertices" in capsys.readouterr().err
