"""Tensors of a body model: skeleton, and surface with all vertices or a subset."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from .file import NUM_VERTICES

_NECK = (12, 9, 6, 3, 0)
_SPARSE_BELOW = 0.05
"""Pose directions with a smaller fraction of nonzeros are stored sparse."""
_PartT = TypeVar("_PartT", "Skeleton", "Surface")


@dataclass(frozen=True)
class Skeleton:
    """Skeleton: rest joints as linear functions of shape and expression, kinematic tree."""

    joints: Tensor
    """(55, 3)"""
    joint_directions: Tensor
    """(55, 3, 20)"""
    mean_pose: Tensor
    """(165,) axis-angle, zero except for the hands."""
    tree_levels: tuple[tuple[Tensor, Tensor], ...]
    """Joints of each depth of the kinematic tree below the root, and their parents; int64."""
    neck: Tensor
    """(5,) int64, kinematic chain from neck to root."""

    def pose(self, rotations: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
        """Forward kinematics, one tree level at a time.

        `smplx.lbs.batch_rigid_transform` computes the same joint by joint, with five times as many
        operations.

        Args:
            rotations: (P, 55, 3, 3) relative to the parent joint.
            rest: (P, 55, 3) joints of the shaped body in the rest pose, metres.

        Returns:
            Joint positions (P, 55, 3), and rigid transforms (P, 55, 3, 4) from rest to posed
            points.
        """
        world, position = rotations, rest
        for joints, parents in self.tree_levels:
            parent_world = world[:, parents]
            bones = (rest[:, joints] - rest[:, parents])[..., None]
            world = world.index_copy(1, joints, parent_world @ rotations[:, joints])
            moved = position[:, parents] + (parent_world @ bones)[..., 0]
            position = position.index_copy(1, joints, moved)
        shift = position - (world @ rest[..., None])[..., 0]
        return position, torch.cat([world, shift[..., None]], -1)


@dataclass(frozen=True)
class Surface:
    """Vertices and the landmarks on them."""

    template: Tensor
    """(V, 3)"""
    shape_directions: Tensor
    """(V, 3, 20)"""
    pose_directions: Tensor | None
    """(V * 3, 486), dense or sparse; None if all are zero."""
    weights: Tensor
    """(V, 55)"""
    faces: Tensor
    """(F, 3) int64"""
    joint_vertices: Tensor
    """(21,) int64"""
    landmark_faces: Tensor
    """(51,) int64"""
    landmark_weights: Tensor
    """(51, 3)"""
    contour_faces: Tensor
    """(79, 17) int64, one row per degree of head rotation"""
    contour_weights: Tensor
    """(79, 17, 3)"""

    def compact(self) -> Surface:
        """Copy with sparse pose directions if most are zero; the product is 12 times faster."""
        dense = self.pose_directions
        if dense is None or dense.count_nonzero() > _SPARSE_BELOW * dense.numel():
            return self
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            sparse = dense.to_sparse_csr()
        try:
            sparse @ dense.new_zeros(dense.shape[1], 1)
        except RuntimeError:  # some builds of torch cannot multiply this format
            return self
        return replace(self, pose_directions=sparse)

    def only_landmarks(self) -> Surface:
        """Subset of the vertices and faces under the 144 joints, with new indices."""
        face_ids = torch.cat([self.landmark_faces, self.contour_faces.reshape(-1)])
        face_ids, face_places = torch.unique(face_ids, return_inverse=True)
        faces = self.faces[face_ids]
        vertex_ids = torch.cat([self.joint_vertices, faces.reshape(-1)])
        vertex_ids, vertex_places = torch.unique(vertex_ids, return_inverse=True)
        split, count = len(self.landmark_faces), len(self.joint_vertices)
        pose_directions = self.pose_directions
        if pose_directions is not None:
            features = pose_directions.shape[1]
            pose_directions = pose_directions.reshape(-1, 3, features)[vertex_ids]
            pose_directions = pose_directions.reshape(-1, features)
        return Surface(
            template=self.template[vertex_ids],
            shape_directions=self.shape_directions[vertex_ids],
            pose_directions=pose_directions,
            weights=self.weights[vertex_ids],
            faces=vertex_places[count:].reshape(-1, 3),
            joint_vertices=vertex_places[:count],
            landmark_faces=face_places[:split],
            landmark_weights=self.landmark_weights,
            contour_faces=face_places[split:].reshape(self.contour_faces.shape),
            contour_weights=self.contour_weights,
        )


def build_skeleton(arrays: Mapping[str, np.ndarray]) -> Skeleton:
    """Build the skeleton from the arrays of a body model file."""
    regressor = arrays["J_regressor"].astype(np.float64)
    joints = regressor @ arrays["v_template"]
    directions = np.einsum("jv,vck->jck", regressor, arrays["shapedirs"], optimize=True)
    mean_pose = np.concatenate([np.zeros(75), arrays["hands_meanl"], arrays["hands_meanr"]])
    return Skeleton(
        joints=torch.from_numpy(joints).float(),
        joint_directions=torch.from_numpy(directions).float(),
        mean_pose=torch.from_numpy(mean_pose).float(),
        tree_levels=tree_levels(arrays["kintree_table"][0].tolist()),
        neck=torch.tensor(_NECK),
    )


def tree_levels(parents: list[int]) -> tuple[tuple[Tensor, Tensor], ...]:
    """Group joints by depth in the kinematic tree, see `Skeleton.tree_levels`.

    Args:
        parents: parent index of each joint, smaller than the joint's own; that of joint 0, the
            root, is ignored.
    """
    depth = [0] * len(parents)
    for joint in range(1, len(parents)):
        depth[joint] = depth[parents[joint]] + 1
    levels = []
    for level in range(1, max(depth) + 1):
        joints = [joint for joint, own in enumerate(depth) if own == level]
        levels.append((torch.tensor(joints), torch.tensor([parents[joint] for joint in joints])))
    return tuple(levels)


def build_surface(arrays: Mapping[str, np.ndarray], joint_vertices: Tensor) -> Surface:
    """Build the surface from the arrays of a file; `joint_vertices` (21,) are joints 55-75."""
    posedirs = arrays["posedirs"]
    pose_directions = None
    if posedirs.any():
        pose_directions = torch.from_numpy(posedirs).reshape(NUM_VERTICES * 3, -1)
    return Surface(
        template=torch.from_numpy(arrays["v_template"]),
        shape_directions=torch.from_numpy(arrays["shapedirs"]),
        pose_directions=pose_directions,
        weights=torch.from_numpy(arrays["weights"]),
        faces=torch.from_numpy(arrays["f"]),
        joint_vertices=joint_vertices,
        landmark_faces=torch.from_numpy(arrays["lmk_faces_idx"]),
        landmark_weights=torch.from_numpy(arrays["lmk_bary_coords"]),
        contour_faces=torch.from_numpy(arrays["dynamic_lmk_faces_idx"]),
        contour_weights=torch.from_numpy(arrays["dynamic_lmk_bary_coords"]),
    )


def move(part: _PartT, device: torch.device | str | None, dtype: torch.dtype | None) -> _PartT:
    """Move all tensors to `device`, and floating-point ones to `dtype`."""

    def moved(value: Any) -> Any:  # noqa: ANN401 - recursive
        if isinstance(value, tuple):
            return tuple(moved(each) for each in value)
        if not isinstance(value, Tensor):
            return value
        if device is not None and torch.device(device).type not in ("cpu", "cuda"):
            value = value.to_dense()
        return value.to(device=device, dtype=dtype if value.is_floating_point() else None)

    return replace(part, **{field.name: moved(getattr(part, field.name)) for field in fields(part)})
