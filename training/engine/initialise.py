"""Where a network that starts from nothing should start: a person standing in the middle.

Only biases and parts that begin at zero are touched; the network's own start (`aios`) stays as the
paper has it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aios.network.model import AiOS

ROOT_ROTATION = (1.0, -1.0, -1.0)
"""Diagonal: the body's y points up, the picture's down."""
LOWERED_ARM_RAD = 1.0
_LEFT_SHOULDER, _RIGHT_SHOULDER = 16, 17
CAMERA_SCALE = 0.12
"""A person of 1.7 m fills two thirds of the short side under the built-in focal length."""
MEAN_KEYPOINTS = (
    *((0.0, -0.43), (0.02, -0.45), (-0.02, -0.45), (0.05, -0.44), (-0.05, -0.44)),
    *((0.16, -0.32), (-0.16, -0.32), (0.24, -0.15), (-0.24, -0.15), (0.25, 0.0), (-0.25, 0.0)),
    *((0.1, 0.03), (-0.1, 0.03), (0.11, 0.24), (-0.11, 0.24), (0.12, 0.43), (-0.12, 0.43)),
)
"""17 body keypoints of a person who stands facing the camera, in box sizes from its middle."""
MEAN_FACE_CENTRE = (0.0, -0.42)
_USUAL_BOX = (0.5, 0.5, 0.28, 0.6)
_FIT_STEPS = 200
_JOINT_SIZE_LOGIT = -1.0
_PART_SIZE_LOGIT = -1.6


@torch.no_grad()
def _set_poses(model: AiOS) -> None:
    """Root upright before the camera, arms lowered, a sensible distance."""
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


def _fit_centres(head: nn.Module, table: Tensor, wanted: Tensor) -> None:
    """Teach a centre head to answer `wanted` (K, 2) for contents near each row of `table`.

    The head sees the parent's content plus the row; the parents are random here.
    """
    generator = torch.Generator().manual_seed(0)
    rows = table.detach()
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-3)
    for _ in range(_FIT_STEPS):
        parents = torch.randn(16, 1, rows.shape[1], generator=generator)
        loss = (head(parents + rows) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    optimizer.zero_grad()


def _logit_offsets(points: tuple[tuple[float, float], ...]) -> Tensor:
    """Offsets in box sizes -> offsets in logits for a box of usual place and size."""
    centre, size = torch.tensor(_USUAL_BOX).view(2, 2)
    place = (centre + torch.tensor(points) * size).clamp(0.02, 0.98)
    return torch.logit(place) - torch.logit(centre)


def initialise(model: AiOS) -> AiOS:
    """Set the starting point, in place; call right after building.

    Convolutions are drawn for ReLU (fan-out); poses, keypoints and camera start at a mean person.
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
