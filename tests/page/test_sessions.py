import gc
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aios.media.photo import PhotoError
from aios.page.layout import sweep_regularly
from aios.page.sessions import MOST_ENLARGED, SHOWN_SIDE_PX, Choice, Sessions
from tests.helpers.served import count_forwards, middle_threshold, save_photo, tiny_predictor


@pytest.fixture(scope="module")
def predictor():
    return tiny_predictor()


@pytest.fixture
def photo(tmp_path):
    return save_photo(tmp_path / "photo.png")


def ask(sessions, visitor, photo, threshold=0.0, people=30, size="full", field_of_view=0.0):
    return sessions.result(visitor, Choice(photo, threshold, people, size, field_of_view))


def holds(sessions, visitor, photo, size="full"):
    return sessions.holds(visitor, Choice(photo, 0.0, 30, size))


def test_only_another_photo_or_input_size_runs_the_network(predictor, photo):
    sessions, runs = Sessions(predictor), count_forwards(predictor)
    everyone = ask(sessions, "a", photo)
    threshold = middle_threshold(predictor, photo)
    runs.clear()
    some = ask(sessions, "a", photo, threshold)
    one = ask(sessions, "a", photo, people=1)
    nobody = ask(sessions, "a", photo, 1.0)
    wide = ask(sessions, "a", photo, field_of_view=70.0)
    assert not runs
    assert [len(r.prediction) for r in (everyone, some, one, nobody, wide)] == [5, 2, 1, 0, 5]
    best = float(everyone.prediction.people.scores[0])
    assert {r.best_score for r in (everyone, some, one, nobody)} == {best}
    assert wide.prediction.camera.field_of_view == pytest.approx(70)
    ask(sessions, "a", photo, size="fast")
    assert len(runs) == 1


def test_the_result_is_what_the_predictor_says(predictor, photo):
    result = ask(Sessions(predictor), "a", photo)
    direct = predictor.predict(photo, 0.0)
    np.testing.assert_array_equal(result.prediction.vertices, direct.vertices)
    assert result.candidates.attention is not None
    screen = result.on_screen.camera
    assert result.photo.shape == (screen.height, screen.width, 3) == (180, 240, 3)
    assert result.prediction.camera == direct.camera


def test_the_same_question_is_answered_from_memory_whoever_asks(predictor, photo, tmp_path):
    copy = tmp_path / "elsewhere" / "other name.png"
    copy.parent.mkdir()
    copy.write_bytes(photo.read_bytes())
    sessions, runs = Sessions(predictor), count_forwards(predictor)
    first = ask(sessions, "a", photo)
    again = ask(sessions, "b", copy)
    assert len(runs) == 1
    np.testing.assert_array_equal(first.prediction.vertices, again.prediction.vertices)
    # Another content under the same path is another photo.
    save_photo(photo, 64, 100)
    assert ask(sessions, "a", photo).prediction.camera.width == 64
    assert len(runs) == 2


