"""Live streams: latency of one frame, frame rate, settings, errors."""

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
    """Seconds of a clock that only the test advances."""
    now = [100.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    return now


def test_picture_shows_the_people_of_the_frame(predictor):
    shown = LiveStream(predictor)(noise(), FAST)
    assert shown.people == 5 and shown.frames_per_second == 0 and shown.seconds > 0
    assert shown.picture.shape == (90, 120, 3) and (shown.picture != noise()).any()


def test_each_frame_runs_the_network_once_at_the_selected_size(predictor, monkeypatch):
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


def test_frame_rate_is_measured_over_recent_frames(predictor, clock):
    stream = LiveStream(predictor)
    for _ in range(20):
        clock[0] += 0.2
        shown = stream(noise(), FAST)
    assert shown.frames_per_second == pytest.approx(5)
    clock[0] += 2.0
    assert stream(noise(), FAST).frames_per_second < 4
    clock[0] += 60.0
    assert stream(noise(), FAST).frames_per_second == 0


def test_smoothing_reduces_jitter(predictor, clock, monkeypatch):
    usual, posed = live.StreamTracker.pose, []

    def pose(tracker, tracked):
        posed.append(tracked.people.global_orient[0].copy())
        return usual(tracker, tracked)

    monkeypatch.setattr(live.StreamTracker, "pose", pose)

    def jitter(smooth):
        stream = LiveStream(predictor)
        posed.clear()
        for seed in range(8):
            clock[0] += 0.1
            frame = np.clip(noise().astype(int) + noise(seed=seed + 1) // 16, 0, 255)
            stream(frame.astype(np.uint8), LiveSettings(0.0, "full", smooth))
        return float(np.abs(np.diff(posed, axis=0)).mean())

    assert 0 < jitter(True) < 0.9 * jitter(False)


def test_large_frames_are_drawn_at_a_bounded_size(predictor):
    shown = LiveStream(predictor)(noise(720, 1280), FAST)
    assert shown.picture.shape == (288, DRAWN_SIDE_PX, 3)


def test_previous_frame_is_returned_while_the_network_runs_on_the_next(predictor, monkeypatch):
    usual, release = type(predictor).find_candidates, threading.Event()
    release.set()

    def find(self, frame, **how):
        assert release.wait(30)
        return usual(self, frame, **how)

    monkeypatch.setattr(type(predictor), "find_candidates", find)

    def seed_of(shown):
        """Seed of the frame visible in the background."""
        return max((1, 2, 3), key=lambda seed: (shown.picture == noise(seed=seed)).mean())

    stream = LiveStream(predictor)
    first = stream(noise(seed=1), FAST)
    release.clear()
    again = stream(noise(seed=2), FAST)  # returns before the network has run on the frame
    release.set()
    second = stream(noise(seed=3), FAST)
    assert [seed_of(shown) for shown in (first, again, second)] == [1, 1, 2]


def test_unusable_frame_is_reported_once(predictor):
    stream, narrow = LiveStream(predictor), np.zeros((2, 4000, 3), np.uint8)
    with pytest.raises(PhotoError, match="narrow"):
        stream(narrow, FAST)
    stream(noise(), FAST)
    stream(narrow, FAST)
    with pytest.raises(PhotoError, match="narrow"):
        stream(noise(), FAST)
    assert stream(noise(), FAST).people == 5


def test_new_settings_discard_pending_results_of_the_old_ones(predictor):
    stream = LiveStream(predictor)
    for seed in (1, 2):
        stream(noise(seed=seed), FAST)
    assert stream(noise(seed=3), LiveSettings(1.0, "fast", True)).people == 0
