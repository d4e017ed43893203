"""Multi-person tracker: stable identities across frames and short occlusions."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from ..people import People

TORSO = (5, 6, 11, 12)
"""Shoulders and hips among the 17 COCO keypoints."""
_THIGHS = (11, 12, 13, 14)
_NO_MATCH_COST = 1e6
_COLOR_MEMORY = 0.9
"""Weight of the previous clothing colours of a track against those of a new frame."""


@dataclass(frozen=True)
class Tracking:
    """Tracker parameters.  Distances are relative to the person size (root of the box area).

    Attributes:
        max_gap_s: seconds without a detection after which a track ends.
        max_gap_frames: frames without a detection that a track survives at least, however far
            apart they are: below one frame a second, each gap is longer than `max_gap_s`.
        max_distance: largest distance from the predicted to the detected position.
        distance_growth: increase of `max_distance` per second without a detection, up to
            `max_gap_s`.
        weak_share: detections with a score below the threshold, but of at least this share of it,
            continue a track and never start one.
        weak_distance: `max_distance` of these detections.
        depth_weight: cost of a change of depth by a factor e.
        color_weight: cost of opposite clothing colours.
    """

    max_gap_s: float = 1.0
    max_gap_frames: int = 3
    max_distance: float = 0.5
    distance_growth: float = 1.0
    weak_share: float = 0.5
    weak_distance: float = 0.25
    depth_weight: float = 0.3
    color_weight: float = 1.0


TRACKING = Tracking()


@dataclass
class _Track:
    number: int
    points: np.ndarray
    size: float
    depth: float
    colors: np.ndarray
    last_time: float
    missed: int = 0
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))

    def predict(self, time: float) -> np.ndarray:
        """Predict the (17, 2) points: constant direction, with a speed that decays to 0."""
        elapsed = time - self.last_time
        return self.points + self.velocity * (elapsed / (1.0 + elapsed))


class Tracker:
    """Assigns track numbers to the people of consecutive frames."""

    def __init__(self, threshold: float, settings: Tracking = TRACKING) -> None:
        """Start without tracks.

        Args:
            threshold: lowest score that starts a track, 0-1.
            settings: tracker parameters.
        """
        self._threshold = threshold
        self._settings = settings
        self._tracks: list[_Track] = []
        self._next = 1

    @property
    def lowest_score(self) -> float:
        """`update` ignores people below this score."""
        return self._threshold * self._settings.weak_share

    @property
    def numbers(self) -> frozenset[int]:
        """Numbers of the tracks that may continue."""
        return frozenset(track.number for track in self._tracks)

    def update(self, people: People, time: float, colors: np.ndarray | None = None) -> np.ndarray:
        """Assign track numbers to the people of the next frame.

        Args:
            people: all people with at least `lowest_score`.
            time: seconds, increasing.
            colors: (P, 6) from `clothes_colors`, NaN where unknown; None if unknown for all.

        Returns:
            (P,) int64, from 1 in order of first appearance; 0 for weak detections without a
            track.
        """
        if colors is None:
            colors = np.full((len(people), 6), np.nan)
        self._tracks = [track for track in self._tracks if self._is_alive(track, time)]
        for track in self._tracks:
            track.missed += 1
        numbers = np.zeros(len(people), np.int64)
        sizes = person_sizes(people)
        strong = people.scores >= self._threshold
        unmatched = list(self._tracks)
        for group in (np.flatnonzero(strong), np.flatnonzero(~strong)):
            costs = self._costs(unmatched, people.select(group), sizes[group], colors[group], time)
            is_weak = bool(len(group)) and not strong[group[0]]
            limits = self._max_distances(unmatched, time, is_weak)
            costs[costs > limits[:, None]] = _NO_MATCH_COST
            matched = set()
            for row, column in zip(*linear_sum_assignment(costs), strict=True):
                if costs[row, column] < _NO_MATCH_COST:
                    track, index = unmatched[row], int(group[column])
                    self._continue(track, people, index, sizes[index], colors[index], time)
                    numbers[index] = track.number
                    matched.add(row)
            unmatched = [track for row, track in enumerate(unmatched) if row not in matched]
        for index in np.flatnonzero(strong & (numbers == 0)).tolist():
            numbers[index] = self._start(people, index, sizes[index], colors[index], time)
        return numbers

    def _is_alive(self, track: _Track, time: float) -> bool:
        settings = self._settings
        is_recent = time - track.last_time <= settings.max_gap_s
        return is_recent or track.missed < settings.max_gap_frames

    def _costs(
        self,
        tracks: list[_Track],
        people: People,
        sizes: np.ndarray,
        colors: np.ndarray,
        time: float,
    ) -> np.ndarray:
        """(T, P) matching costs of tracks and detections."""
        settings = self._settings
        costs = np.full((len(tracks), len(people)), _NO_MATCH_COST)
        if not len(people):
            return costs
        points, depths = _points(people), _log_depths(people)
        for row, track in enumerate(tracks):
            distance = np.linalg.norm(points - track.predict(time), axis=-1).mean(-1)
            color_distance = np.nan_to_num(np.abs(colors - track.colors).mean(-1))
            cost = distance / np.maximum(np.sqrt(sizes * track.size), 1.0)
            cost += settings.depth_weight * np.abs(depths - track.depth)
            cost += settings.color_weight * color_distance
            costs[row] = np.fmin(cost, _NO_MATCH_COST)  # NaN does not match
        return costs

    def _max_distances(self, tracks: list[_Track], time: float, weak: bool) -> np.ndarray:
        """(T,) largest cost at which each track matches."""
        base = self._settings.weak_distance if weak else self._settings.max_distance
        gaps = np.array([time - track.last_time for track in tracks])
        gaps = np.minimum(gaps, self._settings.max_gap_s)
        return base + (0.0 if weak else self._settings.distance_growth) * gaps

    def _start(
        self, people: People, index: int, size: float, colors: np.ndarray, time: float
    ) -> int:
        points, depth = _points(people)[index], float(_log_depths(people)[index])
        self._tracks.append(_Track(self._next, points, size, depth, colors.copy(), time))
        self._next += 1
        return self._next - 1

    def _continue(
        self,
        track: _Track,
        people: People,
        index: int,
        size: float,
        colors: np.ndarray,
        time: float,
    ) -> None:
        points = _points(people)[index]
        elapsed = max(time - track.last_time, 1e-3)
        velocity = (points - track.points).mean(0) / elapsed
        # Time constant of 0.1 s: a single jump changes the velocity little.
        share = elapsed / (elapsed + 0.1)
        track.velocity = track.velocity + share * (velocity - track.velocity)
        track.points, track.size, track.last_time, track.missed = points, size, time, 0
        track.depth = float(_log_depths(people)[index])
        mixed = _COLOR_MEMORY * track.colors + (1 - _COLOR_MEMORY) * colors
        known = np.where(np.isnan(colors), track.colors, colors)
        track.colors = np.where(np.isnan(mixed), known, mixed)


def person_sizes(people: People) -> np.ndarray:
    """Square root of the body box area: (P,) float64 pixels, at least 1."""
    sides = (people.boxes_xyxy_px[:, 2:] - people.boxes_xyxy_px[:, :2]).astype(np.float64)
    return np.sqrt(np.clip(sides, 1.0, None).prod(-1))


def _points(people: People) -> np.ndarray:
    """(P, 17, 2) float64 keypoints; box corners for networks without keypoints."""
    corners = people.boxes_xyxy_px[:, [[0, 1], [2, 1], [0, 3], [2, 3]]]
    corners = np.resize(corners.swapaxes(0, 1), (17, *corners.shape[::2])).swapaxes(0, 1)
    points = people.keypoints_2d_px
    return np.where(np.isnan(points), corners, points).astype(np.float64)


def _log_depths(people: People) -> np.ndarray:
    return np.log(np.clip(people.transl[:, 2].astype(np.float64), 1e-2, None))


def clothes_colors(frame: np.ndarray, people: People) -> np.ndarray:
    """Mean colours of the torso and the thighs, for telling people apart.

    Args:
        frame: (H, W, 3) uint8 RGB.
        people: in pixels of this frame.

    Returns:
        (P, 6) float64 0-1, CIE Lab of torso and thighs; NaN for a part outside the frame.
    """
    colors = np.full((len(people), 6), np.nan)
    for index, points in enumerate(people.keypoints_2d_px):
        for part, joints in enumerate((TORSO, _THIGHS)):
            colors[index, 3 * part : 3 * part + 3] = _mean_lab(frame, points[list(joints)])
    return colors


def _mean_lab(frame: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(3,) mean colour of the central half of the box around `points` (4, 2), NaN if outside."""
    middle, half = points.mean(0), np.maximum((points.max(0) - points.min(0)) / 4, 1.0)
    limits = np.array([frame.shape[1], frame.shape[0]])
    if not np.isfinite(middle).all():
        return np.full(3, np.nan)
    x0, y0 = np.clip(np.floor(middle - half), 0, limits).astype(int)
    x1, y1 = np.clip(np.ceil(middle + half), 0, limits).astype(int)
    if x1 <= x0 or y1 <= y0:
        return np.full(3, np.nan)
    mean = frame[y0:y1, x0:x1].reshape(-1, 3).mean(0)
    lab = cv2.cvtColor(np.rint(mean).astype(np.uint8)[None, None], cv2.COLOR_RGB2LAB)
    return lab[0, 0] / 255.0
