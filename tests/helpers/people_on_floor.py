"""Upright people on one floor, seen by a camera that looks down a little."""

from dataclasses import replace

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from aios.body.model import BodyModel
from aios.geometry.camera import Camera
from aios.network.config import BODY_KEYPOINT_JOINTS
from aios.people import FIELD_SHAPES, People
from aios.resources import STANDIN_BODY

CAMERA = Camera(900.0, (480.0, 360.0), 960, 720)
CAMERA_HEIGHT_M = 1.4
PITCH = Rotation.from_euler("x", 0.12)
DOWN = PITCH.apply([0.0, 1.0, 0.0])
_ANKLES, _ANKLE_HEIGHT_M = slice(7, 9), 0.08


def people_on_floor(places, heights=0.0):
    """People whose keypoints, boxes and translations are true.

    Args:
        places: (x, z) metres of the feet of each person, along the floor.
        heights: first shape coefficient of each person.

    Returns:
        The people, and their joints (P, 144, 3).
    """
    count = len(places)
    fields = {n: np.zeros((count, *shape), np.float32) for n, shape in FIELD_SHAPES.items()}
    fields["global_orient"] += (PITCH * Rotation.from_rotvec([np.pi, 0, 0])).as_rotvec()
    fields["betas"][:, 0] = heights
    fields["keypoint_scores"] += 1
    people = People(**fields)
    joints = joints_of(people)
    feet = joints[:, _ANKLES].mean(1)
    feet += ((joints[:, _ANKLES] @ DOWN).max(1) + _ANKLE_HEIGHT_M - feet @ DOWN)[:, None] * DOWN
    ground = PITCH.apply([(x, CAMERA_HEIGHT_M, z) for x, z in places])
    people = replace(people, transl=(ground - feet).astype(np.float32))
    joints = joints_of(people)
    pixels = CAMERA.project(joints)
    boxes = np.concatenate([pixels[:, :22].min(1), pixels[:, :22].max(1)], 1)
    people = replace(
        people,
        keypoints_2d_px=pixels[:, list(BODY_KEYPOINT_JOINTS)].astype(np.float32),
        boxes_xyxy_px=boxes.astype(np.float32),
    )
    return people, joints


def joints_of(people):
    """Joints (P, 144, 3) of people, metres."""
    with torch.no_grad():
        values = {n: torch.from_numpy(v) for n, v in people.smplx_parameters().items()}
        return BodyModel.load(STANDIN_BODY).joints(values).numpy().astype(np.float64)
