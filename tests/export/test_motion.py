"""Motion store: records are read back unchanged, in chunks."""

import numpy as np
import pytest

from aios.export import motion
from aios.export.motion import MotionStore
from tests.helpers.motions import make_store, records
from tests.helpers.people_makers import make_person, together


@pytest.fixture(params=[1, 3, 1024])
def chunk(request, monkeypatch):
    monkeypatch.setattr(motion, "_ROWS_AT_ONCE", request.param)


def fill(path, frames):
    """Build a store; frames are lists of (track number, pose value)."""
    store = MotionStore(path)
    for index, frame in enumerate(frames):
        people = together(*(make_person(body_pose=np.full(63, value)) for _, value in frame))
        store.add(people, np.array([number for number, _ in frame], np.int64), index / 10)
    return store


FRAMES = [[], [(1, 0.1)], [(1, 0.2), (2, 0.3)], [], [(2, 0.4), (3, 0.5)], [(2, 0.6)], []]


def test_moved_person_is_read_at_the_new_positions(tmp_path, chunk):
    store = fill(tmp_path / "motion", FRAMES)
    store.finish(1, mean_shape=False)
    before = {number: records(store, number) for number in (1, 2, 3)}
    translations = np.arange(9.0).reshape(3, 3) / 4
    store.move(2, translations)
    moved = records(store, 2)
    np.testing.assert_allclose(moved["transl"], before[2]["transl"] + translations)
    depth = moved["transl"][:, 2:]
    np.testing.assert_allclose(moved["weak_camera"][:, 1:], moved["transl"][:, :2] / depth)
    np.testing.assert_allclose(moved["weak_camera"][:, :1], 1 / depth)
    for number in (1, 3):
        np.testing.assert_array_equal(records(store, number), before[number])
    lateral = [people.transl[numbers == 2, 0] for people, numbers in store.frames()]
    np.testing.assert_allclose(np.concatenate(lateral), translations[:, 0])


def test_frames_are_read_back(tmp_path, chunk):
    store = fill(tmp_path / "motion", FRAMES)
    store.finish(1, mean_shape=False)
    found = [
        [(n, round(float(p), 3)) for n, p in zip(numbers, people.body_pose[:, 0], strict=True)]
        for people, numbers in store.frames()
    ]
    assert found == FRAMES
    np.testing.assert_allclose(store.times, np.arange(7) / 10)
    assert store.count() == 6


def test_short_tracks_are_dropped_and_others_renumbered(tmp_path, chunk):
    store = fill(tmp_path / "motion", FRAMES)
    store.finish(2, mean_shape=False)
    assert list(store.tracks) == [1, 2]
    numbers = [n.tolist() for _, n in store.frames()]
    assert numbers == [[], [1], [1, 2], [], [2], [2], []]
    store = fill(tmp_path / "motion", FRAMES)
    store.finish(3, mean_shape=False)
    assert [n.tolist() for _, n in store.frames()] == [[], [], [1], [], [1], [1], []]
    track = store.tracks[1]
    assert (track.count, track.first_frame, track.last_frame) == (3, 2, 5)
    np.testing.assert_allclose(records(store, 1)["body_pose"][:, 0], [0.3, 0.4, 0.6], rtol=1e-6)


def test_single_frame_video_keeps_its_people(tmp_path):
    store = fill(tmp_path / "motion", [[(1, 0.1)]])
    store.finish(3, mean_shape=False)
    assert list(store.tracks) == [1]


def test_video_without_people(tmp_path):
    store = fill(tmp_path / "motion", [[], []])
    store.finish(3, mean_shape=True)
    assert [len(people) for people, _ in store.frames()] == [0, 0]
    assert (store.tracks, store.count()) == ({}, 0)


def test_records_have_the_mean_shape_of_the_track(tmp_path, chunk):
    for mean_shape in (True, False):
        store = MotionStore(tmp_path / "motion")
        for index in range(4):
            store.add(make_person(betas=np.full(10, index)), np.array([7]), index)
        store.finish(1, mean_shape)
        expected = [3, 3, 3, 3] if mean_shape else [0, 1, 2, 3]
        assert records(store, 1)["betas"][:, 0].tolist() == expected


def test_all_fields_are_kept(tmp_path):
    store = make_store(tmp_path / "motion", 3)
    (people, numbers), *_ = store.frames()
    assert numbers.tolist() == [1, 2]
    rows = records(store, 2)
    for name in vars(people):
        np.testing.assert_array_equal(rows[name][0], getattr(people, name)[1])
