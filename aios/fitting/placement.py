"""Position of people from their predicted 2D keypoints, for weights that are `placed_by` them."""

from __future__ import annotations

import numpy as np

from ..geometry.camera import Camera, FitSigmas, fit_translation
from ..network.config import BODY_KEYPOINT_JOINTS
from ..people import People

_MIN_DEPTH_M = 0.01
_KEYPOINT_SIGMA = 0.2
"""Standard deviation of keypoints from the projected joints, relative to the longer side of the
box.  Larger than the error of single keypoints, since a wrong pose shifts many of them together."""
_DEPTH_SIGMA = 1.0
"""Standard deviation of the predicted depth, relative to it.  On photos, the network is wrong by a
factor of 2 now and then."""
_TOUCH = 0.02
"""A box within this distance of a border touches it, in longer sides of the box."""
_BAND = (0.15, 0.25)
"""Distances from the border, in the same unit, between which weights rise from 0 to 1."""
_LEAST_TRUST, _CLEAR_SCORE = 0.15, 0.4
"""Trust in a keypoint of score 0, and rise of the score from there to a trust of 1."""
_CROWD = 4
"""Minimum number of keypoints of a cut person near the border."""
_SHORT_LEGS = 0.5
"""Maximum distance from hips to ankles of a cut person, in distances from hips to nose."""
_NOSE, _HIPS, _ANKLES = 0, slice(11, 13), slice(15, 17)


def keypoint_weights(people: People, camera: Camera) -> np.ndarray:
    """Trust in each keypoint: low for those that are not clearly seen or outside the image.

    The network predicts keypoints inside the image only.  In a portrait, hips, knees and ankles
    crowd together near the border.

    Args:
        people: P people.
        camera: of the photo.

    Returns:
        (P, 17) between 0 and 1.
    """
    boxes = people.boxes_xyxy_px.astype(np.float64)
    side = np.maximum((boxes[:, 2:] - boxes[:, :2]).max(1), 1.0)
    size = np.array([camera.width, camera.height], np.float64)
    keypoints = people.keypoints_2d_px.astype(np.float64)
    weights = np.clip(_LEAST_TRUST + people.keypoint_scores / _CLEAR_SCORE, 0.0, 1.0)
    hips = keypoints[:, _HIPS].mean(1)
    legs = np.linalg.norm(keypoints[:, _ANKLES].mean(1) - hips, axis=1)
    short = legs < _SHORT_LEGS * np.linalg.norm(keypoints[:, _NOSE] - hips, axis=1)
    for axis in (0, 1):
        low, high = boxes[:, axis], size[axis] - boxes[:, axis + 2]
        distances = (keypoints[..., axis], size[axis] - keypoints[..., axis])
        for edge, distance in zip((low, high), distances, strict=True):
            near = distance / side[:, None]
            crowded = (near < _BAND[0]).sum(1) >= _CROWD
            cut = (edge < _TOUCH * side) & crowded & short
            trust = np.clip((near - _BAND[0]) / (_BAND[1] - _BAND[0]), 0.0, 1.0)
            weights = np.where(cut[:, None], np.minimum(weights, trust), weights)
    return weights


def keypoint_translation(people: People, joints_3d: np.ndarray, camera: Camera) -> np.ndarray:
    """Translation that fits posed joints to the predicted 2D keypoints.

    For weights whose keypoints locate a person in the image better than their camera.

    Args:
        people: P people.
        joints_3d: (P, 144, 3) metres, camera frame.
        camera: camera of the photo.

    Returns:
        (P, 3) metres.
    """
    boxes = people.boxes_xyxy_px
    sides = (boxes[:, 2:] - boxes[:, :2]).max(1)
    weights = keypoint_weights(people, camera)
    depth = joints_3d[:, 0, 2].clip(_MIN_DEPTH_M)
    sigmas = FitSigmas(sides * _KEYPOINT_SIGMA, depth * _DEPTH_SIGMA)
    joints = joints_3d[:, list(BODY_KEYPOINT_JOINTS)]
    return fit_translation(joints, people.keypoints_2d_px, camera, sigmas, weights)
