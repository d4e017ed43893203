"""The stand-in body for rendering: batched posing with clothing offsets, shells and normals.

`aios.body.model.BodyModel` poses the same body. This class shares its kinematic chain
(`aios.body.rig.Skeleton`) but has its own skinning, because scene generation needs more than the
model offers: clothing offsets, shell vertices, normals and joint rotations from one pass, labels of
the bare body under the clothes, and only operations that a CUDA graph can capture. A test holds
both to the same vertices and joints.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from aios.body.rig import build_skeleton, move
from aios.geometry.rotations import axis_angle_to_rotmat
from aios.resources import STANDIN_BODY

from .shells import build_shells

# Vertices used as joints 55-75 of the SMPL-X output (nose, eyes, ears, feet, finger tips).
VERTEX_JOINTS = (
    (9120, 9929, 9448, 616, 6)
    + (5770, 5780, 8846, 8463, 8474, 8635)
    + (5361, 4933, 5058, 5169, 5286, 8079, 7669, 7794, 7905, 8022)
)
_NECK_CHAIN = (0, 3, 6, 9, 12)
_HAND_JOINTS = {"left": (20, *range(25, 40)), "right": (21, *range(40, 55))}
_HAIR, _EYE = 4, 5
_ANKLE_M = -1.13  # height of the upper edge of a shoe in the T-pose


@dataclass(frozen=True)
class PosedSurface:
    """N posed bodies, without translation; V skin vertices, then A shell vertices.

    Attributes:
        vertices: (N, V + A, 3) metres.
        normals: (N, V + A, 3), outwards, not normalised.
        joints_3d: (N, 144, 3) metres, of the bare body.
        rotations: (N, 55, 3, 3) joint rotations relative to the T-pose.
    """

    vertices: Tensor
    normals: Tensor
    joints_3d: Tensor
    rotations: Tensor


class _SparseRows:
    """Pose directions (V, 3, 486) in sparse form; most entries are zero."""

    def __init__(self, posedirs: np.ndarray) -> None:
        matrix = posedirs.reshape(-1, posedirs.shape[-1])
        rows, columns = np.nonzero(matrix)
        starts = np.searchsorted(rows, np.arange(len(matrix)))
        self.columns, self.starts = torch.from_numpy(columns), torch.from_numpy(starts)
        self.values = _tensor(matrix[rows, columns])

    def __call__(self, features: Tensor) -> Tensor:
        """Pose features (N, 486) -> vertex offsets (N, V * 3), metres."""
        return torch.nn.functional.embedding_bag(
            self.columns,
            features.T.contiguous(),
            self.starts,
            mode="sum",
            per_sample_weights=self.values,
        ).T

    def to(self, device: torch.device) -> Self:
        """Move to a device, in place."""
        self.columns, self.starts = self.columns.to(device), self.starts.to(device)
        self.values = self.values.to(device)
        return self


class BodySurface:
    """The stand-in body with garment and hair shells, as float32 tensors.

    Args:
        path: body file (.npz) in the SMPL-X layout with the array `standin_region`.
        device: device of all tensors.

    Raises:
        ValueError: `standin_region` is missing.
    """

    def __init__(self, path: str | Path = STANDIN_BODY, device: str | torch.device = "cpu") -> None:
        """Read the file and fit the shells."""
        with np.load(path) as file:
            if "standin_region" not in file:
                raise ValueError(f"{path} has no array standin_region; use the stand-in body.")
            data = {name: file[name] for name in file.files if name != "standin_note"}
        self.device = torch.device(device)
        self._read_body(data)
        self._add_shells(data)
        for name, value in list(vars(self).items()):
            if isinstance(value, Tensor | _SparseRows):
                setattr(self, name, value.to(self.device))
        self._skeleton = move(self._skeleton, self.device, None)

    def _read_body(self, data: dict[str, np.ndarray]) -> None:
        template = data["v_template"].astype(np.float64)
        self.num_vertices = len(template)
        self.template = _tensor(template)
        self._skeleton = build_skeleton(data)
        self.joint_template = self._skeleton.joints
        self.joint_dirs = self._skeleton.joint_directions.permute(2, 0, 1).contiguous()
        self.posedirs = _SparseRows(data["posedirs"])
        self.weights = _tensor(data["weights"])
        self.faces = torch.from_numpy(data["f"].astype(np.int64))
        self.mean_hands = _tensor(np.concatenate([data["hands_meanl"], data["hands_meanr"]]))
        self.landmark_faces = torch.from_numpy(data["lmk_faces_idx"].astype(np.int64))
        self.landmark_barycentric = _tensor(data["lmk_bary_coords"])
        self.contour_faces = torch.from_numpy(data["dynamic_lmk_faces_idx"].astype(np.int64))
        self.contour_barycentric = _tensor(data["dynamic_lmk_bary_coords"])
        marks = self.template[self.faces[self.landmark_faces]]
        marks = (marks * self.landmark_barycentric[..., None]).sum(1)
        self.landmark_template = marks.double().numpy()
        self.region = torch.from_numpy(data["standin_region"].astype(np.int64))
        self.normals = vertex_normals(self.template, self.faces)
        hands = {
            side: self.weights[:, list(joints)].sum(1) > 0.5
            for side, joints in _HAND_JOINTS.items()
        }
        self.left_hand_vertices = torch.nonzero(hands["left"])[:, 0]
        self.right_hand_vertices = torch.nonzero(hands["right"])[:, 0]
        hair = _smoothed((self.region == _HAIR).float(), self.faces)
        self.hair = hair
        self._index_labels()
        self.shoe = _shoe(self.template, self.faces, self.normals)
        # Per-face attributes of the skin texture.
        self.face_hand = (hands["left"] | hands["right"])[self.faces].all(1)
        self.face_eye = (self.region[self.faces] == _EYE).all(1)
        self.face_joint = self.weights[self.faces].sum(1).argmax(1)

    def _add_shells(self, data: dict[str, np.ndarray]) -> None:
        shells = build_shells(data["v_template"].astype(np.float64))
        shapedirs = data["shapedirs"].astype(np.float64)
        every = np.concatenate([shapedirs, shapedirs[shells.anchors].mean(1)])
        self.all_template = torch.cat([self.template, _tensor(shells.vertices)])
        self.all_shapedirs = _tensor(every.transpose(2, 0, 1).reshape(20, -1))
        self.all_weights = torch.cat([self.weights, _tensor(shells.weights)])
        self.all_normals = torch.cat([self.normals, _tensor(shells.normals)])
        self.all_hair = torch.cat([self.hair, torch.zeros(len(shells.vertices))])
        self.shell_flare, self.shell_ease = _tensor(shells.flare), _tensor(shells.ease)
        self.shell_of_vertex = torch.from_numpy(shells.shell)
        faces = torch.from_numpy(shells.faces) + self.num_vertices
        self.all_faces = torch.cat([self.faces, faces])
        self.shell_of_face = torch.from_numpy(shells.face_shell)
        self.shell_row = torch.from_numpy(shells.face_row)
        self.shell_side = _tensor(shells.face_side)

    @property
    def hand_vertices(self) -> dict[str, Tensor]:
        """Skin vertices of the left and the right hand."""
        return {"left": self.left_hand_vertices, "right": self.right_hand_vertices}

    def pose_joints(self, pose: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Forward kinematics.

        Args:
            pose: (N, 55, 3) axis-angle, root first, hands relative to the mean hand.
            coefficients: (N, 20) shape and expression.

        Returns:
            (N, 55, 3, 3) local rotations, (N, 55, 3, 3) rotations relative to the T-pose, and
            (N, 55, 3) joint positions, metres.
        """
        rest = self.joint_template + torch.einsum("ps,sjc->pjc", coefficients, self.joint_dirs)
        full = torch.cat([pose[:, :25], pose[:, 25:] + self.mean_hands.view(30, 3)], 1)
        local = axis_angle_to_rotmat(full)
        joints, transforms = self._skeleton.pose(local, rest)
        return local, transforms[..., :3], joints

    def pose(
        self, pose: Tensor, betas: Tensor, expression: Tensor, offsets: Tensor | None = None
    ) -> PosedSurface:
        """Pose N bodies, without translation.

        Args:
            pose: (N, 55, 3) axis-angle, root first, hands relative to the mean hand.
            betas: (N, 10).
            expression: (N, 10).
            offsets: (N, V + A, 3) clothing and hair offsets in the T-pose, metres, or None.
        """
        count = len(pose)
        coefficients = torch.cat([betas, expression], 1)
        local, world, joints = self.pose_joints(pose, coefficients)
        shaped = self.all_template + (coefficients @ self.all_shapedirs).view(count, -1, 3)
        away = (local[:, 1:] - torch.eye(3, device=local.device)).flatten(1)
        shaped[:, : self.num_vertices] += self.posedirs(away).reshape(count, -1, 3)
        # Labels belong to the bare body.
        labelled = shaped[:, self.label_vertices]
        if offsets is not None:
            shaped = shaped + offsets
        rest = self.joint_template + torch.einsum("ps,sjc->pjc", coefficients, self.joint_dirs)
        shift = joints - (world @ rest[..., None])[..., 0]
        transforms = torch.cat([world, shift[..., None]], -1).flatten(2)
        blended = torch.matmul(self.all_weights, transforms).unflatten(-1, (3, 4))
        vertices = (blended[..., :3] * shaped[..., None, :]).sum(-1) + blended[..., 3]
        moves = blended[:, self.label_vertices]
        labelled = (moves[..., :3] * labelled[..., None, :]).sum(-1) + moves[..., 3]
        normals = (blended[..., :3] * self.all_normals[:, None, :]).sum(-1)
        joints_3d = self._all_joints(labelled, joints, local)
        return PosedSurface(vertices, normals, joints_3d, world)

    def _index_labels(self) -> None:
        """Collect the vertices that define the 89 joints on the skin, with compact indices."""
        faces = self.faces[torch.cat([self.landmark_faces, self.contour_faces.flatten()])]
        every = torch.cat([torch.tensor(VERTEX_JOINTS), faces.flatten()])
        self.label_vertices, place = every.unique(return_inverse=True)
        self.label_points = place[: len(VERTEX_JOINTS)]
        corners = place[len(VERTEX_JOINTS) :].view(-1, 3)
        self.label_marks = corners[: len(self.landmark_faces)]
        self.label_contour = corners[len(self.landmark_faces) :].view(*self.contour_faces.shape, 3)

    def _all_joints(self, labelled: Tensor, joints: Tensor, local: Tensor) -> Tensor:
        """(N, 144, 3): 55 skeleton joints, 21 vertices, 51 landmarks, 17 points of the contour."""
        neck = local[:, _NECK_CHAIN[0]]
        for joint in _NECK_CHAIN[1:]:
            neck = neck @ local[:, joint]
        angle = torch.atan2(neck[:, 2, 0], torch.hypot(neck[:, 0, 0], neck[:, 1, 0]))
        turn = torch.round(torch.rad2deg(angle).clamp(max=39)).long()
        row = torch.where(turn >= 0, turn, torch.where(turn < -39, 78, 39 - turn))
        people = torch.arange(len(labelled), device=labelled.device)[:, None, None]
        jaw = labelled[people, self.label_contour[row]]  # (N, 17, 3, 3)
        jaw = (jaw * self.contour_barycentric[row][..., None]).sum(2)
        marks = labelled[:, self.label_marks]
        marks = (marks * self.landmark_barycentric[..., None]).sum(2)
        return torch.cat([joints, labelled[:, self.label_points], marks, jaw], 1)


