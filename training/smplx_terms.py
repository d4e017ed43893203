"""Losses on SMPL-X parameters and on the body they pose (training specification, section 4)."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from aios.body_model import BodyModel
from aios.camera import project_points, weak_camera_to_transl
from aios.outputs import SmplxOutput
from aios.rotations import axis_angle_to_rotmat, rotmat_to_axis_angle

from .joints import BODY_JOINTS, FACE_JOINTS, LEFT_HAND_JOINTS, RIGHT_HAND_JOINTS
from .losses import joints_l1, keypoint_l1, rotation_l1, vector_l1
from .targets import BODY_KEYPOINTS, Targets

_NEAREST_M = 0.3
"""Projection clamps the depth here: a scale near 0 or below must not blow the loss up."""
_MOST_BOX_SIDES = 1.0
_PELVIS = 0


@dataclass(frozen=True)
class Matched:
    """SMPL-X of N matched people, whatever the layer."""

    smplx: SmplxOutput
    """Fields of shape (N, ...)."""
    targets: Targets
    """N people, in the same order."""
    whole_body: bool
    """False in stage `refine_body`, which poses mean hands and a face at rest."""


def select_smplx(smplx: SmplxOutput, image_index: Tensor, query_index: Tensor) -> SmplxOutput:
    """(B, P, ...) -> (N, ...) at pairs of picture and slot."""
    return SmplxOutput(
        **{f.name: getattr(smplx, f.name)[image_index, query_index] for f in fields(SmplxOutput)}
    )


def body_parameters(smplx: SmplxOutput, whole_body: bool) -> dict[str, Tensor]:
    """Axis-angle parameters of N people, without translation."""
    body = rotmat_to_axis_angle(smplx.body_rotmat)
    parameters = {
        "global_orient": body[:, 0],
        "body_pose": body[:, 1:].flatten(1),
        "jaw_pose": rotmat_to_axis_angle(smplx.jaw_rotmat).flatten(1),
        "betas": smplx.betas,
        "left_hand_pose": rotmat_to_axis_angle(smplx.left_hand_rotmat).flatten(1),
        "right_hand_pose": rotmat_to_axis_angle(smplx.right_hand_rotmat).flatten(1),
        "expression": smplx.expression,
    }
    if not whole_body:
        for name in ("left_hand_pose", "right_hand_pose", "expression"):
            parameters[name] = torch.zeros_like(parameters[name])
    return parameters


def pose_bodies(groups: list[Matched], body_model: BodyModel) -> list[Tensor]:
    """Joints of several groups by one call of the body model: (N, 144, 3) each, no translation."""
    parameters = [body_parameters(group.smplx, group.whole_body) for group in groups]
    joined = {name: torch.cat([p[name] for p in parameters]) for name in parameters[0]}
    return list(body_model.joints(joined).split([len(g.targets) for g in groups]))


def parameter_terms(group: Matched) -> dict[str, Tensor]:
    """One number a person of every loss on parameters, each times its validity; (N,) each."""
    smplx, targets = group.smplx, group.targets
    valid = targets.smplx_valid.float()
    body_pose = targets.body_pose.unflatten(-1, (21, 3))
    terms = {
        "root": rotation_l1(
            smplx.body_rotmat[:, :1], axis_angle_to_rotmat(targets.global_orient)[:, None]
        ),
        "body": rotation_l1(smplx.body_rotmat[:, 1:], axis_angle_to_rotmat(body_pose)),
        "betas": vector_l1(smplx.betas, targets.betas),
    }
    if group.whole_body:
        left = axis_angle_to_rotmat(targets.left_hand_pose.unflatten(-1, (15, 3)))
        right = axis_angle_to_rotmat(targets.right_hand_pose.unflatten(-1, (15, 3)))
        face_valid = targets.face_box_valid.float()
        terms["hands"] = (
            rotation_l1(smplx.left_hand_rotmat, left) * targets.left_hand_box_valid.float()
            + rotation_l1(smplx.right_hand_rotmat, right) * targets.right_hand_box_valid.float()
        )
        jaw = axis_angle_to_rotmat(targets.jaw_pose)[:, None]
        terms["jaw"] = rotation_l1(smplx.jaw_rotmat, jaw) * face_valid
        terms["expression"] = vector_l1(smplx.expression, targets.expression) * face_valid
    return {name: term * valid for name, term in terms.items()}


def joint_3d_terms(group: Matched, joints_3d: Tensor) -> dict[str, Tensor]:
    """Pelvis-aligned distances in metres, summed over the joints of a part; (N,) each."""
    targets = group.targets
    predicted = joints_3d - joints_3d[:, _PELVIS : _PELVIS + 1]
    wanted = targets.joints_3d - targets.joints_3d[:, _PELVIS : _PELVIS + 1]
    valid = targets.joints_3d_valid.float()[:, None]

    def part(joints: tuple[int, ...], mask: Tensor) -> Tensor:
        index = list(joints)
        return joints_l1(predicted[:, index], wanted[:, index], mask)

    terms = {"body_joints_3d": part(BODY_JOINTS, valid)}
    if group.whole_body:
        left = valid * targets.left_hand_box_valid.float()[:, None]
        right = valid * targets.right_hand_box_valid.float()[:, None]
        face = valid * targets.face_box_valid.float()[:, None]
        terms["hand_joints_3d"] = part(LEFT_HAND_JOINTS, left) + part(RIGHT_HAND_JOINTS, right)
        terms["face_joints_3d"] = part(FACE_JOINTS, face)
    return terms


def project_joints(
    joints_3d: Tensor, weak_camera: Tensor, focal_length: float, size_hw: tuple[int, int]
) -> Tensor:
    """Joints without translation -> (N, J, 2), 0-1 of the picture, through the predicted camera."""
    height, width = size_hw
    size = joints_3d.new_tensor([width, height])
    # A scale at 0 or below is put behind the farthest sensible person, not behind the camera.
    scale = weak_camera[:, :1].clamp(min=1e-3)
    transl = weak_camera_to_transl(torch.cat([scale, weak_camera[:, 1:]], -1))
    points = joints_3d + transl[:, None]
    points = torch.cat([points[..., :2], points[..., 2:].clamp(min=_NEAREST_M)], -1)
    return project_points(points, focal_length, size) / size


def joint_2d_terms(group: Matched, projected: Tensor, in_box_units: bool) -> dict[str, Tensor]:
    """Distances of projected joints; (N,) each.

    Where only the body keypoints are annotated (no 3D), those of them that are visible count.

    Args:
        group: matched people.
        projected: (N, 144, 2), 0-1.
        in_box_units: mean over joints in sides of the person's box; else the sum in 0-1.
    """
    targets = group.targets
    inside = ((targets.joints_2d >= 0) & (targets.joints_2d <= 1)).all(-1).float()
    full = inside * targets.joints_3d_valid.float()[:, None]

    def distance(predicted: Tensor, wanted: Tensor, mask: Tensor) -> Tensor:
        return point_distance(predicted, wanted, mask, targets.boxes, in_box_units)

    def part(joints: tuple[int, ...], mask: Tensor) -> Tensor:
        index = list(joints)
        return distance(projected[:, index], targets.joints_2d[:, index], mask[:, index])

    only_2d = targets.keypoints_visible * (~targets.joints_3d_valid).float()[:, None]
    keypoints = projected[:, list(BODY_KEYPOINTS)]
    body = part(BODY_JOINTS, full) + distance(keypoints, targets.keypoints_2d, only_2d)
    terms = {"body_joints_2d": body}
    if group.whole_body:
        left = full * targets.left_hand_box_valid.float()[:, None]
        right = full * targets.right_hand_box_valid.float()[:, None]
        face = full * targets.face_box_valid.float()[:, None]
        terms["hand_joints_2d"] = part(LEFT_HAND_JOINTS, left) + part(RIGHT_HAND_JOINTS, right)
        terms["face_joints_2d"] = part(FACE_JOINTS, face)
    return terms


def point_distance(
    predicted: Tensor, wanted: Tensor, mask: Tensor, boxes: Tensor, in_box_units: bool
) -> Tensor:
    """|dx| + |dy| of 2D points under a mask: (N, K, 2) twice, (N, K), (N, 4) -> (N,).

    In box units the distance is measured in longest sides of the box, bounded, and averaged.
    """
    if not in_box_units:
        return keypoint_l1(predicted, wanted, mask)
    gap = (predicted - wanted).abs().sum(-1)
    side = boxes[:, 2:].max(-1).values.clamp(min=0.02)
    gap = bounded(gap / side[:, None], _MOST_BOX_SIDES)
    return (gap * mask).sum(-1) / mask.sum(-1).clamp(min=1.0)


def bounded(distance: Tensor, limit: float) -> Tensor:
    """The distance up to `limit`, a logarithm beyond it: a far miss must not drown the rest."""
    beyond = limit * (1 + torch.log(distance.clamp(min=limit) / limit))
    return torch.where(distance > limit, beyond, distance)


@torch.no_grad()
def fit_weak_camera(
    targets: Targets, focal_length: float, size_hw: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """The network's camera that sees the annotated joints where they are, by least squares.

    Pictures are cropped and scaled in training, so the camera that made them is not the network's;
    the answer says what the network should have said.

    Args:
        targets: N people.
        focal_length: pixels of the network's camera.
        size_hw: of the picture in pixels.

    Returns:
        (N, 3) s, tx, ty for joints around the *pelvis* of the posed body, and (N,) 0 or 1 for
        whether it can be told.
    """
    height, width = size_hw
    size = targets.joints_2d.new_tensor([width, height])
    body = list(BODY_JOINTS)
    points = targets.joints_3d[:, body] - targets.transl[:, None]
    rays = (targets.joints_2d[:, body] - 0.5) * size / focal_length
    valid = targets.joints_3d_valid
    # ray * (s Z + 1) = s X + t is linear in s and t, one equation a joint and axis.
    s_column = rays * points[..., 2:] - points[..., :2]
    zero, one = torch.zeros_like(rays[..., 0]), torch.ones_like(rays[..., 0])
    x_rows = torch.stack([s_column[..., 0], -one, zero], -1)
    y_rows = torch.stack([s_column[..., 1], zero, -one], -1)
    rows = torch.cat([x_rows, y_rows], 1)
    right = -torch.cat([rays[..., 0], rays[..., 1]], 1)
    normal = rows.transpose(1, 2) @ rows + 1e-8 * torch.eye(3, device=rows.device)
    solution = torch.linalg.solve(normal, rows.transpose(1, 2) @ right[..., None])[..., 0]
    sensible = (solution[:, 0] > 0.01) & (solution[:, 0] < 2) & solution.isfinite().all(-1)
    return solution.nan_to_num(), (valid & sensible).float()
