"""A live stream of one visitor: every frame with its people, and how fast that goes."""

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
"""Frames are drawn on at most this long side: drawing and sending cost more than the network."""
_COUNTED_SECONDS = 3.0
_PAUSE_SECONDS = 5.0


@dataclass(frozen=True)
class LiveSettings:
    """How to read a stream.

    Attributes:
        threshold: lowest score with which somebody is first seen, 0-1.
        input_size: one of `AiOSPredictor.input_sizes`.
        smooth: whether people move smoothly (one-euro filter).
    """

    threshold: float
    input_size: str
    smooth: bool


@dataclass(frozen=True)
class LiveFrame:
    """What to show of one frame.

    Attributes:
        picture: (h, w, 3) uint8 RGB, the frame with the meshes over it.
        people: how many.
        seconds: from the arrival of the frame in the picture to the picture.
        frames_per_second: of the last seconds, as they were asked for and answered; 0 at first.
    """

    picture: np.ndarray
    people: int
    seconds: float
    frames_per_second: float


@dataclass(frozen=True)
class _Found:
    frame: np.ndarray
    arrival: float
    tracked: TrackedPeople


class LiveStream:
    """Frames of one camera, one after another; a long pause or other settings start anew.

    While the network looks for the people of a frame, those of the frame before are posed, drawn
    and, once the answer is out of hand, encoded and sent.  So pictures are one frame late; only the
    first shows its own frame, which then comes a second time.
    """

    def __init__(self, predictor: AiOSPredictor) -> None:
        """Answer with `predictor`."""
        self.predictor = predictor
        self._settings: LiveSettings | None = None
        self._tracker: StreamTracker | None = None
        self._network = ThreadPoolExecutor(1, thread_name_prefix="aios-live")
        self._coming: Future[_Found] | None = None
        self._done: deque[float] = deque()

    def __call__(self, frame: np.ndarray, settings: LiveSettings) -> LiveFrame:
        """Take the next frame, (H, W, 3) uint8 RGB, and show the one before.

        Raises:
            PhotoError: the frame to be shown is one that cannot be worked on.
        """
        now = time.monotonic()
        tracker = self._tracker_for(settings, now)
        coming = self._network.submit(self._find, tracker, frame, settings, now)
        before, self._coming = self._coming or coming, coming
        try:
            found = before.result()
        except Exception:
            if before is coming:
                self._coming = None
            raise
        return self._show(tracker, found)

    def _find(
        self, tracker: StreamTracker, frame: np.ndarray, settings: LiveSettings, arrival: float
    ) -> _Found:
        size = self.predictor.input_sizes[settings.input_size]
        candidates = self.predictor.find_candidates(frame, image=size)
        return _Found(frame, arrival, tracker.track(candidates, arrival, frame))

    def _show(self, tracker: StreamTracker, found: _Found) -> LiveFrame:
        prediction = tracker.pose(found.tracked)
        small = _smaller(found.frame)
        picture = overlay(
            small,
            prediction.vertices,
            prediction.faces,
            prediction.camera.scaled(small.shape[1], small.shape[0]),
            person_colors(found.tracked.numbers - 1),
        )
        end = time.monotonic()
        return LiveFrame(picture, len(prediction), end - found.arrival, self._count(end))

    def _tracker_for(self, settings: LiveSettings, now: float) -> StreamTracker:
        paused = bool(self._done) and now - self._done[-1] > _PAUSE_SECONDS
        if self._tracker is None or settings != self._settings or paused:
            smoothing = SMOOTHING if settings.smooth else None
            self._tracker = StreamTracker(
                self.predictor, settings.threshold, DEFAULT_MAX_PEOPLE, smoothing
            )
            self._settings = settings
            self._coming = None
            self._done.clear()
        return self._tracker

    def _count(self, now: float) -> float:
        self._done.append(now)
        while now - self._done[0] > _COUNTED_SECONDS:
            self._done.popleft()
        elapsed = now - self._done[0]
        return (len(self._done) - 1) / elapsed if elapsed else 0.0


def _smaller(frame: np.ndarray) -> np.ndarray:
    height, width = frame.shape[:2]
    scale = DRAWN_SIDE_PX / max(height, width)
    if scale >= 1:
        return frame
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
