"""The arrays of a body model as tensors, for all of its vertices or for a choice of them."""

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
"""Share of pose directions other than zero below which they are stored sparse."""
PartT = TypeVar("PartT", "Skeleton", "Surface")


@dataclass(frozen=True)
class Skeleton:
    """What posing needs whatever the vertices: rest joints follow shape and expression."""

    joints: Tensor
    """(55, 3)"""
    joint_directions: Tensor
    """(55, 3, 20)"""
    mean_pose: Tensor
    """(165,) zero except for the hands."""
    generations: tuple[tuple[Tensor, Tensor], ...]
    """Joints as far from the root as each other, nearest first and the root left out, and the
    parent of each; int64."""
    neck: Tensor
    """(5,) int64, joints from the head down to the root."""

    def pose(self, rotations: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
        """Turn the joints.

        `smplx.lbs.batch_rigid_transform` gives the same joint by joint: five times as many
        operations, and a GPU is waited for at each of them.

        Args:
            rotations: (P, 55, 3, 3) of each joint against its parent.
            rest: (P, 55, 3) joints of the shaped body at rest.

        Returns:
            (P, 55, 3) where they are, and (P, 55, 3, 4) what takes a point that moves with the
            joint from rest to there.
        """
        world, place = rotations, rest
        for joints, parents in self.generations:
            above = world[:, parents]
            bones = (rest[:, joints] - rest[:, parents])[..., None]
            world = world.index_copy(1, joints, above @ rotations[:, joints])
            place = place.index_copy(1, joints, place[:, parents] + (above @ bones)[..., 0])
        shift = place - (world @ rest[..., None])[..., 0]
        return place, torch.cat([world, shift[..., None]], -1)


@dataclass(frozen=True)
class Surface:
    """A choice of vertices with the landmarks that lie on them."""

    template: Tensor
    """(V, 3)"""
    shape_directions: Tensor
    """(V, 3, 20)"""
    pose_directions: Tensor | None
    """(V * 3, 486), maybe sparse; None where the model has none."""
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
    """(79, 17) int64, one row for each degree of the head's turn"""
    contour_weights: Tensor
    """(79, 17, 3)"""

    def compact(self) -> Surface:
        """The same with sparse pose directions where most are zero: twelve times faster to use."""
        dense = self.pose_directions
        if dense is None or dense.count_nonzero() > _SPARSE_BELOW * dense.numel():
            return self
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            sparse = dense.to_sparse_csr()
        try:
            sparse @ dense.new_zeros(dense.shape[1], 1)
        except RuntimeError:  # some builds of torch store this format but cannot multiply it
            return self
        return replace(self, pose_directions=sparse)

    def only_landmarks(self) -> Surface:
        """The few vertices and faces that the 144 joints lie on, renumbered."""
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
    """Joints of a checked file, as linear functions of shape and expression."""
    regressor = arrays["J_regressor"].astype(np.float64)
    joints = regressor @ arrays["v_template"]
    directions = np.einsum("jv,vck->jck", regressor, arrays["shapedirs"], optimize=True)
    mean_pose = np.concatenate([np.zeros(75), arrays["hands_meanl"], arrays["hands_meanr"]])
    return Skeleton(
        joints=torch.from_numpy(joints).float(),
        joint_directions=torch.from_numpy(directions).float(),
        mean_pose=torch.from_numpy(mean_pose).float(),
        generations=generations(arrays["kintree_table"][0].tolist()),
        neck=torch.tensor(_NECK),
    )


def generations(parents: list[int]) -> tuple[tuple[Tensor, Tensor], ...]:
    """Joints as far from the root as each other and their parents, see `Skeleton`.

    Args:
        parents: of each joint; a parent comes before its children, and the root's is not read.
    """
    depth = [0] * len(parents)
    for joint in range(1, len(parents)):
        depth[joint] = depth[parents[joint]] + 1
    found = []
    for level in range(1, max(depth) + 1):
        joints = [joint for joint, own in enumerate(depth) if own == level]
        found.append((torch.tensor(joints), torch.tensor([parents[joint] for joint in joints])))
    return tuple(found)


def build_surface(arrays: Mapping[str, np.ndarray], joint_vertices: Tensor) -> Surface:
    """All vertices of a checked file; `joint_vertices` (21,) are the extra joints."""
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


def move(part: PartT, device: torch.device | str | None, dtype: torch.dtype | None) -> PartT:
    """Every tensor to the device, those of real numbers to the type as well."""

    def moved(value: Any) -> Any:  # noqa: ANN401 - as deep as fields are
        if isinstance(value, tuple):
            return tuple(moved(each) for each in value)
        if not isinstance(value, Tensor):
            return value
        if device is not None and torch.device(device).type not in ("cpu", "cuda"):
            value = value.to_dense()
        return value.to(device=device, dtype=dtype if value.is_floating_point() else None)

    return replace(part, **{field.name: moved(getattr(part, field.name)) for field in fields(part)})
