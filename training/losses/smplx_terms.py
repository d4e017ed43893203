"""Losses on SMPL-X parameters and on the body they pose (training specification, section 4).

Terms are one number a person, not yet divided.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aios.body.model import BodyModel
from aios.geometry.rotations import axis_angle_to_rotmat, rotmat_to_axis_angle
from aios.network.outputs import SmplxOutput

from ..joints import PART_ROOTS, SCORED_JOINTS, index_tensor
from ..targets import BODY_KEYPOINTS
from .functions import points_l1, rotation_l1, vector_l1
from .matched import Matched
from .projection import point_distance

_PELVIS = PART_ROOTS["body"]


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


def pose_bodies(
    groups: list[Matched], body_model: BodyModel, shape_learns: bool = True
) -> list[Tensor]:
    """Joints of several groups by one call of the body model: (N, 144, 3) each, no translation.

    The model is always the neutral one, whoever is in the picture (specification section 6).

    Args:
        groups: matched people.
        body_model: poses them.
        shape_learns: the joints have a gradient by the predicted shape too.
    """
    parameters = [body_parameters(group.smplx, group.whole_body) for group in groups]
    joined = {name: torch.cat([p[name] for p in parameters]) for name in parameters[0]}
    if not shape_learns:
        joined["betas"] = joined["betas"].detach()
    return list(body_model.joints(joined).split([len(group.people) for group in groups]))


def parameter_terms(group: Matched) -> dict[str, Tensor]:
    """Distances of rotation matrices, shape and expression; (N,) each."""
    smplx, targets, masks = group.smplx, group.people, group.masks

    def pose(predicted: Tensor, axis_angle: Tensor, mask: Tensor) -> Tensor:
        return rotation_l1(predicted, axis_angle_to_rotmat(axis_angle.unflatten(-1, (-1, 3))), mask)

    body = masks["body_pose"]
    terms = {
        "root": pose(smplx.body_rotmat[:, :1], targets.global_orient, body[:, :1]),
        "body": pose(smplx.body_rotmat[:, 1:], targets.body_pose, body[:, 1:]),
        "betas": vector_l1(smplx.betas, targets.betas) * masks["betas"][:, 0],
    }
    if group.whole_body:
        for name in ("left_hand", "right_hand"):
            predicted, wanted = getattr(smplx, f"{name}_rotmat"), getattr(targets, f"{name}_pose")
            terms[f"{name}_pose"] = pose(predicted, wanted, masks[f"{name}_pose"])
        terms["jaw"] = pose(smplx.jaw_rotmat, targets.jaw_pose, masks["jaw_pose"])
        distance = vector_l1(smplx.expression, targets.expression)
        terms["expression"] = distance * masks["expression"][:, 0]
    return terms


def joint_3d_terms(group: Matched, joints_3d: Tensor, local: bool) -> dict[str, Tensor]:
    """Distances in metres, summed over the joints of a part; (N,) each.

    Args:
        group: matched people.
        joints_3d: (N, 144, 3) predicted.
        local: score each part from its own root too, not only from the pelvis.
    """
    terms, true_joints = {}, group.people.joints_3d
    for part in group.parts:
        index = index_tensor(SCORED_JOINTS[part], joints_3d.device)
        mask = group.masks[f"{part}_joints_3d"]
        predicted, wanted = joints_3d[:, index], true_joints[:, index]
        roots = {f"{part}_joints_3d": _PELVIS}
        if local:
            roots[f"{part}_joints_3d_local"] = PART_ROOTS[part]
        for name, root in roots.items():
            own, true = joints_3d[:, root, None], true_joints[:, root, None]
            terms[name] = points_l1(predicted - own, wanted - true, mask)
    return terms


def joint_2d_terms(group: Matched, projected: Tensor, in_box_units: bool) -> dict[str, Tensor]:
    """Distances of projected joints; (N,) each.

    Args:
        group: matched people.
        projected: (N, 144, 2), 0-1.
        in_box_units: mean over joints in sides of the person's box; else the sum in 0-1.
    """
    people, terms = group.people, {}
    for part in group.parts:
        index = index_tensor(SCORED_JOINTS[part], projected.device)
        predicted, wanted = projected[:, index], people.joints_2d[:, index]
        if part == "body":
            keypoints = projected[:, index_tensor(BODY_KEYPOINTS, projected.device)]
            predicted = torch.cat([predicted, keypoints], 1)
            wanted = torch.cat([wanted, people.keypoints_2d], 1)
        name = f"{part}_joints_2d"
        terms[name] = point_distance(
            predicted, wanted, group.masks[name], people.boxes, in_box_units
        )
    return terms