def _smoothed(values: Tensor, faces: Tensor, rounds: int = 3) -> Tensor:
    """(V,) values averaged with their neighbours `rounds` times; zero values stay zero."""
    kept = values > 0
    for _ in range(rounds):
        face = values[faces].mean(1)
        total, count = torch.zeros_like(values), torch.zeros_like(values)
        for corner in range(3):
            total.index_add_(0, faces[:, corner], face)
            count.index_add_(0, faces[:, corner], torch.ones_like(face))
        values = torch.where(kept, total / count.clamp_min(1), 0.0)
    return values


def _shoe(template: Tensor, faces: Tensor, normals: Tensor) -> Tensor:
    """(V, 3) offsets, metres, from a bare foot to a shoe: smoothed, with the same bounding box."""
    foot = template[:, 1] < _ANKLE_M
    smooth = template
    for _ in range(40):
        face = smooth[faces].mean(1)
        total, count = torch.zeros_like(smooth), torch.zeros(len(smooth), 1)
        for corner in range(3):
            total.index_add_(0, faces[:, corner], face)
            count.index_add_(0, faces[:, corner], torch.ones(len(faces), 1))
        smooth = torch.where(foot[:, None], total / count.clamp_min(1), smooth)
    for side in (foot & (template[:, 0] > 0), foot & (template[:, 0] < 0)):
        for axis in range(3):
            old, new = template[side, axis], smooth[side, axis]
            scale = (old.max() - old.min()) / (new.max() - new.min())
            smooth[side, axis] = (new - new.min()) * scale + old.min()
    share = ((_ANKLE_M - template[:, 1]) / 0.04).clamp(0, 1)[:, None]
    return share * (smooth - template + 0.005 * normals)


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Area-weighted unit normals (V, 3), pointing out."""
    corners = vertices[faces]
    face = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = torch.zeros_like(vertices)
    for corner in range(3):
        normals.index_add_(0, faces[:, corner], face)
    return torch.nn.functional.normalize(normals, dim=-1)


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))
