"""Synthetic motion with planted feet, seen by a still camera with the errors of a network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.signal import lfilter
from scipy.spatial.transform import Rotation

from aios.body.joint_names import JOINTS_3D_NAMES
from aios.body.model import BodyModel

_LEGS = {side: [JOINTS_3D_NAMES.index(f"{side}_{name}") for name in ("hip", "knee", "ankle")]
         for side in ("left", "right")}  # fmt: skip
_HEELS = [JOINTS_3D_NAMES.index(f"{side}_heel") for side in ("left", "right")]
_STANCE_SHARE = 0.6
_LIFT_M = 0.12
_HIP_HEIGHT = 0.9


@dataclass(frozen=True)
class Scene:
    """A still camera above a floor.

    Attributes:
        height: of the camera above the floor, metres.
        pitch: of the camera below the horizontal, degrees.
    """

    height: float = 1.5
    pitch: float = 8.0

    @property
    def rotation(self) -> Rotation:
        """From an upright frame (x right, y down, z forward) to the camera frame."""
        return Rotation.from_euler("x", self.pitch, degrees=True)

    @property
    def up(self) -> np.ndarray:
        """(3,) unit vector in the camera frame."""
        return self.rotation.apply([0.0, -1.0, 0.0])


@dataclass(frozen=True)
class Walk:
    """Motion of one person.

    Attributes:
        times: (T,) seconds.
        parameters: of the body model (T, ...), in the camera frame.
        planted: (T, 2) bool, whether the left and right foot stand still.
    """

    times: np.ndarray
    parameters: dict[str, np.ndarray]
    planted: np.ndarray


def walk(
    body: BodyModel,
    scene: Scene,
    start: tuple[float, float] = (-1.0, 5.0),
    heading: float = 90.0,
    speed: float = 1.0,
    count: int = 90,
    rate: float = 30.0,
) -> Walk:
    """A person who walks in a straight line, or stands and sways; flat feet are planted exactly.

    Args:
        body: poses the person.
        scene: camera and floor.
        start: place on the floor at the beginning: metres to the right and ahead.
        heading: degrees; 0 faces the camera, 90 walks to the right.
        speed: metres per second; 0 stands.
        count: number of frames T.
        rate: frames per second.
    """
    times = np.arange(count) / rate
    rest = joints(body, {"body_pose": np.zeros((1, 63))})[0]
    phases = (times[:, None] + [0.0, 0.5]) % 1.0  # a cycle takes a second
    planted = (phases < _STANCE_SHARE) | (speed == 0)
    ankles, sway = _ankle_targets(rest, times, phases, speed)
    pose = np.zeros((count, 21, 3))
    for index, leg in enumerate(_LEGS.values()):
        pose[:, [joint - 1 for joint in leg], 0] = _bend_leg(rest[leg], ankles[:, index])
    pose[:, 15:17, 2] = [-1.2, 1.2]  # arms hang down
    upright = Rotation.from_euler("x", 180, degrees=True)
    upright = upright * Rotation.from_euler("y", heading, degrees=True)
    parameters = {
        "global_orient": np.tile(upright.as_rotvec(), (count, 1)),
        "body_pose": pose.reshape(count, 63),
        "transl": np.zeros((count, 3)),
    }
    heels = joints(body, parameters)[:, _HEELS]
    shift = _planted_root(heels, planted, scene.height - sole_clearance(body, _HEELS)[0])
    shift += np.array([start[0], 0.0, start[1]]) * [1, 0, 1] - (shift[0] + heels[0, 0]) * [1, 0, 1]
    turned = to_camera(rest[0], parameters | {"transl": shift}, scene.rotation)
    return Walk(times, turned, planted)


def _ankle_targets(
    rest: np.ndarray, times: np.ndarray, phases: np.ndarray, speed: float
) -> tuple[np.ndarray, np.ndarray]:
    """(T, 2, 2) height and forward position of the ankles relative to the hips, metres."""
    length = np.linalg.norm(np.diff(rest[_LEGS["left"]], axis=0), axis=1).sum()
    half = speed * _STANCE_SHARE / 2
    swing = np.clip((phases - _STANCE_SHARE) / (1 - _STANCE_SHARE), 0, 1)
    ahead = np.where(
        phases < _STANCE_SHARE,
        half - speed * phases,
        half * (2 * (3 * swing**2 - 2 * swing**3) - 1),
    )
    height = -_HIP_HEIGHT * length + (speed > 0) * _LIFT_M * np.sin(np.pi * swing)
    sway = 0.03 * np.sin(2 * np.pi * 0.5 * times)[:, None] * (speed == 0)
    return np.stack([height + sway, ahead + sway], -1), sway


def _bend_leg(rest: np.ndarray, ankle: np.ndarray) -> np.ndarray:
    """Rotations (T, 3) of hip, knee and ankle about x that keep the foot flat.

    Args:
        rest: (3, 3) hip, knee and ankle in the rest pose, metres.
        ankle: (T, 2) y and z of the ankle relative to the hip, metres.
    """
    thigh, shank = (rest[1] - rest[0])[1:], (rest[2] - rest[1])[1:]
    a, b = np.linalg.norm(thigh), np.linalg.norm(shank)
    distance = np.linalg.norm(ankle, axis=1)
    inner = np.arccos(np.clip((a**2 + distance**2 - b**2) / (2 * a * distance), -1, 1))
    bend = np.pi - np.arccos(np.clip((a**2 + b**2 - distance**2) / (2 * a * b), -1, 1))
    toward = np.arctan2(ankle[:, 1], ankle[:, 0]) + inner  # the knee bends to the front
    upper = toward - np.arctan2(thigh[1], thigh[0])
    lower = toward - bend - np.arctan2(shank[1], shank[0])
    upper, lower = (np.angle(np.exp(1j * angle)) for angle in (upper, lower))
    return np.stack([upper, lower - upper, -lower], -1)


def _planted_root(heels: np.ndarray, planted: np.ndarray, ground: float) -> np.ndarray:
    """(T, 3) translation that keeps a planted heel in place, with y = `ground` (y down)."""
    moved = np.zeros((len(heels), 3))
    foot = 0
    for frame in range(1, len(heels)):
        if not (planted[frame - 1, foot] and planted[frame, foot]):
            foot = 1 - foot
        moved[frame] = moved[frame - 1] + heels[frame - 1, foot] - heels[frame, foot]
    moved[:, 1] += ground - heels[0, 0, 1]
    return moved


def sole_clearance(body: BodyModel, points: list[int]) -> np.ndarray:
    """Heights of points of `joints_3d` above the sole of a flat foot, metres."""
    posed = body({"body_pose": torch.zeros(1, 63)})
    heights = posed.joints_3d[0, points, 1] - posed.vertices[0, :, 1].min()
    return heights.double().numpy()


def to_camera(
    pelvis: np.ndarray, parameters: dict[str, np.ndarray], rotation: Rotation
) -> dict[str, np.ndarray]:
    """Turn a person about the camera; `pelvis` (3,) is its position in the rest pose."""
    orient = rotation * Rotation.from_rotvec(parameters["global_orient"])
    turned = rotation.apply(parameters["transl"] + pelvis) - pelvis
    return parameters | {"global_orient": orient.as_rotvec(), "transl": turned}


def joints(body: BodyModel, parameters: dict[str, np.ndarray]) -> np.ndarray:
    """(T, 144, 3) float64 metres."""
    tensors = {name: torch.from_numpy(np.float32(values)) for name, values in parameters.items()}
    with torch.inference_mode():
        return body.joints(tensors).double().numpy()


@dataclass(frozen=True)
class Errors:
    """Standard deviations of the errors of a network.

    Attributes:
        pose: of each rotation vector, radians.
        picture: of the position in the picture, metres at the distance.
        distance: of the distance, relative.
        bias: of the distance of the whole track, relative.
        jitter: share of errors without memory; the others change over half a second.
    """

    pose: float = 0.025
    picture: float = 0.01
    distance: float = 0.03
    bias: float = 0.06
    jitter: float = 0.3


def disturbed(
    body: BodyModel, true: Walk, random: np.random.Generator, errors: Errors = Errors()
) -> Walk:
    """Add errors like those of a network to a motion."""
    pelvis = joints(body, {"body_pose": np.zeros((1, 63))})[0, 0]

    def noise(width: int, sigma: float) -> np.ndarray:
        return sigma * _noise(random, true.times, width, errors.jitter)

    moved = true.parameters["transl"] + pelvis
    moved *= 1 + random.normal(0, errors.bias) + noise(1, errors.distance)
    moved[:, :2] += noise(2, errors.picture)
    orient = Rotation.from_rotvec(noise(3, errors.pose))
    orient = orient * Rotation.from_rotvec(true.parameters["global_orient"])
    changed = {
        "global_orient": orient.as_rotvec(),
        "body_pose": true.parameters["body_pose"] + noise(63, errors.pose),
        "transl": moved - pelvis,
    }
    return Walk(true.times, true.parameters | changed, true.planted)


def _noise(random: np.random.Generator, times: np.ndarray, width: int, jitter: float) -> np.ndarray:
    """(T, width) of standard deviation 1: a slow part and a part without memory."""
    keep = np.exp(-(times[1] - times[0]) / 0.25) if len(times) > 1 else 0.0
    slow = random.normal(0, 1, (len(times), width))
    for _ in range(2):  # twice, for a continuous speed
        slow = lfilter([1.0], [1.0, -keep], slow, axis=0)
    slow /= np.maximum(slow.std(0), 1e-9)
    white = random.normal(0, 1, slow.shape)
    return np.sqrt(1 - jitter**2) * slow + jitter * white
