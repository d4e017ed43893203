"""Detect, track and smooth the people of a stream of frames, live or from a file."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from ..geometry.camera import Camera
from ..people import People
from ..prediction import Candidates, Prediction
from ..predictor import DEFAULT_MAX_PEOPLE, AiOSPredictor
from ..tracking.smoothing import SMOOTHING, PersonFilter, Smoothing
from ..tracking.tracker import TRACKING, Tracker, Tracking, clothes_colors


@dataclass(frozen=True)
class TrackedPeople:
    """Tracked people of one frame.

    Attributes:
        people: P people, smoothed, in the order of `numbers`.
        numbers: (P,) int64 track numbers, ascending, from 1 in order of first appearance; colours
            are `person_colors(numbers - 1)`.
        camera: camera of the frame.
    """

    people: People
    numbers: np.ndarray
    camera: Camera


class StreamTracker:
    """Tracker of one stream, called with every frame in order.

    ::

        tracker = StreamTracker(predictor)
        tracked = tracker(frame, seconds)
        prediction = tracker.pose(tracked)
        picture = overlay(frame, prediction.vertices, prediction.faces, prediction.camera,
                          person_colors(tracked.numbers - 1))
    """

    def __init__(
        self,
        predictor: AiOSPredictor,
        threshold: float | None = None,
        max_people: int = DEFAULT_MAX_PEOPLE,
        smoothing: Smoothing | None = SMOOTHING,
        tracking: Tracking = TRACKING,
    ) -> None:
        """Start without tracks.

        Args:
            predictor: detects people.
            threshold: lowest score that starts a track, 0-1; None takes the threshold of the
                weights.  A track continues at lower scores (see `Tracking`).
            max_people: people per frame at most; the tracks that began first are kept.
            smoothing: of the motion; None keeps the output of the network, including a shape that
                differs from frame to frame.
            tracking: parameters of the tracker.

        Raises:
            ValueError: a threshold outside 0-1.
        """
        threshold = predictor.weights.threshold if threshold is None else threshold
        if not 0 <= threshold <= 1:
            raise ValueError(f"The score threshold must be between 0 and 1, not {threshold}.")
        self._predictor = predictor
        self._max_people = max_people
        self._smoothing = smoothing
        self._tracker = Tracker(threshold, tracking)
        self._filters: dict[int, PersonFilter] = {}

    def __call__(self, frame: np.ndarray, time: float) -> TrackedPeople:
        """Detect and track the people of the next frame.

        Args:
            frame: (H, W, 3) uint8 RGB.
            time: seconds, strictly increasing.

        Raises:
            PhotoError: the frame cannot be processed, for example because it is too narrow.
        """
        found = self._predictor.find_candidates(frame)
        return self.track(found, time, frame)

    def track(
        self, candidates: Candidates, time: float, frame: np.ndarray | None = None
    ) -> TrackedPeople:
        """Track given candidates; the colours of `frame` help to re-identify people."""
        people = candidates.people
        people = people.select(people.scores >= self._tracker.lowest_score)
        people = people.suppress_duplicates(self._predictor.weights.max_overlap)
        # A floor of each frame would jitter.  Videos of a still camera get one floor afterwards.
        people = self._predictor.placed(people, candidates.camera, common_floor=False)
        colors = None if frame is None else clothes_colors(frame, people)
        numbers = self._tracker.update(people, time, colors)
        order = np.argsort(numbers, kind="stable")
        order = order[numbers[order] > 0][: max(self._max_people, 0)]
        people, numbers = people.select(order), numbers[order]
        if self._smoothing is not None:
            people = self._smooth(people, numbers, time)
        return TrackedPeople(people, numbers, candidates.camera)

    def pose(self, tracked: TrackedPeople) -> Prediction:
        """Pose the bodies of tracked people; see `AiOSPredictor.predict`.

        Raises:
            ValueError: parameters that the body model does not accept.
        """
        candidates = Candidates(tracked.people, tracked.camera, placed=True)
        return self._predictor.assemble(candidates, 0.0, len(tracked.people))

    def _smooth(self, people: People, numbers: np.ndarray, time: float) -> People:
        smoothed = []
        for index, number in enumerate(numbers.tolist()):
            person = self._filters.setdefault(number, PersonFilter(self._smoothing or SMOOTHING))
            smoothed.append(person(people.select(slice(index, index + 1)), time))
        for number in self._filters.keys() - self._tracker.numbers:
            del self._filters[number]
        return _concatenate(smoothed) if smoothed else people


def _concatenate(parts: list[People]) -> People:
    names = [f.name for f in fields(People)]
    return People(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})
