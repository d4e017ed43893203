"""Live stream: each frame with its people drawn over it, and the frame rate."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

from ..predictor import DEFAULT_MAX_PEOPLE, AiOSPredictor
from ..render.overlay import overlay, person_colors
from ..tracking.smoothing import SMOOTHING
from .stream_tracker import StreamTracker, TrackedPeople

DRAWN_SIDE_PX = 512
"""Longer side of drawn frames at most: drawing larger ones costs more than the network."""
IDLE_SECONDS = 30.0
"""Time without a frame after which a stream may be closed."""
_RATE_WINDOW_S = 3.0
_RESTART_PAUSE_S = 5.0


@dataclass(frozen=True)
class LiveSettings:
    """Settings of a stream.

    Attributes:
        threshold: lowest score that starts a track, 0-1.
        input_size: key of `AiOSPredictor.input_sizes`.
        smooth: whether to smooth motion with a one-euro filter.
    """

    threshold: float
    input_size: str
    smooth: bool


@dataclass(frozen=True)
class LiveFrame:
    """Output for one frame.

    Attributes:
        picture: (h, w, 3) uint8 RGB, the frame with the meshes over it.
        people: number of people.
        seconds: latency from the arrival of the shown frame to the picture.
        frames_per_second: measured over the last seconds; 0 at first.
    """

    picture: np.ndarray
    people: int
    seconds: float
    frames_per_second: float


@dataclass(frozen=True)
class _Detected:
    frame: np.ndarray
    arrival: float
    tracked: TrackedPeople


class LiveStream:
    """Stream of one camera; a long pause or other settings restart tracking.

    While the network runs on one frame, the caller poses, draws, encodes and sends the one before.
    Output is therefore one frame late: the first call returns its own frame, which the second call
    returns again.
    """

    def __init__(self, predictor: AiOSPredictor) -> None:
        """Create a stream that runs `predictor`."""
        self.predictor = predictor
        self._settings: LiveSettings | None = None
        self._tracker: StreamTracker | None = None
        self._network = ThreadPoolExecutor(1, thread_name_prefix="aios-live")
        self._pending: Future[_Detected] | None = None
        self._done: deque[float] = deque()
        self._last_frame = time.monotonic()

    def is_idle(self) -> bool:
        """Whether no frame has arrived for `IDLE_SECONDS`."""
        return time.monotonic() - self._last_frame > IDLE_SECONDS

    def close(self) -> None:
        """End the thread of the network and drop all frames; later calls fail."""
        self._network.shutdown(wait=False, cancel_futures=True)
        self._tracker = self._pending = None

    def __call__(self, frame: np.ndarray, settings: LiveSettings) -> LiveFrame:
        """Submit the next frame, (H, W, 3) uint8 RGB, and return the previous one.

        Raises:
            PhotoError: the previous frame cannot be processed.
        """
        now = self._last_frame = time.monotonic()
        tracker = self._tracker_for(settings, now)
        pending = self._network.submit(self._detect, tracker, frame, settings, now)
        previous, self._pending = self._pending or pending, pending
        try:
            detected = previous.result()
        except Exception:
            if previous is pending:
                self._pending = None
            raise
        return self._show(tracker, detected)

    def _detect(
        self, tracker: StreamTracker, frame: np.ndarray, settings: LiveSettings, arrival: float
    ) -> _Detected:
        size = self.predictor.input_sizes[settings.input_size]
        candidates = self.predictor.find_candidates(frame, image=size)
        return _Detected(frame, arrival, tracker.track(candidates, arrival, frame))

    def _show(self, tracker: StreamTracker, detected: _Detected) -> LiveFrame:
        prediction = tracker.pose(detected.tracked)
        small = _downscaled(detected.frame)
        picture = overlay(
            small,
            prediction.vertices,
            prediction.faces,
            prediction.camera.scaled(small.shape[1], small.shape[0]),
            person_colors(detected.tracked.numbers - 1),
        )
        end = time.monotonic()
        return LiveFrame(picture, len(prediction), end - detected.arrival, self._update_rate(end))

    def _tracker_for(self, settings: LiveSettings, now: float) -> StreamTracker:
        paused = bool(self._done) and now - self._done[-1] > _RESTART_PAUSE_S
        if self._tracker is None or settings != self._settings or paused:
            smoothing = SMOOTHING if settings.smooth else None
            self._tracker = StreamTracker(
                self.predictor, settings.threshold, DEFAULT_MAX_PEOPLE, smoothing
            )
            self._settings = settings
            self._pending = None
            self._done.clear()
        return self._tracker

    def _update_rate(self, now: float) -> float:
        self._done.append(now)
        while now - self._done[0] > _RATE_WINDOW_S:
            self._done.popleft()
        elapsed = now - self._done[0]
        return (len(self._done) - 1) / elapsed if elapsed else 0.0


def _downscaled(frame: np.ndarray) -> np.ndarray:
    height, width = frame.shape[:2]
    scale = DRAWN_SIDE_PX / max(height, width)
    if scale >= 1:
        return frame
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
