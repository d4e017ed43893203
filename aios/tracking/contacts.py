"""Contact of feet with the floor, from their speed in the picture of a still camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FOOT_POINTS = ("left_heel", "left_big_toe", "right_heel", "right_big_toe")
"""Names of the points of the feet among the 144 points of the body model."""


@dataclass(frozen=True)
class ContactLimits:
    """When a point of a foot touches the floor.

    Attributes:
        speed: greatest speed parallel to the picture, metres per second at the distance of the
            point.
        height: greatest height above the lowest point of both feet, metres.
        window: time over which speed is measured, seconds.
        shortest: shortest contact, seconds.
        gap: longer interruptions end a contact, seconds.
    """

    speed: float = 0.45
    height: float = 0.05
    window: float = 0.12
    shortest: float = 0.12
    gap: float = 0.1


CONTACT_LIMITS = ContactLimits()


def find_contacts(
    times: np.ndarray, feet: np.ndarray, up: np.ndarray, limits: ContactLimits = CONTACT_LIMITS
) -> np.ndarray:
    """Find when each point of the feet touches the floor.

    A point is in contact while it is slow in the picture and about as low as the lowest point of
    both feet. The speed is that of the projection, whose errors are much smaller than those of the
    distance.

    Args:
        times: (T,) seconds, increasing.
        feet: (T, 4, 3) points of `FOOT_POINTS` above the sole, metres, camera frame.
        up: (3,) unit vector, camera frame.
        limits: thresholds.

    Returns:
        (T, 4) int64 number of the contact of each point, from 1; 0 without contact. Numbers are
        unique within a track.
    """
    heights = feet @ up
    is_low = heights <= heights.min(1, keepdims=True) + limits.height
    touching = is_low & (_picture_speeds(times, feet, limits.window) <= limits.speed)
    numbers = np.zeros(touching.shape, np.int64)
    count = 0
    for point in range(touching.shape[1]):
        for first, last in _intervals(times, touching[:, point], limits):
            count += 1
            numbers[first : last + 1, point] = count
    return numbers


def _picture_speeds(times: np.ndarray, feet: np.ndarray, window: float) -> np.ndarray:
    """(T, 4) speeds parallel to the picture, metres per second at the distance of the point."""
    depth = np.maximum(feet[..., 2], 1e-3)
    places = feet[..., :2] / depth[..., None]
    ends = np.clip(times[:, None] + np.array([-0.5, 0.5]) * window, times[0], times[-1])
    moved = np.zeros(depth.shape)
    for point in range(places.shape[1]):
        steps = [np.diff(np.interp(ends, times, axis), axis=1)[:, 0] for axis in places[:, point].T]
        moved[:, point] = np.hypot(*steps)
    elapsed = np.maximum(np.diff(ends, axis=1), 1e-6)
    return moved / elapsed * depth


def _intervals(
    times: np.ndarray, touching: np.ndarray, limits: ContactLimits
) -> list[tuple[int, int]]:
    """First and last index of each contact: short interruptions are closed, short ones dropped."""
    found: list[tuple[int, int]] = []
    for index in np.flatnonzero(touching).tolist():
        if found and times[index] - times[found[-1][1]] <= limits.gap + 1e-6:
            found[-1] = found[-1][0], index
        elif found and index == found[-1][1] + 1:  # below 10 frames a second
            found[-1] = found[-1][0], index
        else:
            found.append((index, index))
    return [(a, b) for a, b in found if times[b] - times[a] >= limits.shortest - 1e-6]
