"""Who is who from frame to frame: stable numbers for people, through short occlusions."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from ..people import People

TORSO = (5, 6, 11, 12)
"""Shoulders and hips among the 17 COCO keypoints."""
_LEGS = (11, 12, 13, 14)
_NEVER = 1e6
_KEPT_LOOK = 0.9


@dataclass(frozen=True)
class Tracking:
    """How people are followed.  Distances are in sizes of the person (root of the box's area).

    Attributes:
        patience: seconds that somebody may be out of sight and still be the same person.
        reach: farthest distance from the expected place to the found one.
        reach_growth: by which `reach` grows for each second out of sight.
        weak_share: people below the score threshold, but above this share of it, may continue a
            track and never start one.
        weak_reach: `reach` of those.
        depth_weight: distance that a change of depth by a factor e counts as.
        look_weight: distance that clothes of opposite colours count as.
    """

    patience: float = 1.0
    reach: float = 0.5
    reach_growth: float = 1.0
    weak_share: float = 0.5
    weak_reach: float = 0.25
    depth_weight: float = 0.3
    look_weight: float = 1.0


TRACKING = Tracking()


@dataclass
class _Track:
    number: int
    points: np.ndarray
    size: float
    depth: float
    look: np.ndarray
    seen: float
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))

    def expected(self, time: float) -> np.ndarray:
        """(17, 2) where its points should be now: straight on, slowing down to a stop."""
        elapsed = time - self.seen
        return self.points + self.velocity * (elapsed / (1.0 + elapsed))


class Tracker:
    """Gives people of successive frames the numbers of the tracks that they continue."""

    def __init__(self, threshold: float, settings: Tracking = TRACKING) -> None:
        """Start with nobody.

        Args:
            threshold: lowest score that starts a track, 0-1.
            settings: how people are followed.
        """
        self._threshold = threshold
        self._settings = settings
        self._tracks: list[_Track] = []
        self._next = 1

    @property
    def lowest_score(self) -> float:
        """People below this score are of no use to `update`."""
        return self._threshold * self._settings.weak_share

    def update(self, people: People, time: float, looks: np.ndarray | None = None) -> np.ndarray:
        """Number the people of the next frame.

        Args:
            people: everyone with at least `lowest_score`.
            time: seconds, rising.
            looks: (P, 6) from `clothes_colors`, NaN where unknown; None for none.

        Returns:
            (P,) int64, from 1 in order of first appearance; 0 for those who are neither sure
            enough nor expected.
        """
        if looks is None:
            looks = np.full((len(people), 6), np.nan)
        patience = self._settings.patience
        self._tracks = [track for track in self._tracks if time - track.seen <= patience]
        numbers = np.zeros(len(people), np.int64)
        sizes = person_sizes(people)
        strong = people.scores >= self._threshold
        left = list(self._tracks)
        for group in (np.flatnonzero(strong), np.flatnonzero(~strong)):
            costs = self._costs(left, people.select(group), sizes[group], looks[group], time)
            reach = self._reach(left, time, weak=bool(len(group)) and not strong[group[0]])
            costs[costs > reach[:, None]] = _NEVER
            pairs = [(row, col) for row, col in assign(costs) if costs[row, col] < _NEVER]
            for row, column in pairs:
                index = int(group[column])
                self._continue(left[row], people, index, sizes[index], looks[index], time)
                numbers[index] = left[row].number
            taken = {row for row, _ in pairs}
            left = [track for row, track in enumerate(left) if row not in taken]
        for index in np.flatnonzero(strong & (numbers == 0)).tolist():
            numbers[index] = self._start(people, index, sizes[index], looks[index], time)
        return numbers

    def _costs(
        self,
        tracks: list[_Track],
        people: People,
        sizes: np.ndarray,
        looks: np.ndarray,
        time: float,
    ) -> np.ndarray:
        """(T, P) distances between what is expected and what was found."""
        settings = self._settings
        costs = np.full((len(tracks), len(people)), _NEVER)
        if not len(people):
            return costs
        points, depths = _points(people), _log_depths(people)
        for row, track in enumerate(tracks):
            away = np.linalg.norm(points - track.expected(time), axis=-1).mean(-1)
            look = np.nan_to_num(np.abs(looks - track.look).mean(-1))
            cost = away / np.maximum(np.sqrt(sizes * track.size), 1.0)
            cost += settings.depth_weight * np.abs(depths - track.depth)
            costs[row] = np.minimum(cost + settings.look_weight * look, _NEVER)
        return costs

    def _reach(self, tracks: list[_Track], time: float, weak: bool) -> np.ndarray:
        base = self._settings.weak_reach if weak else self._settings.reach
        away = np.array([time - track.seen for track in tracks])
        return base + (0.0 if weak else self._settings.reach_growth) * away

    def _start(self, people: People, index: int, size: float, look: np.ndarray, time: float) -> int:
        points, depth = _points(people)[index], float(_log_depths(people)[index])
        self._tracks.append(_Track(self._next, points, size, depth, look.copy(), time))
        self._next += 1
        return self._next - 1

    def _continue(
        self,
        track: _Track,
        people: People,
        index: int,
        size: float,
        look: np.ndarray,
        time: float,
    ) -> None:
        points = _points(people)[index]
        elapsed = max(time - track.seen, 1e-3)
        velocity = (points - track.points).mean(0) / elapsed
        # Half the weight after a tenth of a second, so that one jump is not a direction.
        share = elapsed / (elapsed + 0.1)
        track.velocity = track.velocity + share * (velocity - track.velocity)
        track.points, track.size, track.seen = points, size, time
        track.depth = float(_log_depths(people)[index])
        mixed = _KEPT_LOOK * track.look + (1 - _KEPT_LOOK) * look
        track.look = np.where(np.isnan(mixed), np.where(np.isnan(look), track.look, look), mixed)


def person_sizes(people: People) -> np.ndarray:
    """(P,) float64 root of the area of the body box, pixels, at least 1."""
    sides = (people.boxes_xyxy_px[:, 2:] - people.boxes_xyxy_px[:, :2]).astype(np.float64)
    return np.sqrt(np.clip(sides, 1.0, None).prod(-1))


def _points(people: People) -> np.ndarray:
    """(P, 17, 2) float64 keypoints, or corners of the box from networks without keypoints."""
    corners = people.boxes_xyxy_px[:, [[0, 1], [2, 1], [0, 3], [2, 3]]]
    corners = np.resize(corners.swapaxes(0, 1), (17, *corners.shape[::2])).swapaxes(0, 1)
    points = people.keypoints_2d_px
    return np.where(np.isnan(points), corners, points).astype(np.float64)


def _log_depths(people: People) -> np.ndarray:
    return np.log(np.clip(people.transl[:, 2].astype(np.float64), 1e-2, None))


def clothes_colors(frame: np.ndarray, people: People) -> np.ndarray:
    """Mean colours around the torso and around the thighs, to tell people apart.

    Args:
        frame: (H, W, 3) uint8 RGB.
        people: in pixels of this frame.

    Returns:
        (P, 6) float64 0-1, CIE Lab of both; NaN where that part is outside the frame.
    """
    colors = np.full((len(people), 6), np.nan)
    for index, points in enumerate(people.keypoints_2d_px):
        for part, joints in enumerate((TORSO, _LEGS)):
            colors[index, 3 * part : 3 * part + 3] = _mean_lab(frame, points[list(joints)])
    return colors


def _mean_lab(frame: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(3,) mean colour of the middle of the box around `points` (4, 2), NaN if out of sight."""
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


def assign(costs: np.ndarray) -> list[tuple[int, int]]:
    """The pairing of rows with columns that costs least in all (Kuhn, by shortest paths).

    Args:
        costs: (R, C) finite.

    Returns:
        min(R, C) pairs (row, column), by row.
    """
    rows, columns = costs.shape
    if rows > columns:
        return sorted((row, column) for column, row in assign(costs.T))
    row_price, column_price = np.zeros(rows), np.zeros(columns)
    row_of = np.full(columns, -1)
    for row in range(rows):
        column, parents, distances = _cheapest_path(costs, row, row_of, row_price, column_price)
        done = distances < distances[column]
        row_price[row] += distances[column]
        for other in np.flatnonzero(done):
            slack = distances[column] - distances[other]
            row_price[row_of[other]] += slack
            column_price[other] -= slack
        while column >= 0:
            before = parents[column]
            row_of[column] = row if before < 0 else row_of[before]
            column = before
    return sorted((int(row), int(column)) for column, row in enumerate(row_of) if row >= 0)


def _cheapest_path(
    costs: np.ndarray,
    row: int,
    row_of: np.ndarray,
    row_price: np.ndarray,
    column_price: np.ndarray,
) -> tuple[int, np.ndarray, np.ndarray]:
    """Dijkstra from `row` to the nearest free column over columns that are taken.

    Returns:
        That column, the column before each one (-1 for none), and (C,) distances.
    """
    distances = np.full(len(row_of), np.inf)
    parents = np.full(len(row_of), -1)
    open_ = np.ones(len(row_of), bool)
    here, before, travelled = row, -1, 0.0
    while True:
        reached = travelled + costs[here] - row_price[here] - column_price
        nearer = open_ & (reached < distances)
        distances[nearer], parents[nearer] = reached[nearer], before
        column = int(np.argmin(np.where(open_, distances, np.inf)))
        if row_of[column] < 0:
            return column, parents, distances
        open_[column] = False
        here, before, travelled = int(row_of[column]), column, float(distances[column])
