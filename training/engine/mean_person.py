"""Initialisation for training from random weights: predict a standing person at every query.

It sets biases and tensors that would start at zero, and draws convolutions for ReLU.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aios.network.model import AiOS

ROOT_ROTATION = (1.0, -1.0, -1.0)
"""Diagonal: the body's y axis points up, the camera's down."""
LOWERED_ARM_RAD = 1.0
_LEFT_SHOULDER, _RIGHT_SHOULDER = 16, 17
CAMERA_SCALE = 0.12
"""A person of 1.7 m then fills two thirds of the short side at the built-in focal length."""
MEAN_KEYPOINTS = (
    *((0.0, -0.43), (0.02, -0.45), (-0.02, -0.45), (0.05, -0.44), (-0.05, -0.44)),
    *((0.16, -0.32), (-0.16, -0.32), (0.24, -0.15), (-0.24, -0.15), (0.25, 0.0), (-0.25, 0.0)),
    *((0.1, 0.03), (-0.1, 0.03), (0.11, 0.24), (-0.11, 0.24), (0.12, 0.43), (-0.12, 0.43)),
)
"""17 body keypoints of a person facing the camera: offset from the box centre in box sizes."""
MEAN_FACE_CENTRE = (0.0, -0.42)
_TYPICAL_BOX = (0.5, 0.5, 0.28, 0.6)
_FIT_STEPS = 200
_JOINT_SIZE_LOGIT = -1.0
_PART_SIZE_LOGIT = -1.6


@torch.no_grad()
def _set_poses(model: AiOS) -> None:
    """Set the biases of the SMPL-X heads: upright root, lowered arms, camera distance."""
    sine, cosine = torch.tensor(LOWERED_ARM_RAD).sin(), torch.tensor(LOWERED_ARM_RAD).cos()
    for index in range(len(model.decoder.layers)):
        smplx = model.decoder.heads.layer(index).smplx
        if smplx is None:
            continue
        # 22 joints, each a row-major 3x2 matrix whose columns are the first two axes.
        pose = smplx.body_pose.last.bias.view(22, 3, 2)
        pose[0] = torch.diag(torch.tensor(ROOT_ROTATION))[:, :2]
        for joint, sign in ((_LEFT_SHOULDER, -1), (_RIGHT_SHOULDER, 1)):
            pose[joint, :2, 0] = torch.stack([cosine, sign * sine])
            pose[joint, :2, 1] = torch.stack([-sign * sine, cosine])
        smplx.weak_camera.last.bias.copy_(torch.tensor([CAMERA_SCALE, 0.0, 0.0]))


def _fit_centres(head: nn.Module, table: Tensor, centres: Tensor) -> None:
    """Fit a head that predicts centres of child tokens, by a few steps of Adam.

    Args:
        head: takes the content of the parent token plus a row of `table`.
        table: (K, D) content embedding of each child token.
        centres: (K, 2) logit offsets to predict for every parent.
    """
    generator = torch.Generator().manual_seed(0)
    rows = table.detach()
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-3)
    for _ in range(_FIT_STEPS):
        parents = torch.randn(16, 1, rows.shape[1], generator=generator)
        loss = (head(parents + rows) - centres).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    optimizer.zero_grad()


def _logit_offsets(points: tuple[tuple[float, float], ...]) -> Tensor:
    """Offsets in box sizes -> offsets in logits, for a box of typical position and size."""
    centre, size = torch.tensor(_TYPICAL_BOX).view(2, 2)
    points_norm = (centre + torch.tensor(points) * size).clamp(0.02, 0.98)
    return torch.logit(points_norm) - torch.logit(centre)


def initialise_mean_person(model: AiOS) -> AiOS:
    """Initialise a freshly built network in place.

    Convolutions are drawn for ReLU (fan-out); poses, keypoints and camera predict a mean person.
    """
    for module in model.backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    _set_poses(model)
    body = model.decoder.body_expansion
    if body.has_joints:
        _fit_centres(body.joint_centre, body.joints.content, _logit_offsets(MEAN_KEYPOINTS))
        with torch.no_grad():
            body.joints.size_logits.fill_(_JOINT_SIZE_LOGIT)
    hands = torch.cat([body.left_hand.content, body.right_hand.content])
    _fit_centres(body.hand_box_centre, hands, _logit_offsets(((0.25, 0.0), (-0.25, 0.0))))
    _fit_centres(body.face_box_centre, body.face.content, _logit_offsets((MEAN_FACE_CENTRE,)))
    with torch.no_grad():
        for part in (body.left_hand, body.right_hand, body.face):
            part.size_logits.fill_(_PART_SIZE_LOGIT)
    return model
