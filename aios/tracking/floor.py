"""One common floor for the tracks of a still camera, on which standing feet slide less.

The distance of a person is the least certain of all estimates. With a still camera, feet that do
not move in the picture stand still, and all of them stand on one plane. Two steps use this:

1. The floor is fitted to the places of all contacts. Its errors are those of the distances, so each
   contact counts by its distance relative to that of the floor on the same ray.
2. Each track is translated, smoothly in time, by the least-squares solution of four demands:
   contacts lie on the floor, a point keeps its place during a contact, the picture of the body
   changes little, and the translation has little acceleration. Along the ray of a body, its picture
   changes least, so the translation is mainly along the ray.

Poses and shapes stay unchanged, so the slide that comes from errors of the legs remains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import spsolve

from ..geometry.floor import Floor, Upright, fit_floor, likely_up
from .contacts import find_contacts

BODY_POINTS = (
    *("neck", "head", "pelvis"),
    *("left_wrist", "right_wrist", "left_ankle", "right_ankle"),
)
"""Names of the points that stand for the picture of a body; the neck is its upper end."""
_HUBER_ROUNDS, _HUBER_LIMIT = 4, 4.0
"""Errors beyond the limit, in standard deviations, count linearly."""
_MIN_DEPTH_M = 0.1


@dataclass(frozen=True)
class FloorSettings:
    """Standard deviations of the demands.

    Attributes:
        distance: of the distance of a contact, relative to it.
        camera_tilt: of the camera from the horizontal, radians.
        body_tilt: of the mean axis of standing bodies from the vertical, radians.
        outlier: contacts whose relative distance differs from that of the floor by more are not
            on it, as on stairs.
        height: of a contact above the floor, metres.
        slide: of a point from its mean place during a contact, metres.
        picture: root mean square displacement of the body in the picture, metres at its distance.
        acceleration: of the translation, metres per second squared.
    """

    distance: float = 0.1
    camera_tilt: float = 0.17
    body_tilt: float = 0.1
    outlier: float = 0.25
    height: float = 0.015
    slide: float = 0.004
    picture: float = 0.04
    acceleration: float = 15.0


FLOOR_SETTINGS = FloorSettings()


@dataclass(frozen=True)
class FeetTrack:
    """Points of one person in the T frames of a track, metres, camera frame.

    Attributes:
        times: (T,) seconds, increasing.
        feet: (T, 4, 3) `contacts.FOOT_POINTS`.
        clearance: (4,) height of these points above the sole of a flat foot, metres.
        body: (T, J, 3) `BODY_POINTS`, whose places in the picture are kept.
    """

    times: np.ndarray
    feet: np.ndarray
    clearance: np.ndarray
    body: np.ndarray


@dataclass(frozen=True)
class Grounding:
    """Result of `ground_tracks`.

    Attributes:
        floor: None if no foot stands still anywhere.
        translations: for each track (T, 3) metres, camera frame, to add to all points.
        contacts: for each track (T, 4) from `contacts.find_contacts`.
    """

    floor: Floor | None
    translations: list[np.ndarray]
    contacts: list[np.ndarray]


def ground_tracks(
    tracks: Sequence[FeetTrack], settings: FloorSettings = FLOOR_SETTINGS
) -> Grounding:
    """Put the tracks of a still camera on one common floor, and hold standing feet in place.

    Args:
        tracks: of one clip; may be empty.
        settings: standard deviations of the demands.

    Returns:
        Floor, translations and contacts. Without a floor, all translations are 0.
    """
    axes = np.concatenate([np.zeros((0, 3)), *(_body_axes(track) for track in tracks)])
    up = likely_up(axes, settings.camera_tilt, settings.body_tilt)
    contacts = [find_contacts(track.times, track.feet, up.direction) for track in tracks]
    places = [
        _contact_places(track, found, up.direction)
        for track, found in zip(tracks, contacts, strict=True)
    ]
    floor = _fit_floor(places, up, settings)
    if floor is None:
        return Grounding(None, [np.zeros((len(track.times), 3)) for track in tracks], contacts)
    contacts = [find_contacts(track.times, track.feet, floor.normal) for track in tracks]
    translations = [
        _translations(track, found, floor, settings)
        for track, found in zip(tracks, contacts, strict=True)
    ]
    return Grounding(floor, translations, contacts)


def _body_axes(track: FeetTrack) -> np.ndarray:
    """(N, 3) unit vectors from feet to neck of the frames in which the body is stretched."""
    axes = track.body[:, 0] - track.feet.mean(1)
    lengths = np.linalg.norm(axes, axis=1)
    stretched = lengths > 0.85 * lengths.max(initial=0.0)
    return axes[stretched] / np.maximum(lengths[stretched, None], 1e-6)


def _contact_places(track: FeetTrack, contacts: np.ndarray, up: np.ndarray) -> np.ndarray:
    """(S, 3) mean place of the sole in each contact."""
    frames, points = np.nonzero(contacts)
    soles = track.feet[frames, points] - track.clearance[points, None] * up
    return _means(contacts[frames, points] - 1, soles) if len(frames) else np.zeros((0, 3))


def _fit_floor(places: list[np.ndarray], up: Upright, settings: FloorSettings) -> Floor | None:
    points = np.concatenate([np.zeros((0, 3)), *places])
    # One person's contacts share an error: together they count as four at most.
    weights = np.concatenate([[], *(np.full(len(p), min(1.0, 4 / max(len(p), 1))) for p in places)])
    return fit_floor(points, np.full(len(points), settings.distance), weights, up)


def _translations(
    track: FeetTrack, contacts: np.ndarray, floor: Floor, settings: FloorSettings
) -> np.ndarray:
    """(T, 3) least-squares translation of one track."""
    count = len(track.times)
    equations = _Equations(3 * (count + int(contacts.max(initial=0))))
    _keep_picture(equations, track.body, settings.picture)
    _keep_smooth(equations, track.times, settings.acceleration)
    frames, points = np.nonzero(contacts)
    if len(frames):
        numbers = contacts[frames, points] - 1
        places = track.feet[frames, points]
        _keep_place(equations, frames, numbers, places, settings.slide, count)
        heights = floor.heights(places) - track.clearance[points]
        means = _means(numbers, heights[:, None])[numbers, 0]
        on_floor = np.abs(means) <= settings.outlier * floor.distance
        _keep_height(equations, frames[on_floor], heights[on_floor], floor.normal, settings.height)
    return equations.solve()[: 3 * count].reshape(count, 3)


class _Equations:
    """Sparse linear equations for U unknowns, each with an error of standard deviation 1."""

    def __init__(self, unknowns: int) -> None:
        self._unknowns, self._count = unknowns, 0
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._wanted: list[np.ndarray] = []

    def add(self, columns: np.ndarray, factors: np.ndarray, wanted: np.ndarray) -> None:
        """Add N equations: the sum of factors (N, K) times unknowns[columns] is wanted (N,)."""
        rows = np.broadcast_to(self._count + np.arange(len(wanted))[:, None], columns.shape)
        self._parts.append((rows, columns, np.broadcast_to(factors, columns.shape)))
        self._wanted.append(wanted)
        self._count += len(wanted)

    def solve(self) -> np.ndarray:
        """(U,) solution with Huber weights."""
        rows, columns, factors = (
            np.concatenate([part[i].ravel() for part in self._parts]) for i in range(3)
        )
        size = (self._count, self._unknowns)
        matrix = sparse.csr_matrix((factors, (rows, columns)), size)
        wanted = np.concatenate(self._wanted)
        trust = np.ones(len(wanted))
        for _ in range(_HUBER_ROUNDS):
            weighted = matrix.T @ sparse.diags_array(trust)
            solution = spsolve((weighted @ matrix).tocsc(), weighted @ wanted)
            errors = np.abs(matrix @ solution - wanted)
            trust = 1 / np.maximum(errors / _HUBER_LIMIT, 1.0)
        return np.asarray(solution)


def _keep_picture(equations: _Equations, body: np.ndarray, sigma: float) -> None:
    """Demand that the joints (T, J, 3) keep their places in the picture."""
    depth = np.maximum(body[..., 2], _MIN_DEPTH_M)
    scale = depth.mean(1, keepdims=True) / depth / (sigma * np.sqrt(body.shape[1]))
    rows = np.zeros((*body.shape[:2], 2, 3))
    rows[..., 0, 0] = rows[..., 1, 1] = scale
    rows[..., 2] = -body[..., :2] / depth[..., None] * scale[..., None]
    # The triangular factor has the same squared error in three equations.
    factors = np.linalg.qr(rows.reshape(len(body), -1, 3)).R
    columns = 3 * np.arange(len(body))[:, None, None] + np.zeros((3, 1), int) + np.arange(3)
    equations.add(columns.reshape(-1, 3), factors.reshape(-1, 3), np.zeros(3 * len(body)))


def _keep_smooth(equations: _Equations, times: np.ndarray, sigma: float) -> None:
    """Demand that the translation has no acceleration."""
    if len(times) < 3:
        return
    before, after = np.diff(times)[:-1], np.diff(times)[1:]
    middle = (before + after) / 2
    factors = np.stack([1 / before, -1 / before - 1 / after, 1 / after], -1) / middle[:, None]
    frames = np.arange(len(before))[:, None, None] + np.arange(3)
    columns = 3 * frames + np.arange(3)[:, None]
    equations.add(
        columns.reshape(-1, 3), np.repeat(factors / sigma, 3, 0), np.zeros(3 * len(before))
    )


def _keep_place(
    equations: _Equations,
    frames: np.ndarray,
    numbers: np.ndarray,
    places: np.ndarray,
    sigma: float,
    count: int,
) -> None:
    """Demand that points stay, during each contact, at a place that is unknown, too."""
    axes = np.arange(3)
    columns = np.stack([3 * frames[:, None] + axes, 3 * (count + numbers[:, None]) + axes], -1)
    moved = places - _means(numbers, places)[numbers]
    factors = np.array([1.0, -1.0]) / sigma
    equations.add(columns.reshape(-1, 2), factors, -moved.ravel() / sigma)


def _keep_height(
    equations: _Equations,
    frames: np.ndarray,
    heights: np.ndarray,
    normal: np.ndarray,
    sigma: float,
) -> None:
    """Demand that soles at `heights` (N,) lie on the floor."""
    columns = 3 * frames[:, None] + np.arange(3)
    equations.add(columns, normal / sigma, -heights / sigma)


def _means(numbers: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(S, C) means of the values (N, C) with the same number, from 0."""
    sums = np.stack([np.bincount(numbers, column) for column in values.T], -1)
    return sums / np.maximum(np.bincount(numbers), 1)[:, None]
