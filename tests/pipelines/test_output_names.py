"""Stems of output files: unique within a job, stable between runs."""

import json

import pytest

from aios.pipelines.output_names import OutputNames, is_result


def finish(folder, stem, **source):
    """Write the summary and archive of a finished input."""
    (folder / f"{stem}.json").write_text(json.dumps(source))
    (folder / f"{stem}.npz").touch()


def test_stems_differ_for_photos_and_videos_alike():
    names = OutputNames()
    assert names.photo("IMG_1.JPG") == "IMG_1"
    assert names.video("IMG_1.MOV") == "IMG_1_2"
    assert names.photo("img_1.png") == "img_1_3"
    assert names.photo("a/IMG_1.JPG") == "a/IMG_1"
    assert names.photo("IMG_1_2.jpg") == "IMG_1_2_2"
    assert names.photo("e\u0301.jpg") == "e\u0301"
    assert names.photo("\u00e9.jpg") == "\u00e9_2"


@pytest.mark.parametrize(
    ("name", "stem"),
    [("a.b.jpg", "a.b"), ("noending", "noending"), (".png", ".png"), ("x.", "x.")],
)
def test_stem_is_the_name_without_its_ending(name, stem):
    assert OutputNames().photo(name) == stem


def test_photo_does_not_take_the_files_of_a_track():
    names = OutputNames()
    assert names.video("a.mp4") == "a"
    assert names.photo("a_track_1.jpg") == "a_track_1_2"
    assert names.photo("a_person_2_smplx.png") == "a_person_2_smplx_2"
    names = OutputNames()
    assert names.photo("a_track_1.jpg") == "a_track_1"
    assert names.video("a.mp4") == "a_2"


def test_results_of_other_inputs_are_kept_and_of_the_same_input_replaced(tmp_path):
    finish(tmp_path, "a", photo="a.jpg")
    finish(tmp_path, "b", video="b.mov")
    names = OutputNames(tmp_path)
    assert names.photo("a.jpg") == "a"
    assert names.video("a.mp4") == "a_2"
    assert names.photo("b.png") == "b_2"
    assert names.video("b.mov") == "b"


def test_long_names_are_shortened_between_characters():
    names = OutputNames()
    first, second = names.photo("照" * 84 + ".jpg"), names.photo("照" * 83 + ".jpg")
    assert first != second
    for stem in (first, second):
        assert 100 < len(f".{stem}_overlay.png.12345.tmp".encode()) < 255
        assert set(stem) <= set("照_2")


def test_input_is_not_replaced(tmp_path):
    names = OutputNames(tmp_path, [tmp_path / "a_overlay.png", tmp_path / "a.jpg"])
    assert names.photo("a.jpg") == "a_2"


@pytest.mark.parametrize(
    "name",
    "a.json a.npz a.glb a_overlay.png a_overlay.mp4 a_track_12.bvh a_track_1_smplx.npz"
    " a_person_1_smplx.npz a_person_1_rigged.glb a_person_2.obj people.csv".split(),
)
def test_results_are_recognised(tmp_path, name):
    finish(tmp_path, "a", photo="a.jpg")
    assert is_result(tmp_path / name)


@pytest.mark.parametrize("name", ["b_overlay.png", "b.json", "b.npz", "a.jpg", "b_track_1.glb"])
def test_other_files_are_not_results(tmp_path, name):
    finish(tmp_path, "a", photo="a.jpg")
    (tmp_path / "b.json").write_text('{"name": "b"}')
    (tmp_path / "b.npz").touch()
    assert not is_result(tmp_path / name)
