"""Motion of one track at a constant frame rate, with gaps filled by interpolation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from ..body.kinematics import RestPose, local_rotations, pelvis_positions
from .motion import MotionStore
from .placement import AT_CAMERA, Placement

MAX_RATE = 240.0
"""Frames per second of motion files at most."""
_DENSE_PERCENT = 10
_RATE_TOLERANCE = 0.1
_TIME_TOLERANCE_S = 1e-6


@dataclass(frozen=True)
class MotionSamples:
    """S consecutive samples of one person's motion.

    Attributes:
        pelvis: (S, 3) float64 position of the pelvis joint, metres, y up.
        rotations: (S, 55) rotations, see `body.kinematics.local_rotations`.
        expression: (S, 10) float64 coefficients.
        interpolated: (S,) bool, True where the person is not seen for at least one frame of the
            video and the values are interpolated across that gap.
    """

    pelvis: np.ndarray
    rotations: Rotation
    expression: np.ndarray
    interpolated: np.ndarray

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.pelvis)


def densest_rate(times: np.ndarray, nominal: float, most: float | None = None) -> float:
    """Constant frame rate at which no frame of a video is lost.

    Args:
        times: (F,) seconds of the frames, increasing.
        nominal: average frames per second that the file states; kept unless the rate varies.
        most: upper limit, frames per second.

    Returns:
        Frames per second, `MAX_RATE` at most.
    """
    limit = MAX_RATE if most is None else min(most, MAX_RATE)
    gaps = np.diff(times)
    if not len(gaps):
        return min(nominal, limit)
    # Single shorter gaps are rounded or damaged times.
    rate = 1 / max(float(np.percentile(gaps, _DENSE_PERCENT)), 1 / MAX_RATE)
    is_nominal = abs(rate / nominal - 1) <= _RATE_TOLERANCE
    return min(nominal if is_nominal else rate, limit)


def resample(
    rest: RestPose,
    store: MotionStore,
    number: int,
    rate: float,
    placement: Placement = AT_CAMERA,
) -> Iterator[MotionSamples]:
    """Sample a track at a constant rate, from its first record to its last.

    Positions and expressions are interpolated linearly, rotations along the shortest arc.

    Args:
        rest: rest pose of the person.
        store: finished motion store.
        number: track number of the person.
        rate: samples per second.
        placement: of the camera, see `placement`.

    Yields:
        Consecutive chunks, so that memory stays bounded.
    """
    previous: np.ndarray | None = None
    first_time, step = 0.0, 0
    for rows in store.track_chunks(number):
        if previous is None:
            first_time = float(store.times[rows["frame"][0]])
        else:
            rows = np.concatenate([previous, rows])
        times = store.times[rows["frame"]]
        last_step = int(np.floor((times[-1] - first_time + _TIME_TOLERANCE_S) * rate))
        wanted = first_time + np.arange(step, last_step + 1) / rate
        if len(wanted):
            yield _interpolate(rest, rows, times, wanted, placement)
            step = last_step + 1
        previous = rows[-1:]


def count_samples(store: MotionStore, number: int, rate: float) -> int:
    """Number of samples that `resample` gives in all."""
    track = store.tracks[number]
    duration = store.times[track.last_frame] - store.times[track.first_frame]
    return int(np.floor((duration + _TIME_TOLERANCE_S) * rate)) + 1


def _interpolate(
    rest: RestPose,
    rows: np.ndarray,
    times: np.ndarray,
    wanted: np.ndarray,
    placement: Placement,
) -> MotionSamples:
    """Interpolate records at `times` (T,) to the times `wanted` (S,)."""
    after = np.searchsorted(times, wanted - _TIME_TOLERANCE_S)
    after = np.clip(after, min(1, len(times) - 1), len(times) - 1)
    before = np.maximum(after - 1, 0)
    span = np.maximum(times[after] - times[before], 1e-9)
    share = np.clip((wanted - times[before]) / span, 0.0, 1.0)
    pelvis = placement.points(pelvis_positions(rest, rows))
    rotations = placement.rotations(local_rotations(rest, rows))
    expression = rows["expression"].astype(np.float64)
    start, end = rotations[before], rotations[after]
    arc = (start.inv() * end).as_rotvec() * share[:, None, None]
    frames = rows["frame"]
    is_gap = frames[after] - frames[before] > 1
    at_record = np.minimum(share, 1.0 - share) * span <= _TIME_TOLERANCE_S
    column = share[:, None]
    return MotionSamples(
        pelvis=pelvis[before] + column * (pelvis[after] - pelvis[before]),
        rotations=start * Rotation.from_rotvec(arc),
        expression=expression[before] + column * (expression[after] - expression[before]),
        interpolated=is_gap & ~at_record,
    )
