"""Refinement: move posed bodies onto the predicted 2D keypoints.

A few Gauss-Newton steps on joint rotations and position, for all people of a photo together. The
residuals are the distances between projected joints and keypoints, with a robust weight (Geman and
McClure); rotations, depth and joint limits are held by quadratic priors around the predicted
pose. The Jacobian is analytic: a small rotation about an axis `a` at joint `j` moves a point `x`
below it by `a x (x - x_j)`. Shape, fingers and face stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from ..body.kinematics import PARENTS
from ..geometry.camera import Camera
from ..network.config import BODY_KEYPOINT_JOINTS, NUM_BODY_JOINTS
from ..people import People
from .placement import keypoint_weights

_PARENTS = PARENTS[:NUM_BODY_JOINTS]
_HEAD = 15
_LIMIT_WEIGHT = 30.0
_MAX_STEP = 0.6  # radians of one joint in one step
_NEAREST_M = 0.05


@dataclass(frozen=True)
class Refinement:
    """Weights of the terms; the unit of a residual is the longer side of a person's box.

    Attributes:
        steps: Gauss-Newton steps.
        keypoint_spread: distance at which a keypoint counts as an outlier.
        rotation: prior on the deviation of a joint, per squared radian.
        hinge: the same about the axes that a knee or an elbow does not bend about.
        trunk: the same for pelvis, spine, neck, head and collars.
        depth: prior on the logarithm of the depth.
    """

    steps: int = 10
    keypoint_spread: float = 0.2
    rotation: float = 0.02
    hinge: float = 0.2
    trunk: float = 0.1
    depth: float = 0.03


REFINEMENT = Refinement()

_KEYPOINT_WEIGHTS = np.array([0.6] * 5 + [1.0] * 12)
_TRUNK = (0, 3, 6, 9, 12, 13, 14, 15)
_KNEES, _LEFT_ELBOW, _RIGHT_ELBOW = (4, 5), 18, 19


def _ancestors() -> tuple[np.ndarray, np.ndarray]:
    """Joints that can move a keypoint (J,), and whether each moves each keypoint (17, J)."""
    carriers = [joint if joint < len(_PARENTS) else _HEAD for joint in BODY_KEYPOINT_JOINTS]
    chains = []
    for joint, carrier in zip(BODY_KEYPOINT_JOINTS, carriers, strict=True):
        # A joint does not move itself; the head moves the points of the face.
        chain = carrier if joint >= len(_PARENTS) else _PARENTS[carrier]
        found = set()
        while chain >= 0:
            found.add(chain)
            chain = _PARENTS[chain]
        chains.append(found)
    moving = sorted(set().union(*chains))
    return np.array(moving), np.array([[joint in chain for joint in moving] for chain in chains])


_MOVING, _MOVES = _ancestors()


def refine_poses(
    people: People, joints_3d: np.ndarray, camera: Camera, settings: Refinement = REFINEMENT
) -> People:
    """People whose bodies project onto their 2D keypoints more closely.

    Args:
        people: P people of one photo.
        joints_3d: (P, 144, 3) their posed joints, metres, camera frame.
        camera: of the photo.
        settings: weights of the terms.

    Returns:
        The same people with new `global_orient`, `body_pose` and `transl`. People with NaN
        keypoints or joints behind the camera are returned unchanged.
    """
    usable = np.isfinite(people.keypoints_2d_px).all((1, 2))
    usable &= (joints_3d[:, list(BODY_KEYPOINT_JOINTS), 2] > _NEAREST_M).all(1)
    if not usable.any():
        return people
    chosen = people.select(usable)
    fit = _PoseFit(chosen, joints_3d[usable].astype(np.float64), camera, settings)
    for _ in range(settings.steps):
        fit.step()
    changed = fit.parameters(chosen)
    result = {}
    for name, values in changed.items():
        whole = getattr(people, name).copy()
        whole[usable] = values
        result[name] = whole
    return replace(people, **result)


class _PoseFit:
    """State of the fit of P people.

    Attributes:
        rotations: (P, 22, 3, 3) of each joint relative to its parent.
        root: (P, 3) position of the pelvis, metres, camera frame.
    """

    def __init__(
        self, people: People, joints: np.ndarray, camera: Camera, settings: Refinement
    ) -> None:
        count = len(people)
        vectors = np.concatenate([people.global_orient, people.body_pose], 1).reshape(-1, 3)
        self._start = Rotation.from_rotvec(vectors.astype(np.float64)).as_matrix()
        self._start = self._start.reshape(count, -1, 3, 3)
        self.rotations = self._start.copy()
        self.root = joints[:, 0].copy()
        self._start_root = self.root.copy()
        self._camera, self._settings = camera, settings
        self._pixels = people.keypoints_2d_px.astype(np.float64)
        boxes = people.boxes_xyxy_px.astype(np.float64)
        self._sides = np.maximum((boxes[:, 2:] - boxes[:, :2]).max(1), 1.0)
        self._bones = np.zeros((count, len(_PARENTS), 3))
        turns = self._global_rotations()
        for joint, parent in enumerate(_PARENTS[1:], 1):
            bone = joints[:, joint] - joints[:, parent]
            self._bones[:, joint] = np.einsum("pji,pj->pi", turns[:, parent], bone)
        self._face = [joint for joint in BODY_KEYPOINT_JOINTS if joint >= len(_PARENTS)]
        offsets = joints[:, self._face] - joints[:, _HEAD, None]
        self._offsets = np.einsum("pji,pkj->pki", turns[:, _HEAD], offsets)
        self._prior = _prior(settings)
        self._trust = _KEYPOINT_WEIGHTS * keypoint_weights(people, camera)

    def _global_rotations(self) -> np.ndarray:
        turns = self.rotations.copy()
        for joint, parent in enumerate(_PARENTS[1:], 1):
            turns[:, joint] = turns[:, parent] @ self.rotations[:, joint]
        return turns

    def _positions(self, turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Joints (P, 22, 3) and keypoints (P, 17, 3), metres, camera frame."""
        joints = np.empty_like(self._bones)
        joints[:, 0] = self.root
        for joint, parent in enumerate(_PARENTS[1:], 1):
            bone = np.einsum("pij,pj->pi", turns[:, parent], self._bones[:, joint])
            joints[:, joint] = joints[:, parent] + bone
        face = joints[:, _HEAD, None] + np.einsum("pij,pkj->pki", turns[:, _HEAD], self._offsets)
        rest = [joint for joint in BODY_KEYPOINT_JOINTS if joint < len(_PARENTS)]
        # The five points of the face are the first of the 17.
        return joints, np.concatenate([face, joints[:, rest]], 1)

    def step(self) -> None:
        """One Gauss-Newton step."""
        settings, count = self._settings, len(self.root)
        turns = self._global_rotations()
        joints, points = self._positions(turns)
        depth = np.maximum(points[..., 2:], _NEAREST_M)
        focal = self._camera.focal_length / self._sides[:, None, None]
        seen = points[..., :2] / depth * self._camera.focal_length
        seen += np.array(self._camera.principal_point)
        residual = (seen - self._pixels) / self._sides[:, None, None]
        squared = (residual**2).sum(-1)
        spread = settings.keypoint_spread**2
        weight = self._trust * (spread / (spread + squared)) ** 2 / spread
        # Derivative of a projected point by the point: (P, 17, 2, 3).
        by_point = np.zeros((*points.shape[:2], 2, 3))
        by_point[..., 0, 0] = by_point[..., 1, 1] = (focal / depth)[..., 0]
        by_point[..., 2] = -focal[..., None, 0] * points[..., :2] / depth**2
        # Derivative of a point by rotations in the frame of the parent: (P, 17, J, 3 axes, 3).
        frames = turns[:, [max(_PARENTS[joint], 0) for joint in _MOVING]].swapaxes(-1, -2)
        frames[:, 0] = np.eye(3)
        arms = points[:, :, None] - joints[:, None, _MOVING]
        moved = np.cross(frames[:, None], arms[:, :, :, None]) * _MOVES[..., None, None]
        moved = moved.reshape(count, len(BODY_KEYPOINT_JOINTS), -1, 3)
        z = self.root[:, 2]
        shift = np.zeros((count, 1, 3, 3))
        shift[:, 0, 0, 0] = shift[:, 0, 1, 1] = z
        shift[:, 0, 2] = self.root
        shift = np.broadcast_to(shift, (count, points.shape[1], 3, 3))
        jacobian = np.einsum("pkri,pkui->pkru", by_point, np.concatenate([moved, shift], 2))
        deviation, prior, target = self._held(count)
        left = np.einsum("pk,pkru,pkrv->puv", weight, jacobian, jacobian, optimize=True)
        left += prior[:, :, None] * np.eye(prior.shape[1])
        right = -np.einsum("pk,pkru,pkr->pu", weight, jacobian, residual, optimize=True)
        right -= prior * (deviation - target)
        change = np.linalg.solve(left, right[..., None])[..., 0]
        self._apply(change)

    def _held(self, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Deviation from the network's answer, its weight and the wanted value, each (P, U)."""
        turned = self.rotations[:, _MOVING] @ self._start[:, _MOVING].swapaxes(-1, -2)
        deviation = Rotation.from_matrix(turned.reshape(-1, 3, 3)).as_rotvec()
        deviation = deviation.reshape(count, -1)
        place = np.zeros((count, 3))
        place[:, 2] = np.log(self.root[:, 2] / self._start_root[:, 2])
        deviation = np.concatenate([deviation, place], 1)
        prior = np.broadcast_to(self._prior, deviation.shape).copy()
        target = np.zeros_like(deviation)
        self._limit(deviation, prior, target)
        return deviation, prior, target

    def _limit(self, deviation: np.ndarray, prior: np.ndarray, target: np.ndarray) -> None:
        """Pull bent-back knees and elbows to straight, in place."""
        current = Rotation.from_matrix(self.rotations[:, _MOVING].reshape(-1, 3, 3)).as_rotvec()
        current = current.reshape(len(deviation), -1)
        for joint, axis, sign in _HINGES:
            column = 3 * int(np.flatnonzero(_MOVING == joint)[0]) + axis
            beyond = np.minimum(sign * current[:, column], 0.0)
            wrong = beyond < 0
            prior[wrong, column] = _LIMIT_WEIGHT
            target[wrong, column] = (deviation[:, column] - sign * beyond)[wrong]

    def _apply(self, change: np.ndarray) -> None:
        count = len(change)
        vectors = change[:, :-3].reshape(count, -1, 3)
        length = np.linalg.norm(vectors, axis=-1, keepdims=True)
        vectors = vectors * np.minimum(1.0, _MAX_STEP / np.maximum(length, 1e-9))
        turn = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(count, -1, 3, 3)
        self.rotations[:, _MOVING] = turn @ self.rotations[:, _MOVING]
        z = self.root[:, 2:] * np.exp(np.clip(change[:, -1:], -0.3, 0.3))
        place = self.root[:, :2] / self.root[:, 2:] + change[:, -3:-1]
        self.root = np.concatenate([place * z, z], 1)

    def parameters(self, people: People) -> dict[str, np.ndarray]:
        """New values of the fields of `People` that the fit changes."""
        vectors = Rotation.from_matrix(self.rotations.reshape(-1, 3, 3)).as_rotvec()
        vectors = vectors.reshape(len(people), -1).astype(np.float32)
        return {
            "global_orient": vectors[:, :3],
            "body_pose": vectors[:, 3:],
            "transl": (people.transl + (self.root - self._start_root)).astype(np.float32),
        }


# Joint, axis of its rotation vector, sign of the anatomical bend.
_HINGES = ((4, 0, 1.0), (5, 0, 1.0), (_LEFT_ELBOW, 1, -1.0), (_RIGHT_ELBOW, 1, 1.0))


def _prior(settings: Refinement) -> np.ndarray:
    """(U,) weights of the deviations: three a moving joint, then x, y and log z."""
    weights = np.full((len(_MOVING), 3), settings.rotation)
    for row, joint in enumerate(_MOVING):
        if joint in _TRUNK:
            weights[row] = settings.trunk
        if joint in _KNEES:
            weights[row, 1:] = settings.hinge
        if joint in (_LEFT_ELBOW, _RIGHT_ELBOW):
            weights[row, 2] = settings.hinge
    spread = settings.keypoint_spread**2
    return np.concatenate([weights.ravel(), [1e-6, 1e-6, settings.depth]]) / spread
