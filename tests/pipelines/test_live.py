"""A live stream: the same people as elsewhere, counted by the clock, steady when asked."""

import threading

import numpy as np
import pytest

from aios.media.photo import PhotoError
from aios.pipelines import live
from aios.pipelines.live import DRAWN_SIDE_PX, LiveSettings, LiveStream
from tests.helpers.served import count_forwards, tiny_predictor

FAST = LiveSettings(0.0, "fast", True)


@pytest.fixture(scope="module")
def predictor():
    return tiny_predictor()


def noise(height=90, width=120, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only when a test says so."""
    now = [100.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    return now


def test_a_frame_shows_its_people(predictor):
    shown = LiveStream(predictor)(noise(), FAST)
    assert shown.people == 5 and shown.frames_per_second == 0 and shown.seconds > 0
    assert shown.picture.shape == (90, 120, 3) and (shown.picture != noise()).any()


def test_each_frame_runs_the_network_once_at_the_size_asked_for(predictor, monkeypatch):
    sizes = []
    usual = type(predictor).find_candidates
    monkeypatch.setattr(
        type(predictor),
        "find_candidates",
        lambda self, frame, **how: (
            sizes.append(how["image"].short_side) or usual(self, frame, **how)
        ),
    )
    runs, stream = count_forwards(predictor), LiveStream(predictor)
    for settings in (FAST, FAST, LiveSettings(0.0, "full", True)):
        stream(noise(), settings)
    assert len(runs) == 3 and sorted(sizes) == [61, 61, 96]


def test_frames_a_second_are_those_of_the_clock(predictor, clock):
    stream = LiveStream(predictor)
    for _ in range(20):
        clock[0] += 0.2
        shown = stream(noise(), FAST)
    assert shown.frames_per_second == pytest.approx(5)
    clock[0] += 2.0
    assert stream(noise(), FAST).frames_per_second < 4
    clock[0] += 60.0
    assert stream(noise(), FAST).frames_per_second == 0


def test_smoothing_makes_still_people_stiller(predictor, clock, monkeypatch):
    usual, posed = live.StreamTracker.pose, []

    def pose(tracker, tracked):
        posed.append(tracked.people.global_orient[0].copy())
        return usual(tracker, tracked)

    monkeypatch.setattr(live.StreamTracker, "pose", pose)

    def restlessness(smooth):
        stream = LiveStream(predictor)
        posed.clear()
        for seed in range(8):
            clock[0] += 0.1
            frame = np.clip(noise().astype(int) + noise(seed=seed + 1) // 16, 0, 255)
            stream(frame.astype(np.uint8), LiveSettings(0.0, "full", smooth))
        return float(np.abs(np.diff(posed, axis=0)).mean())

    assert 0 < restlessness(True) < 0.9 * restlessness(False)


def test_large_frames_are_drawn_small(predictor):
    shown = LiveStream(predictor)(noise(720, 1280), FAST)
    assert shown.picture.shape == (288, DRAWN_SIDE_PX, 3)


def test_a_picture_is_of_the_frame_before_while_the_network_is_at_the_next(predictor, monkeypatch):
    usual, let_go = type(predictor).find_candidates, threading.Event()
    let_go.set()

    def find(self, frame, **how):
        assert let_go.wait(30)
        return usual(self, frame, **how)

    monkeypatch.setattr(type(predictor), "find_candidates", find)

    def seed_of(shown):
        """Of the frame that is seen where nobody is drawn."""
        return max((1, 2, 3), key=lambda seed: (shown.picture == noise(seed=seed)).mean())

    stream = LiveStream(predictor)
    first = stream(noise(seed=1), FAST)
    let_go.clear()
    again = stream(noise(seed=2), FAST)  # answers although the network has not seen the frame
    let_go.set()
    second = stream(noise(seed=3), FAST)
    assert [seed_of(shown) for shown in (first, again, second)] == [1, 1, 2]


def test_a_frame_that_cannot_be_worked_on_is_told_once(predictor):
    stream, narrow = LiveStream(predictor), np.zeros((2, 4000, 3), np.uint8)
    with pytest.raises(PhotoError, match="narrow"):
        stream(narrow, FAST)
    stream(noise(), FAST)
    stream(narrow, FAST)
    with pytest.raises(PhotoError, match="narrow"):
        stream(noise(), FAST)
    assert stream(noise(), FAST).people == 5


def test_other_settings_never_show_what_the_old_ones_found(predictor):
    stream = LiveStream(predictor)
    for seed in (1, 2):
        stream(noise(seed=seed), FAST)
    assert stream(noise(seed=3), LiveSettings(1.0, "fast", True)).people == 0
