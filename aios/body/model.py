"""SMPL-X parameters -> mesh and joints, with functions of the `smplx` package.

Only this module imports `smplx`, whose licence is for non-commercial research.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from .file import BodyModelError, read_body_file
from .location import find_body_file
from .parameters import SMPLX_SIZES
from .rig import Surface, build_skeleton, build_surface, move
from .standin_shape import StandinShapes

__all__ = ["BodyModel", "BodyModelError", "BodyOutput"]

_NUM_JOINTS_3D = 144


@dataclass(frozen=True)
class BodyOutput:
    """Posed bodies.

    Attributes:
        vertices: (P, V, 3) metres.
        joints_3d: (P, 144, 3) metres: 55 skeleton joints, 21 vertices (nose, eyes, ears, toes,
            heels, finger tips), 51 face landmarks, 17 face contour landmarks.
    """

    vertices: Tensor
    joints_3d: Tensor


class BodyModel:
    """Body model in the SMPL-X layout.

    Attributes:
        name: "SMPL-X" or "stand-in".
        is_standin: whether this is the body shipped with the program.
        faces: (F, 3) int64 vertex indices, counter-clockwise seen from outside.
        left_hand_mean: (45,) float32 axis-angle, added to every `left_hand_pose`.
        right_hand_mean: (45,) float32 axis-angle, added to every `right_hand_pose`.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], is_standin: bool) -> None:
        """Build from the arrays of `read_body_file`; see `load`."""
        self.name = "stand-in" if is_standin else "SMPL-X"
        self.is_standin = is_standin
        self.faces = arrays["f"]
        self.left_hand_mean = arrays["hands_meanl"]
        self.right_hand_mean = arrays["hands_meanr"]
        self._skeleton = build_skeleton(arrays)
        surface = build_surface(arrays, _extra_joint_vertices())
        self._landmarks = surface.only_landmarks()
        self._surface = surface.compact()
        self._shapes = None
        if is_standin:
            self._shapes = StandinShapes(
                arrays["v_template"], arrays["shapedirs"][..., :10], self.faces
            )

    @classmethod
    def load(cls, source: str | Path | None = None) -> Self:
        """Load a body model.

        Args:
            source: SMPL-X file (`.npz`, `.pkl`) or a folder that contains `SMPLX_NEUTRAL.npz` or
                `.pkl`, see `find_body_file`; None takes the environment variable AIOS_SMPLX, else
                the stand-in.

        Raises:
            BodyModelError: no usable neutral SMPL-X model.
        """
        return cls(*read_body_file(find_body_file(source)))

    def __call__(self, parameters: Mapping[str, Tensor]) -> BodyOutput:
        """Pose P bodies.

        Args:
            parameters: tensors (P, size) under names and sizes of `SMPLX_SIZES`; missing ones are
                zero.  Poses are axis-angle in radians, `transl` is in metres.  Hand poses are
                relative to the mean hand and added to it as vectors, whatever their length.
                The eyes look straight ahead.

        Returns:
            Posed bodies, differentiable, in the frame of `global_orient` and `transl` (the camera
            frame for predictions).

        Raises:
            BodyModelError: unknown name, wrong shape, or different numbers of people.
        """
        vertices, joints_3d = self._pose(self._surface, parameters)
        return BodyOutput(vertices, joints_3d)

    @property
    def device(self) -> torch.device:
        """Device of the tensors."""
        return self._surface.template.device

    @property
    def checksum(self) -> str:
        """SHA-256 of the template, 64 hexadecimal digits; differs from body to body."""
        return hashlib.sha256(self._surface.template.cpu().numpy().tobytes()).hexdigest()

    def joints(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Joints (P, 144, 3) of `__call__`, without the mesh: several times faster."""
        return self._pose(self._landmarks, parameters)[1]

    def adapt(self, parameters: Mapping[str, Tensor], from_official: bool) -> dict[str, Tensor]:
        """Convert predicted parameters for posing this body.

        Args:
            parameters: as in `__call__`.
            from_official: whether they are SMPL-X parameters, as predicted by the released
                weights; the built-in weights predict the shapes of the stand-in.

        Returns:
            Parameters with `betas` converted if they are SMPL-X's and this body is the stand-in,
            see `StandinShapes`.  Hand poses are relative to the mean hand in both conventions and
            stay unchanged.  For posing only: exported parameters are not converted.
        """
        adapted = dict(parameters)
        if from_official and self._shapes is not None and "betas" in adapted:
            adapted["betas"] = self._shapes(torch.as_tensor(adapted["betas"]))
        return adapted

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Self:
        """Copy on another device or in another floating-point type."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._skeleton = move(self._skeleton, device, dtype)
        other._surface = move(self._surface, device, dtype)
        other._landmarks = move(self._landmarks, device, dtype)
        return other

    def _pose(self, surface: Surface, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Vertices (P, V, 3) of `surface` and joints (P, 144, 3)."""
        from smplx import lbs

        values, count = _checked(parameters, surface.template)
        if count == 0:
            empty = surface.template.new_zeros
            return empty(0, len(surface.template), 3), empty(0, _NUM_JOINTS_3D, 3)
        pose = self._full_pose(values)
        rotations = lbs.batch_rodrigues(pose.reshape(-1, 3)).reshape(count, -1, 3, 3)
        coefficients = torch.cat([values["betas"], values["expression"]], -1)
        skeleton = self._skeleton
        rest_joints = skeleton.joints + lbs.blend_shapes(coefficients, skeleton.joint_directions)
        joints, transforms = skeleton.pose(rotations, rest_joints)
        rest = surface.template + lbs.blend_shapes(coefficients, surface.shape_directions)
        if surface.pose_directions is not None:
            features = (
                rotations[:, 1:] - torch.eye(3, device=pose.device, dtype=pose.dtype)
            ).reshape(count, -1)
            rest = rest + (surface.pose_directions @ features.T).T.reshape(count, -1, 3)
        vertices = _skin(rest, transforms, surface.weights)
        landmarks = _face_landmarks(surface, vertices, pose, skeleton.neck)
        joints_3d = torch.cat([joints, vertices[:, surface.joint_vertices], landmarks], 1)
        transl = values["transl"][:, None]
        return vertices + transl, joints_3d + transl

    def _full_pose(self, values: Mapping[str, Tensor]) -> Tensor:
        """(P, 165) axis-angle in skeleton order, with mean hands added and eyes at zero."""
        parts = [values[name] for name in ("global_orient", "body_pose", "jaw_pose")]
        eyes = torch.zeros_like(values["betas"][:, :6])
        hands = [values["left_hand_pose"], values["right_hand_pose"]]
        return torch.cat([*parts, eyes, *hands], -1) + self._skeleton.mean_pose


def _checked(parameters: Mapping[str, Tensor], like: Tensor) -> tuple[dict[str, Tensor], int]:
    """Validate parameters, move them to `like`, add zeros for missing ones; count people."""
    unknown = sorted(set(parameters) - set(SMPLX_SIZES))
    if unknown or not parameters:
        found = ", ".join(unknown) or "nothing"
        raise BodyModelError(f"the body model takes {', '.join(SMPLX_SIZES)}; got {found}")
    values = {name: torch.as_tensor(value).to(like) for name, value in parameters.items()}
    count = len(next(iter(values.values())))
    for name, value in values.items():
        if value.shape != (count, SMPLX_SIZES[name]):
            raise BodyModelError(
                f"{name} has shape {tuple(value.shape)}, expected {(count, SMPLX_SIZES[name])}"
            )
    zeros = {n: like.new_zeros(count, size) for n, size in SMPLX_SIZES.items() if n not in values}
    return values | zeros, count


def _skin(rest: Tensor, transforms: Tensor, weights: Tensor) -> Tensor:
    """Linear blend skinning of (P, V, 3) by transforms (P, 55, 3, 4) and weights (V, 55)."""
    blended = (weights @ transforms.flatten(2)).unflatten(2, (3, 4))
    # Faster than one batched product of thousands of 3x4 matrices, especially on a GPU.
    skinned = blended[..., 3]
    for axis in range(3):
        skinned = torch.addcmul(skinned, blended[..., axis], rest[..., axis, None])
    return skinned


def _face_landmarks(surface: Surface, vertices: Tensor, pose: Tensor, neck: Tensor) -> Tensor:
    """(P, 51 + 17, 3): fixed landmarks, then contour landmarks for the head rotation."""
    from smplx import lbs

    # The head rotation is rounded to a table row; NaN would give an index outside the table.
    contour_faces, contour_weights = lbs.find_dynamic_lmk_idx_and_bcoords(
        vertices, pose.nan_to_num(), surface.contour_faces, surface.contour_weights, neck
    )
    count = len(vertices)
    return lbs.vertices2landmarks(
        vertices,
        surface.faces,
        torch.cat([surface.landmark_faces.expand(count, -1), contour_faces], 1),
        torch.cat([surface.landmark_weights.expand(count, -1, -1), contour_weights], 1),
    )


def _extra_joint_vertices() -> Tensor:
    """(21,) int64 vertex indices of joints 55 to 75."""
    from smplx.vertex_ids import vertex_ids
    from smplx.vertex_joint_selector import VertexJointSelector

    return VertexJointSelector(vertex_ids["smplx"]).extra_joints_idxs
