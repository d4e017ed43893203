"""Where people stand and from where they are seen.

World frame: y up, the ground at y = 0, the camera above the origin looking along -z.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

Rng = np.random.Generator

NEAREST_M = 1.25
_FLIP = np.diag([1.0, -1.0, -1.0])


@dataclass(frozen=True)
class View:
    """A pinhole camera in the world, principal point in the middle of the picture.

    Attributes:
        rotation: (3, 3) world -> camera frame (x right, y down, z forward).
        position: (3,) metres, world frame.
        focal_length: pixels.
    """

    rotation: np.ndarray
    position: np.ndarray
    focal_length: float


def draw_yaw(rng: Rng) -> np.ndarray:
    """(3, 3) rotation about the vertical; people look towards the camera more often than not."""
    yaw = rng.normal(0, 0.8) if rng.random() < 0.55 else rng.uniform(-np.pi, np.pi)
    return Rotation.from_euler("Y", yaw).as_matrix()


def draw_layout(
    rng: Rng, extents_m: np.ndarray, size_hw: tuple[int, int]
) -> tuple[View, np.ndarray]:
    """Choose a camera and a place on the ground for each person.

    The first person sets the distance; the others stand nearer or farther about as far away, not
    within each other.

    Args:
        rng: source of chance.
        extents_m: (P,) how long each person is, metres; P may be 0.
        size_hw: pixels of the picture.

    Returns:
        the view and (P, 2) places, world x and z in metres.
    """
    height, width = size_hw
    focal = max(size_hw) / (2 * np.tan(np.radians(rng.uniform(25, 75)) / 2))
    count = len(extents_m)
    main = float(extents_m[0]) if count else 1.7
    share = _main_share(rng, count)
    distance = max(NEAREST_M, focal * main / (share * height))
    share = focal * main / (distance * height)
    places = np.zeros((count, 2))
    column_px = width * (rng.uniform(0.2, 0.8) if rng.random() < 0.8 else rng.uniform(0.0, 1.0))
    for person in range(count):
        places[person] = _free_place(
            rng,
            places[:person],
            focal,
            width,
            distance,
            column_px if person == 0 else None,
            (
                focal * extents_m[person] / (1.35 * height),
                focal * extents_m[person] / (0.14 * height),
            ),
        )
    eye = _camera_height(rng, distance)
    row_px = height * _middle_row(rng, share)
    down = np.arctan2(eye - main / 2, distance) - np.arctan2(row_px - height / 2, focal)
    roll = rng.normal(0, 0.06) if rng.random() < 0.85 else rng.normal(0, 0.3)
    turn = Rotation.from_euler("ZX", [roll, down]).as_matrix()
    return View(turn @ _FLIP, np.array([0.0, eye, 0.0]), float(focal)), places


def _main_share(rng: Rng, count: int) -> float:
    """Person height / picture height of the first person."""
    if count <= 1:
        return float(np.exp(rng.uniform(np.log(0.27), np.log(1.3))))
    return float(np.exp(rng.uniform(np.log(0.25), np.log(1.1))))


def _free_place(
    rng: Rng,
    taken: np.ndarray,
    focal: float,
    width: int,
    distance: float,
    column_px: float | None,
    depth_range: tuple[float, float],
) -> np.ndarray:
    """World (x, z) in sight of the camera, not on somebody's toes if that can be helped."""
    apart = 0.35 if rng.random() < 0.25 else 0.65
    place = np.zeros(2)
    for _ in range(12):
        depth = distance if column_px is not None else distance * np.exp(rng.normal(0.08, 0.35))
        depth = max(NEAREST_M, float(np.clip(depth, *depth_range)))
        column = width * rng.uniform(-0.02, 1.02) if column_px is None else column_px
        place = np.array([(column - width / 2) / focal * depth, -depth])
        if not len(taken) or np.linalg.norm(taken - place, axis=1).min() > apart:
            break
    return place


def _camera_height(rng: Rng, distance: float) -> float:
    kind = rng.random()
    if kind < 0.7:
        return float(rng.uniform(0.9, 1.8))
    if kind < 0.85:
        return float(rng.uniform(0.15, 0.9))
    return float(rng.uniform(1.8, 2.0 + 0.7 * distance))


def _middle_row(rng: Rng, share: float) -> float:
    """Where the middle of the first person appears, 0-1 of the picture's height."""
    if share < 0.85:
        return float(rng.uniform(share / 2, 1 - share / 2) + rng.normal(0, 0.06))
    if rng.random() < 0.8:  # the head is in the picture
        return float(share / 2 + rng.uniform(-0.08, 0.12))
    return float(1 - share / 2 + rng.uniform(-0.1, 0.15))