def test_two_who_ask_at_once_wait_for_one_answer(predictor, photo):
    sessions, runs = Sessions(predictor), count_forwards(predictor)
    threads = [threading.Thread(target=ask, args=(sessions, v, photo)) for v in "abcdef"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(runs) == 1
    assert all(holds(sessions, visitor, photo) for visitor in "abcdef")


def test_visitors_do_not_see_each_other(predictor, photo, tmp_path):
    other = save_photo(tmp_path / "other.png", 64, 100)
    sessions = Sessions(predictor)
    assert ask(sessions, "a", photo).prediction.camera.width == 120
    assert ask(sessions, "b", other).prediction.camera.width == 64
    assert holds(sessions, "a", photo) and not holds(sessions, "b", photo)


def test_who_leaves_takes_everything_along(predictor, photo, tmp_path):
    mine = save_photo(tmp_path / "mine.png", 64, 100)
    sessions, runs = Sessions(predictor), count_forwards(predictor)
    for visitor, path in (("a", photo), ("b", photo), ("a", mine)):
        ask(sessions, visitor, path)
    folder = sessions.folder("a", tmp_path)
    assert folder == sessions.folder("a", tmp_path) != sessions.folder("b", tmp_path)
    (folder / "result.json").write_text("{}")
    assert sessions.leave("a") == [mine]
    assert not folder.exists() and sessions.folder("b", tmp_path).is_dir()
    runs.clear()
    ask(sessions, "b", photo)
    assert not runs
    ask(sessions, "b", mine)
    assert len(runs) == 1
    assert sessions.leave("nobody") == []
    assert set(sessions.leave("b")) == {photo, mine}


def test_a_file_that_two_have_sent_goes_with_the_last_of_them(predictor, tmp_path):
    sessions, video, other = Sessions(predictor), tmp_path / "a.mp4", tmp_path / "b.mp4"
    sessions.hold("a", [video, other])
    sessions.hold("b", [video])
    assert sessions.leave("a") == [other]
    assert sessions.leave("b") == [video]


def test_the_least_recent_photos_go_when_memory_is_full(predictor, tmp_path):
    photos = [save_photo(tmp_path / f"{k}.png", 120, 90 + k) for k in range(4)]
    one = Sessions(predictor)
    ask(one, "a", photos[0])
    room = one._total_bytes()
    sessions = Sessions(predictor, kept_bytes=int(3.4 * room))
    for visitor, photo in zip("abcd", photos, strict=True):
        ask(sessions, visitor, photo)
    kept = [holds(sessions, visitor, p) for visitor, p in zip("abcd", photos, strict=True)]
    assert kept == [False, True, True, True]


def test_old_photos_go(predictor, photo, tmp_path, monkeypatch):
    sessions = Sessions(predictor)
    ask(sessions, "a", photo)
    monkeypatch.setattr("aios.page.sessions.KEPT_SECONDS", -1.0)
    ask(sessions, "b", save_photo(tmp_path / "other.png", 64, 100))
    assert not holds(sessions, "a", photo)


def test_what_is_old_goes_though_nobody_asks_any_more(predictor, photo, tmp_path, monkeypatch):
    sessions = Sessions(predictor)
    ask(sessions, "a", photo)
    folder = sessions.folder("a", tmp_path)
    (folder / "result.json").write_text("{}")
    sessions.sweep()
    assert holds(sessions, "a", photo) and folder.exists()
    monkeypatch.setattr("aios.page.sessions.KEPT_SECONDS", -1.0)
    sweep_regularly(sessions, 0.01)
    end = time.monotonic() + 60
    while holds(sessions, "a", photo) or folder.exists():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_sweeper_does_not_keep_what_it_sweeps(predictor):
    sessions = Sessions(predictor)
    known = weakref.ref(sessions)
    sweep_regularly(sessions, 0.01)
    del sessions
    end = time.monotonic() + 60
    while known() is not None:
        assert time.monotonic() < end
        gc.collect()


def test_a_bad_photo_leaves_nothing_behind_and_names_no_folder(predictor, tmp_path):
    sessions = Sessions(predictor)
    for name, content in (("bad.jpg", b"text"), ("gone.jpg", None)):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(PhotoError) as caught:
            ask(sessions, "a", path)
        assert name in str(caught.value)
        assert str(tmp_path) not in str(caught.value)
        assert not holds(sessions, "a", path)


def test_large_photos_are_shown_small_and_written_whole(predictor, tmp_path):
    photo = save_photo(tmp_path / "large.png", 2 * SHOWN_SIDE_PX, 600)
    sessions = Sessions(predictor)
    assert ask(sessions, "a", photo).photo.shape == (300, SHOWN_SIDE_PX, 3)
    files = sessions.write("a", Choice(photo, 0.0, 30, "full"), tmp_path)
    names = ["large.json", "large.npz", "large.glb", "large_overlay.png"]
    assert [Path(file).name for file in files[:4]] == names
    assert Image.open(files[3]).size == (2 * SHOWN_SIDE_PX, 600)


def test_small_photos_are_enlarged_a_little(predictor, tmp_path):
    tiny = ask(Sessions(predictor), "a", save_photo(tmp_path / "tiny.png", 30, 20))
    assert tiny.photo.shape == (20 * MOST_ENLARGED, 30 * MOST_ENLARGED, 3)
    some = ask(Sessions(predictor), "a", save_photo(tmp_path / "some.png", 800, 600))
    assert some.photo.shape == (768, 1024, 3)
