"""Fit a body model to the predictions of the teachers, for many people in a batch.

Variables per person: anatomical angles of the body (limited by construction), orientation, shape,
position, the scale of the 3D network's metres, finger bends, jaw and expression. Terms: 3D points
relative to the hips, 2D points with a robust distance (Geman and McClure), hand points relative to
the wrist, face points relative to their mean, and priors. The optimizer is Adam, first on the body
alone, then on all variables.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from aios.body.model import BodyModel
from aios.geometry.rotations import rotation_6d_to_rotmat

from ..synthetic.anatomy import (
    COLUMN,
    HIGH,
    LOW,
    angles_to_rotations,
    rotations_to_axis_angle,
)
from .observation import COCO_OF_BODY_3D, Observation

COCO_JOINTS = (55, 57, 56, 59, 58, 16, 17, 18, 19, 20, 21, 1, 2, 4, 5, 7, 8)
"""Of the 144 joints, those of the 17 COCO keypoints."""
# Heels, toes, index and little finger of the 3D network: left, right, ...
_EXTRA_OF_BODY_3D = (29, 30, 31, 32, 19, 20, 17, 18)
_EXTRA_JOINTS = (62, 65, 60, 63, 25, 40, 31, 46)
_POINTS = (*COCO_OF_BODY_3D, *_EXTRA_OF_BODY_3D)
_JOINTS = (*COCO_JOINTS, *_EXTRA_JOINTS)
_JOINT_WEIGHTS = (
    *(0.3, 0.2, 0.2, 0.3, 0.3),
    *(1.0, 1.0, 1.2, 1.2, 1.2, 1.2, 1.0, 1.0, 1.5, 1.5, 1.5, 1.5),
    *(0.4, 0.4, 0.4, 0.4, 0.3, 0.3, 0.3, 0.3),
)
# The 21 points of the hand network as joints: wrist, then thumb, index, middle, ring, little
# finger from the palm to the tip.
HAND_JOINTS = (
    (20, 37, 38, 39, 66, 25, 26, 27, 67, 28, 29, 30, 68, 34, 35, 36, 69, 31, 32, 33, 70),
    (21, 52, 53, 54, 71, 40, 41, 42, 72, 43, 44, 45, 73, 49, 50, 51, 74, 46, 47, 48, 75),
)
# Points of the face mesh for the 51 landmarks 76 to 126: brows, nose, eyes, outer and inner lips.
FACE_POINTS = (
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),
    *(168, 197, 5, 4, 98, 97, 2, 326, 327),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 321, 314, 17, 84, 91),
    *(78, 81, 13, 311, 308, 402, 14, 178),
)
FACE_JOINTS = tuple(range(76, 127))
_PRESENT = 0.5
_SMALLEST_HAND_PX, _SMALLEST_FACE_PX = 14.0, 24.0


@dataclass(frozen=True)
class FitSettings:
    """Weights of the terms and length of the fit."""

    body_steps: int = 220
    part_steps: int = 80
    metres: float = 6.0
    pixels_first: float = 1.5
    pixels: float = 6.0
    pose: float = 0.02
    shape: float = 0.05
    hand_metres: float = 8.0
    face: float = 10.0
    fingers: float = 0.02
    expression: float = 0.02


@dataclass(frozen=True)
class Fit:
    """Fitted bodies of P people; float32 arrays.

    Attributes:
        global_orient: (P, 3) axis-angle, camera frame.
        body_pose: (P, 63).
        left_hand_pose: (P, 45) relative to the mean hand.
        right_hand_pose: (P, 45).
        jaw_pose: (P, 3).
        betas: (P, 10).
        expression: (P, 10).
        transl: (P, 3) metres, camera frame.
        joints_3d: (P, 144, 3) metres, camera frame.
        hands_fitted: (P, 2) bool, True for hands that were detected and fitted.
        face_fitted: (P,) bool, likewise.
    """

    global_orient: np.ndarray
    body_pose: np.ndarray
    left_hand_pose: np.ndarray
    right_hand_pose: np.ndarray
    jaw_pose: np.ndarray
    betas: np.ndarray
    expression: np.ndarray
    transl: np.ndarray
    joints_3d: np.ndarray
    hands_fitted: np.ndarray
    face_fitted: np.ndarray

    def select(self, index: np.ndarray) -> Fit:
        """The people at `index`."""
        return Fit(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


def fit_bodies(
    seen: Observation,
    focal_length: np.ndarray,
    center: np.ndarray,
    body: BodyModel,
    settings: FitSettings | None = None,
) -> Fit:
    """Fit the body model to P people of one or more photos.

    Args:
        seen: P people.
        focal_length: (P,) pixels of each person's photo.
        center: (P, 2) principal point of each person's photo.
        body: the body model.
        settings: weights of the terms.
    """
    problem = _Problem(seen, focal_length, center, body, settings or FitSettings())
    problem.solve()
    return problem.result()


class _Problem:
    """Variables and terms of P people."""

    def __init__(
        self,
        seen: Observation,
        focal_length: np.ndarray,
        center: np.ndarray,
        body: BodyModel,
        settings: FitSettings,
    ) -> None:
        self.count, self.body, self.settings = len(seen), body, settings
        self.focal = torch.as_tensor(focal_length, dtype=torch.float32)
        self.center = torch.as_tensor(center, dtype=torch.float32)
        boxes = torch.from_numpy(seen.boxes_xyxy_px)
        self.side = (boxes[:, 2:] - boxes[:, :2]).max(1).values.clamp(min=8)
        self._targets(seen)
        self._part_targets(seen)
        self._start()

    def _targets(self, seen: Observation) -> None:
        """2D and 3D points of the body with their weights."""
        weights = torch.tensor(_JOINT_WEIGHTS)
        body_3d = torch.from_numpy(seen.body_3d)
        coco = torch.from_numpy(seen.body)
        extra = body_3d[:, list(_EXTRA_OF_BODY_3D)]
        self.pixels = torch.cat([coco[..., :2], extra[..., :2]], 1)
        sure = torch.cat([(coco[..., 2] - 0.15).clamp(0, 0.5) * 2, extra[..., 2] * 0.3], 1)
        self.pixel_weight = sure * weights
        metres = torch.from_numpy(seen.body_metres)[:, list(_POINTS)]
        self.metres = metres - (metres[:, 11:12] + metres[:, 12:13]) / 2
        self.metre_weight = (0.2 + 0.8 * body_3d[:, list(_POINTS), 2]) * weights

    def _part_targets(self, seen: Observation) -> None:
        """Hand points in metres from the wrist; face landmarks in pixels from their mean."""
        spans = np.ptp(seen.hands, axis=2).max(-1)
        self.hands_fitted = (seen.hands_present > _PRESENT) & (spans > _SMALLEST_HAND_PX)
        self.hands = torch.from_numpy(seen.hands_metres)
        self.hand_pixels = torch.from_numpy(seen.hands)
        face = torch.from_numpy(seen.face)[:, list(FACE_POINTS)]
        self.face_span = (face[..., :2].amax(1) - face[..., :2].amin(1)).amax(1).clamp(min=1)
        self.face = face[..., :2]
        self.face_fitted = (seen.face_present > _PRESENT) & (
            self.face_span.numpy() > _SMALLEST_FACE_PX
        )

    def _start(self) -> None:
        count, middle, half = self.count, (LOW + HIGH) / 2, (HIGH - LOW) / 2
        angles = torch.zeros(count, len(LOW))
        for name in ("l_shoulder_out", "r_shoulder_out"):
            angles[:, COLUMN[name]] = 0.3
        self._middle, self._half = middle, half
        self.raw = torch.atanh(((angles - middle) / half).clamp(-0.95, 0.95))
        frame = _torso_frame(self.metres)
        # A row-major 3x2 matrix, as `rotation_6d_to_rotmat` takes it.
        self.orient = frame[..., :2].reshape(count, 6).clone()
        self.betas = torch.zeros(count, 10)
        self.scale = torch.zeros(count)
        hips = (self.pixels[:, 11] + self.pixels[:, 12]) / 2
        used = (self.pixel_weight[:, :17] > 0.1)[..., None]
        extent_m = (self.metres[:, :17, :2] * used).abs().amax((1, 2)).clamp(min=0.2)
        extent_px = ((self.pixels[:, :17] - hips[:, None]) * used).abs().amax((1, 2)).clamp(min=4)
        ray = (hips - self.center) / self.focal[:, None]
        depth = self.focal * extent_m / extent_px
        self.place = torch.cat([ray, depth.log()[:, None]], 1)
        self.fingers = torch.zeros(count, 2, _NUM_FINGER_ANGLES)
        self.jaw = torch.full((count, 1), -2.0)
        self.expression = torch.zeros(count, 10)

    def solve(self) -> None:
        """Optimise the body, then body, hands and face together."""
        settings = self.settings
        body = [(self.raw, 0.05), (self.orient, 0.05), (self.betas, 0.03)]
        body += [(self.scale, 0.02), (self.place, 0.02)]
        self._descend(body, settings.body_steps, False)
        parts = [(self.fingers, 0.05), (self.jaw, 0.05), (self.expression, 0.05)]
        small = [(tensor, rate * 0.2) for tensor, rate in body]
        self._descend(small + parts, settings.part_steps, True)

    def _descend(self, groups: list[tuple[Tensor, float]], steps: int, parts: bool) -> None:
        optimiser = torch.optim.Adam(
            [{"params": [tensor.requires_grad_()], "lr": rate} for tensor, rate in groups]
        )
        for step in range(steps):
            early = not parts and step <= steps // 3
            loss = self._loss(self.settings.pixels_first if early else self.settings.pixels, parts)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if step == int(steps * 0.7):
                for group in optimiser.param_groups:
                    group["lr"] *= 0.3
        for tensor, _ in groups:
            tensor.requires_grad_(False)

    def _parameters(self, parts: bool) -> tuple[dict[str, Tensor], Tensor]:
        angles = self._middle + self._half * torch.tanh(self.raw)
        values = {
            "global_orient": rotations_to_axis_angle(rotation_6d_to_rotmat(self.orient)),
            "body_pose": rotations_to_axis_angle(angles_to_rotations(angles)).flatten(1),
            "betas": self.betas,
        }
        if parts:
            fitted = torch.from_numpy(self.hands_fitted).float()
            left, right = (
                finger_pose(self.fingers[:, side], side) * fitted[:, side, None] for side in (0, 1)
            )
            seen = torch.from_numpy(self.face_fitted).float()[:, None]
            opened = torch.cat([0.45 * torch.sigmoid(self.jaw), torch.zeros(self.count, 2)], 1)
            values |= {
                "left_hand_pose": left,
                "right_hand_pose": right,
                "jaw_pose": opened * seen,
                "expression": 2 * torch.tanh(self.expression / 2) * seen,
            }
        return values, angles

    def _root(self) -> Tensor:
        depth = self.place[:, 2:].exp()
        return torch.cat([self.place[:, :2] * depth, depth], 1)

    def _loss(self, pixel_term: float, parts: bool) -> Tensor:
        settings = self.settings
        values, angles = self._parameters(parts)
        joints = self.body.joints(values)
        hips = (joints[:, 1] + joints[:, 2]) / 2
        joints = joints - hips[:, None]
        chosen = joints[:, list(_JOINTS)]
        off = chosen - self.metres * self.scale.exp()[:, None, None]
        metres = (self.metre_weight * ((off**2).sum(-1) + 1e-4).sqrt()).sum(1)
        squared = self._pixel_errors(chosen, self.pixels, self.side)
        pixels = (self.pixel_weight * squared / (squared + 0.01)).sum(1)
        priors = (
            settings.pose * ((angles**2).sum(1) + (torch.tanh(self.raw) ** 4).sum(1))
            + settings.shape * (self.betas**2).sum(1)
            + 2 * self.scale**2
        )
        loss = settings.metres * metres + pixel_term * pixels + priors
        if parts:
            loss = loss + self._part_terms(joints)
        return loss.sum()

    def _pixel_errors(self, joints: Tensor, pixels: Tensor, unit: Tensor) -> Tensor:
        """(P, K) squared image distances, in units of `unit` pixels."""
        points = joints + self._root()[:, None]
        seen = points[..., :2] / points[..., 2:].clamp(min=0.1) * self.focal[:, None, None]
        off = (seen + self.center[:, None] - pixels) / unit[:, None, None]
        return (off**2).sum(-1)

    def _part_terms(self, joints: Tensor) -> Tensor:
        settings = self.settings
        total = settings.fingers * (self.fingers**2).sum((1, 2))
        total = total + settings.expression * (self.expression**2).sum(1)
        for side in (0, 1):
            fitted = torch.from_numpy(self.hands_fitted[:, side]).float()
            hand = joints[:, list(HAND_JOINTS[side])]
            off = hand - hand[:, :1] - self.hands[:, side]
            distance = ((off**2).sum(-1) + 1e-5).sqrt().sum(1)
            squared = self._pixel_errors(hand, self.hand_pixels[:, side], self.side)
            placed = (squared / (squared + 0.01)).sum(1)
            total = total + fitted * (settings.hand_metres * distance + 2 * placed)
        points = joints[:, list(FACE_JOINTS)] + self._root()[:, None]
        seen = points[..., :2] / points[..., 2:].clamp(min=0.1) * self.focal[:, None, None]
        seen = (seen - seen.mean(1, keepdim=True)) / self.face_span[:, None, None]
        wanted = (self.face - self.face.mean(1, keepdim=True)) / self.face_span[:, None, None]
        squared = ((seen - wanted) ** 2).sum(-1)
        fitted = torch.from_numpy(self.face_fitted).float()
        return total + fitted * settings.face * (squared / (squared + 0.01)).mean(1) * 5

    def result(self) -> Fit:
        """Current fit: parameters and posed joints, in the camera frame."""
        with torch.no_grad():
            values, _ = self._parameters(True)
            joints = self.body.joints(values)
            shift = self._root() - (joints[:, 1] + joints[:, 2]) / 2
            joints = joints + shift[:, None]
        arrays = {name: value.numpy() for name, value in values.items()}
        return Fit(
            **arrays,
            transl=shift.numpy(),
            joints_3d=joints.numpy(),
            hands_fitted=self.hands_fitted,
            face_fitted=self.face_fitted,
        )


def _torso_frame(metres: Tensor) -> Tensor:
    """(P, 3, 3) torso axes from hips and shoulders, as columns: left, up, forward."""
    left, right = metres[:, 11], metres[:, 12]
    x = torch.nn.functional.normalize(left - right, dim=1, eps=1e-6)
    up = (metres[:, 5] + metres[:, 6]) / 2 - (left + right) / 2
    y = torch.nn.functional.normalize(up - (up * x).sum(1, keepdim=True) * x, dim=1, eps=1e-6)
    return torch.stack([x, y, torch.linalg.cross(x, y)], -1)


# Angles of a hand: three bends of index, middle, little and ring finger, four spreads, three
# bends of the thumb and two turns of its base; the range of each, beyond the mean hand.
_BENDS, _SPREADS, _THUMB_BENDS, _THUMB_TURNS = 12, 4, 3, 2
_NUM_FINGER_ANGLES = _BENDS + _SPREADS + _THUMB_BENDS + _THUMB_TURNS
_FINGER_LOW = torch.tensor([-1.4] * 12 + [-0.3] * 4 + [-0.6] * 3 + [-0.5] * 2)
_FINGER_HIGH = torch.tensor([0.55] * 12 + [0.3] * 4 + [0.8] * 3 + [0.5] * 2)


def finger_pose(raw: Tensor, side: int) -> Tensor:
    """Unbounded finger angles (P, 21) -> axis-angle (P, 45) relative to the mean hand.

    A finger bends about z, inwards by a negative angle on the left hand; the right is its mirror.
    """
    middle, half = (_FINGER_LOW + _FINGER_HIGH) / 2, (_FINGER_HIGH - _FINGER_LOW) / 2
    start = torch.atanh(-middle / half)
    angles = middle + half * torch.tanh(raw + start)
    bends, spreads, thumb, turns = angles.split([_BENDS, _SPREADS, _THUMB_BENDS, _THUMB_TURNS], 1)
    pose = angles.new_zeros(len(angles), 5, 3, 3)
    pose[:, :4, :, 2] = bends.unflatten(1, (4, 3))
    pose[:, :4, 0, 1] = spreads
    pose[:, 4, :, 1] = thumb
    pose[:, 4, 0, 0], pose[:, 4, 0, 2] = turns[:, 0], turns[:, 1]
    mirror = pose.new_tensor([1.0, 1.0, 1.0] if side == 0 else [1.0, -1.0, -1.0])
    return (pose * mirror).flatten(1)
