"""Videos of a still camera: tracks on one common floor, with standing feet held in place."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch

from ..body.joint_names import JOINTS_3D_NAMES
from ..body.kinematics import rest_parameters
from ..body.parameters import SMPLX_NAMES
from ..export.motion import MotionStore
from ..export.placement import STILL_CAMERA_SPACE
from ..geometry.floor import Floor
from ..predictor import AiOSPredictor
from ..tracking.contacts import FOOT_POINTS
from ..tracking.floor import BODY_POINTS, FeetTrack, ground_tracks

StillCamera = Literal["auto", "on", "off"]
STILL_CAMERA: tuple[StillCamera, ...] = get_args(StillCamera)
"""Whether people are put on one floor: if the camera is found to stand still, always, never."""

_FEET = [JOINTS_3D_NAMES.index(name) for name in FOOT_POINTS]
_BODY = [JOINTS_3D_NAMES.index(name) for name in BODY_POINTS]


def ground_people(predictor: AiOSPredictor, store: MotionStore) -> Floor | None:
    """Move the people of a finished store onto one floor; see `tracking.floor`.

    Memory grows with the length of the video, by about a kilobyte for each person and frame.

    Returns:
        The floor; None if no foot stands still anywhere, and nobody is moved.
    """
    numbers = list(store.tracks)
    grounding = ground_tracks([_feet_track(predictor, store, number) for number in numbers])
    if grounding.floor is not None:
        for number, translations in zip(numbers, grounding.translations, strict=True):
            store.move(number, translations)
        store.space = STILL_CAMERA_SPACE
    return grounding.floor


def _feet_track(predictor: AiOSPredictor, store: MotionStore, number: int) -> FeetTrack:
    """Points of a track, metres, camera frame."""
    body = predictor.body
    from_official = predictor.weights.body_convention == "smplx"
    times, feet, points = [], [], []
    for rows in store.track_chunks(number):
        parameters = {name: torch.from_numpy(rows[name].copy()) for name in SMPLX_NAMES}
        with torch.inference_mode():
            joints = body.joints(body.adapt(parameters, from_official)).cpu().numpy()
        times.append(store.times[rows["frame"]])
        feet.append(joints[:, _FEET])
        points.append(joints[:, _BODY])
    with torch.inference_mode():
        rest = body(rest_parameters(body, store.tracks[number].betas, from_official))
    heights = rest.joints_3d[0, _FEET, 1] - rest.vertices[0, :, 1].min()
    clearance = heights.double().cpu().numpy()
    return FeetTrack(np.concatenate(times), np.concatenate(feet), clearance, np.concatenate(points))
