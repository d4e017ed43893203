"""Cache of network outputs: one run per photo content and input size, bounded and expiring."""

import threading

import numpy as np
import pytest

from aios.media.photo import PhotoError
from aios.page.people_table import people_html
from aios.page.results import MAX_ENLARGEMENT, SCREEN_SIDE_PX, PhotoQuery, ResultCache
from tests.helpers.image_files import save_photo_with_focal_length
from tests.helpers.served import count_forwards, middle_threshold, save_photo, tiny_predictor


@pytest.fixture(scope="module")
def predictor():
    return tiny_predictor()


@pytest.fixture
def cache(predictor):
    return ResultCache(predictor, 300_000_000)


@pytest.fixture
def photo(tmp_path):
    return save_photo(tmp_path / "photo.png")


def ask(cache, holder, photo, threshold=0.0, people=30, size="full", field_of_view=0.0):
    query = PhotoQuery(photo, threshold, people, size, field_of_view)
    return cache.result(holder, cache._predictor, query)


def holds(cache, holder, photo, size="full"):
    return cache.holds(holder, PhotoQuery(photo, 0.0, 30, size))


def test_only_another_photo_or_input_size_runs_the_network(cache, predictor, photo):
    runs = count_forwards(predictor)
    everyone = ask(cache, "a", photo)
    threshold = middle_threshold(predictor, photo)
    runs.clear()
    some = ask(cache, "a", photo, threshold)
    one = ask(cache, "a", photo, people=1)
    empty = ask(cache, "a", photo, 1.0)
    wide = ask(cache, "a", photo, field_of_view=70.0)
    assert not runs
    assert [len(r.prediction) for r in (everyone, some, one, empty, wide)] == [5, 2, 1, 0, 5]
    best = float(everyone.prediction.people.scores[0])
    assert {r.best_score for r in (everyone, some, one, empty)} == {best}
    assert wide.prediction.camera.field_of_view == pytest.approx(70)
    ask(cache, "a", photo, size="fast")
    assert len(runs) == 1


def test_field_of_view_is_that_of_the_exif_data_unless_chosen(cache, tmp_path):
    path = save_photo_with_focal_length(tmp_path / "phone.jpg", 26)
    result = ask(cache, "a", path).prediction
    assert result.focal_length_from == "exif"
    assert result.camera.field_of_view == pytest.approx(67.3, abs=0.1)
    chosen = ask(cache, "a", path, field_of_view=70.0).prediction
    assert chosen.focal_length_from == "chosen"
    assert "67 degrees (from the EXIF data)" in people_html(result)
    assert "70 degrees." in people_html(chosen)


def test_result_equals_that_of_the_predictor(cache, predictor, photo):
    result = ask(cache, "a", photo)
    direct = predictor.predict(photo, 0.0)
    np.testing.assert_array_equal(result.prediction.vertices, direct.vertices)
    assert result.candidates.attention is not None
    screen = result.on_screen.camera
    assert result.photo.shape == (screen.height, screen.width, 3) == (180, 240, 3)
    assert result.prediction.camera == direct.camera


def test_equal_content_shares_one_run_between_holders(cache, predictor, photo, tmp_path):
    copy = tmp_path / "elsewhere" / "other name.png"
    copy.parent.mkdir()
    copy.write_bytes(photo.read_bytes())
    runs = count_forwards(predictor)
    first = ask(cache, "a", photo)
    again = ask(cache, "b", copy)
    assert len(runs) == 1
    np.testing.assert_array_equal(first.prediction.vertices, again.prediction.vertices)
    # Other content under the same path is another photo.
    save_photo(photo, 64, 100)
    assert ask(cache, "a", photo).prediction.camera.width == 64
    assert len(runs) == 2


def test_simultaneous_queries_share_one_run(cache, predictor, photo):
    runs = count_forwards(predictor)
    threads = [threading.Thread(target=ask, args=(cache, holder, photo)) for holder in "abcdef"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(runs) == 1
    assert all(holds(cache, holder, photo) for holder in "abcdef")


def test_entry_is_dropped_with_its_last_holder(cache, photo):
    for holder in "ab":
        ask(cache, holder, photo)
    cache.release("a")
    assert not holds(cache, "a", photo) and holds(cache, "b", photo)
    cache.release("b")
    assert cache.nbytes == 0


def test_least_recently_used_entries_are_dropped(predictor, tmp_path):
    photos = [save_photo(tmp_path / f"{k}.png", 120, 90 + k) for k in range(4)]
    one = ResultCache(predictor, 300_000_000)
    ask(one, "a", photos[0])
    cache = ResultCache(predictor, int(3.4 * one.nbytes))
    for holder, photo in zip("abcd", photos, strict=True):
        ask(cache, holder, photo)
    kept = [holds(cache, holder, photo) for holder, photo in zip("abcd", photos, strict=True)]
    assert kept == [False, True, True, True]


def test_unreadable_photo_leaves_no_entry_and_the_error_has_no_folder(cache, tmp_path):
    for name, content in (("bad.jpg", b"text"), ("gone.jpg", None)):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(PhotoError) as caught:
            ask(cache, "a", path)
        assert name in str(caught.value)
        assert str(tmp_path) not in str(caught.value)
        assert not holds(cache, "a", path)


def test_photo_that_is_cut_off_has_a_note(cache, tmp_path):
    path = save_photo(tmp_path / "cut.jpg", 64, 48)
    assert ask(cache, "a", path).note == ""
    path.write_bytes(path.read_bytes()[:-2])
    assert ask(cache, "a", path).note == "cut.jpg is cut off: its end is missing."


def test_photos_are_scaled_for_the_screen(cache, tmp_path):
    large = ask(cache, "a", save_photo(tmp_path / "large.png", 2 * SCREEN_SIDE_PX, 600))
    assert large.photo.shape == (300, SCREEN_SIDE_PX, 3)
    tiny = ask(cache, "a", save_photo(tmp_path / "tiny.png", 30, 20))
    assert tiny.photo.shape == (20 * MAX_ENLARGEMENT, 30 * MAX_ENLARGEMENT, 3)
    some = ask(cache, "a", save_photo(tmp_path / "some.png", 800, 600))
    assert some.photo.shape == (768, 1024, 3)
