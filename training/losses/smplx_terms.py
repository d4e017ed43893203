"""Loss terms on SMPL-X parameters and on the bodies they pose, (N,) each, before weighting."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from aios.body.model import BodyModel
from aios.geometry.constants import index_tensor
from aios.geometry.rotations import axis_angle_to_rotmat, rotmat_to_axis_angle
from aios.network.outputs import SmplxOutput

from ..joints import PART_ROOTS, SCORED_JOINTS
from ..targets import BODY_KEYPOINTS
from .l1_losses import image_points_l1, points_l1, rotation_l1, vector_l1
from .matched_people import MatchedPeople

_PELVIS = PART_ROOTS["body"]


def pose_bodies(
    groups: Sequence[MatchedPeople], body_model: BodyModel, train_shape: bool = True
) -> list[Tensor]:
    """Joints of several groups by one call of the body model: (N, 144, 3) each, no translation.

    Args:
        groups: matched people with SMPL-X parameters.
        body_model: neutral model, whatever the person's gender.
        train_shape: give the joints a gradient with respect to the shape.
    """
    parameters = [body_parameters(group.smplx, group.whole_body) for group in groups]
    together = {name: torch.cat([p[name] for p in parameters]) for name in parameters[0]}
    if not train_shape:
        together["betas"] = together["betas"].detach()
    return list(body_model.joints(together).split([len(group.people) for group in groups]))


def body_parameters(smplx: SmplxOutput, whole_body: bool) -> dict[str, Tensor]:
    """Axis-angle parameters of N people, without translation.

    Args:
        smplx: fields (N, ...).
        whole_body: False replaces hands and expression by zeros: mean hands, neutral face.
    """
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


def parameter_terms(matched: MatchedPeople) -> dict[str, Tensor]:
    """L1 of rotation matrices, shape and expression."""
    smplx, people, masks = matched.smplx, matched.people, matched.masks

    def pose_term(rotmat: Tensor, axis_angle: Tensor, mask: Tensor) -> Tensor:
        annotated = axis_angle_to_rotmat(axis_angle.unflatten(-1, (-1, 3)))
        return rotation_l1(rotmat, annotated, mask)

    body = masks["body_pose"]
    terms = {
        "root": pose_term(smplx.body_rotmat[:, :1], people.global_orient, body[:, :1]),
        "body": pose_term(smplx.body_rotmat[:, 1:], people.body_pose, body[:, 1:]),
        "betas": vector_l1(smplx.betas, people.betas) * masks["betas"][:, 0],
    }
    if matched.whole_body:
        for hand in ("left_hand", "right_hand"):
            rotmat, axis_angle = getattr(smplx, f"{hand}_rotmat"), getattr(people, f"{hand}_pose")
            terms[f"{hand}_pose"] = pose_term(rotmat, axis_angle, masks[f"{hand}_pose"])
        terms["jaw"] = pose_term(smplx.jaw_rotmat, people.jaw_pose, masks["jaw_pose"])
        distance = vector_l1(smplx.expression, people.expression)
        terms["expression"] = distance * masks["expression"][:, 0]
    return terms


def joint_3d_terms(matched: MatchedPeople, joints_3d: Tensor, local: bool) -> dict[str, Tensor]:
    """Pelvis-aligned L1 of 3D joints in metres, summed over the joints of a part.

    Args:
        matched: N people.
        joints_3d: (N, 144, 3) predicted.
        local: also align each part at its own root.
    """
    terms, annotated_joints = {}, matched.people.joints_3d
    for part in matched.scored_parts:
        index = index_tensor(SCORED_JOINTS[part], joints_3d.device)
        mask = matched.masks[f"{part}_joints_3d"]
        predicted, annotated = joints_3d[:, index], annotated_joints[:, index]
        roots = {f"{part}_joints_3d": _PELVIS}
        if local:
            roots[f"{part}_joints_3d_local"] = PART_ROOTS[part]
        for name, root in roots.items():
            aligned = predicted - joints_3d[:, root, None]
            terms[name] = points_l1(aligned, annotated - annotated_joints[:, root, None], mask)
    return terms


def joint_2d_terms(
    matched: MatchedPeople, projected: Tensor, in_box_units: bool
) -> dict[str, Tensor]:
    """L1 of projected joints.

    Args:
        matched: N people.
        projected: (N, 144, 2) 0-1 of the un-padded image.
        in_box_units: see `image_points_l1`.
    """
    people, terms = matched.people, {}
    for part in matched.scored_parts:
        index = index_tensor(SCORED_JOINTS[part], projected.device)
        predicted, annotated = projected[:, index], people.joints_2d[:, index]
        if part == "body":
            keypoints = projected[:, index_tensor(BODY_KEYPOINTS, projected.device)]
            predicted = torch.cat([predicted, keypoints], 1)
            annotated = torch.cat([annotated, people.keypoints_2d], 1)
        name = f"{part}_joints_2d"
        terms[name] = image_points_l1(
            predicted, annotated, matched.masks[name], people.boxes, in_box_units
        )
    return terms
