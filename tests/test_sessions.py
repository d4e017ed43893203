import numpy as np
import pytest
from PIL import Image

from aios.photo import PhotoError
from aios.sessions import SHOWN_SIDE_PX, Sessions
from tests.served import count_forwards, middle_threshold, save_photo, tiny_predictor


@pytest.fixture(scope="module")
def predictor():
    return tiny_predictor()


@pytest.fixture
def photo(tmp_path):
    return save_photo(tmp_path / "photo.png")


def test_another_threshold_does_not_run_the_network(predictor, photo):
    sessions, runs = Sessions(predictor), count_forwards(predictor)
    everyone = sessions.view("a", photo, 0.0, 30)
    threshold = middle_threshold(predictor, photo)
    runs.clear()
    some = sessions.view("a", photo, threshold, 30)
    one = sessions.view("a", photo, 0.0, 1)
    nobody = sessions.view("a", photo, 1.0, 30)
    assert not runs
    assert [len(v.prediction) for v in (everyone, some, one, nobody)] == [5, 2, 1, 0]
    assert (nobody.overlay == nobody.photo).all()
    assert (everyone.overlay != everyone.photo).any()
    best = float(everyone.prediction.people.scores[0])
    assert {v.best_score for v in (everyone, some, one, nobody)} == {best}


def test_the_view_is_what_the_predictor_says(predictor, photo):
    view = Sessions(predictor).view("a", photo, 0.0, 30)
    direct = predictor.predict(photo, 0.0)
    np.testing.assert_array_equal(view.prediction.vertices, direct.vertices)
    assert view.photo.shape == view.overlay.shape == view.depth.shape == (90, 120, 3)


def test_visitors_do_not_see_each_other(predictor, photo, tmp_path):
    other = save_photo(tmp_path / "other.png", 64, 100)
    sessions, runs = Sessions(predictor), count_forwards(predictor)
    sessions.view("a", photo, 0.0, 30)
    sessions.view("b", other, 0.0, 30)
    assert sessions.view("a", photo, 0.0, 30).prediction.camera.width == 120
    assert sessions.view("b", other, 0.0, 30).prediction.camera.width == 64
    assert len(runs) == 2
    assert sessions.holds("a", photo) and not sessions.holds("b", photo)


def test_a_forgotten_or_replaced_photo_is_run_again(predictor, photo, tmp_path):
    other = save_photo(tmp_path / "other.png", 64, 100)
    sessions, runs = Sessions(predictor), count_forwards(predictor)
    sessions.view("a", photo, 0.0, 30)
    sessions.forget("a")
    assert not sessions.holds("a", photo)
    sessions.view("a", photo, 0.0, 30)
    sessions.view("a", other, 0.0, 30)
    assert not sessions.holds("a", photo)
    sessions.view("a", photo, 0.0, 30)
    assert len(runs) == 4


def test_the_least_recent_photos_go_when_memory_is_full(predictor, photo):
    sessions = Sessions(predictor, kept_bytes=3 * 2 * 120 * 90 * 3)
    for visitor in "abcd":
        sessions.view(visitor, photo, 0.0, 30)
    assert [sessions.holds(visitor, photo) for visitor in "abcd"] == [False, True, True, True]


def test_old_photos_go(predictor, photo, monkeypatch):
    sessions = Sessions(predictor)
    sessions.view("a", photo, 0.0, 30)
    monkeypatch.setattr("aios.sessions.KEPT_SECONDS", -1.0)
    sessions.view("b", photo, 0.0, 30)
    assert not sessions.holds("a", photo)


def test_a_bad_photo_leaves_nothing_behind_and_names_no_folder(predictor, photo, tmp_path):
    sessions = Sessions(predictor)
    sessions.view("a", photo, 0.0, 30)
    for name, content in (("bad.jpg", b"text"), ("gone.jpg", None)):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(PhotoError) as caught:
            sessions.view("a", path, 0.0, 30)
        assert name in str(caught.value)
        assert str(tmp_path) not in str(caught.value)
        assert not sessions.holds("a", photo)


def test_large_photos_are_shown_small_and_written_whole(predictor, tmp_path):
    photo = save_photo(tmp_path / "large.png", 2 * SHOWN_SIDE_PX, 600)
    sessions = Sessions(predictor)
    view = sessions.view("a", photo, 0.0, 30)
    assert view.overlay.shape == view.depth.shape == (300, SHOWN_SIDE_PX, 3)
    files = sessions.write("a", photo, 0.0, 30, tmp_path)
    names = ["large.json", "large.npz", "large.glb", "large_overlay.png"]
    assert [file.name for file in files] == names
    assert Image.open(files[3]).size == (2 * SHOWN_SIDE_PX, 600)
