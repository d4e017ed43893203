"""Distances of the people of a photo from the floor on which they stand.

The size of a person in the photo gives the distance only as well as height and pose are known.
People on one floor have a second cue: the lower the feet in the photo, the nearer the person. The
floor is fitted to the feet of everyone; each person then moves towards it along the ray of the
pelvis, as far as the uncertainties of both cues ask for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry.camera import Camera
from ..geometry.floor import fit_floor, likely_up
from ..people import People
from .placement import keypoint_weights

_ANKLES = (7, 8)
"""Joints of `joints_3d`."""
_ANKLE_KEYPOINTS = slice(15, 17)
_NECK = 12
_ANKLE_HEIGHT_M = 0.08
_MIN_TRUST = 0.3
_BORDER = 0.01
"""Ankles within this share of the image size of a border are not used: they may be outside."""
_UPRIGHT_M = 1.06
"""Least distance of ankles and neck of a body whose axis tells the direction up."""
_MIN_GRAZING = 0.02
"""Least sine of the angle between the floor and the ray of a foot."""
_MAX_FACTOR = 1.5


@dataclass(frozen=True)
class CommonFloorSettings:
    """Standard deviations.

    Attributes:
        distance: of the distance of a person, relative to it.
        foot: of the angle between the ray of a sole and that of the ankle's keypoint, radians.
        camera_tilt: of the camera from the horizontal, radians.
        body_tilt: of the median axis of upright bodies from the vertical, radians.
    """

    distance: float = 0.25
    foot: float = 0.01
    camera_tilt: float = 0.25
    body_tilt: float = 0.15


COMMON_FLOOR = CommonFloorSettings()


def distance_factors(
    people: People,
    joints_3d: np.ndarray,
    camera: Camera,
    settings: CommonFloorSettings = COMMON_FLOOR,
) -> np.ndarray:
    """Factors on the distances of people that put their feet closer to one common floor.

    Args:
        people: P people of one photo.
        joints_3d: (P, 144, 3) their posed joints, metres, camera frame.
        camera: of the photo.
        settings: standard deviations.

    Returns:
        (P,) between 2/3 and 3/2; 1 for people whose feet are not clearly seen, and for everyone if
        fewer than two people show their feet.
    """
    factors = np.ones(len(people))
    joints = joints_3d.astype(np.float64)
    up = likely_up(_upright_axes(joints), settings.camera_tilt, settings.body_tilt)
    soles, trust = _lower_soles(people, joints, camera, up.direction)
    in_front = (soles[:, 2] > 0) & (joints[:, 0, 2] > 0)
    usable = (trust > _MIN_TRUST) & in_front & (-soles @ up.direction > 0)
    if usable.sum() < 2:
        return factors
    soles, trust = soles[usable], trust[usable]
    grazing = -soles @ up.direction / np.linalg.norm(soles, axis=1)
    # A foot at another angle meets the floor at another distance.
    by_angle = settings.foot / np.maximum(grazing, _MIN_GRAZING)
    sigmas = np.hypot(settings.distance, by_angle)
    floor = fit_floor(soles, sigmas, trust, up)
    if floor is None:
        return factors
    below = floor.relative_distances(soles)
    errors = np.log(np.maximum(below, 1 / _MAX_FACTOR**2))
    share = (settings.distance / sigmas) ** 2 / (1 + (errors / (2 * sigmas)) ** 2)
    factors[usable] = np.exp(-errors * share * trust).clip(1 / _MAX_FACTOR, _MAX_FACTOR)
    return factors


def _upright_axes(joints: np.ndarray) -> np.ndarray:
    """(N, 3) unit vectors from the ankles to the neck of nearly stretched bodies."""
    axes = joints[:, _NECK] - joints[:, _ANKLES].mean(1)
    lengths = np.linalg.norm(axes, axis=1)
    upright = lengths > _UPRIGHT_M
    return axes[upright] / lengths[upright, None]


def _lower_soles(
    people: People, joints: np.ndarray, camera: Camera, up: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Soles (P, 3) below the lower ankle on the rays of the keypoints, and trust in them (P,)."""
    pixels = people.keypoints_2d_px[:, _ANKLE_KEYPOINTS].astype(np.float64)
    size = np.array([camera.width, camera.height])
    inside = ((pixels > _BORDER * size) & (pixels < (1 - _BORDER) * size)).all(-1)
    rays = np.ones((*pixels.shape[:2], 3))
    rays[..., :2] = (pixels - np.array(camera.principal_point)) / camera.focal_length
    soles = rays * joints[:, _ANKLES, 2:] - _ANKLE_HEIGHT_M * up
    lower = (soles @ up).argmin(1)
    trust = keypoint_weights(people, camera)[:, _ANKLE_KEYPOINTS] * inside
    rows = np.arange(len(people))
    return soles[rows, lower], trust[rows, lower]
