"""Hand contacts: inverse kinematics of the arms within joint limits."""

from __future__ import annotations

import torch
from torch import Tensor

from .anatomy import COLUMN, angles_to_body_pose, shoulder_angles, within_limits
from .rng import constant
from .surface import BodySurface

CONTACT_POINTS: dict[str, tuple[tuple[float, float, float], float]] = {
    "": ((0.0, 0.0, 0.0), 0.0),
    "hip": ((0.17, -0.24, 0.0), 0.01),
    "pocket": ((0.19, -0.4, 0.03), -0.01),
    "belly": ((0.06, -0.2, 0.12), 0.02),
    "chest": ((-0.04, 0.04, 0.13), 0.02),
    "other_elbow": ((-0.33, 0.1, 0.06), 0.03),
    "other_shoulder": ((-0.15, 0.14, 0.03), 0.02),
    "chin": ((0.015, 0.245, 0.13), 0.025),
    "cheek": ((0.06, 0.29, 0.1), 0.02),
    "mouth": ((0.0, 0.27, 0.15), 0.06),
    "ear": ((0.084, 0.32, 0.04), 0.03),
    "brow": ((0.05, 0.37, 0.12), 0.02),
    "crown": ((0.05, 0.42, 0.04), 0.02),
    "nape": ((0.03, 0.23, -0.05), 0.02),
    "thigh": ((0.13, -0.55, 0.09), 0.02),
    "knee": ((0.14, -0.75, 0.08), 0.02),
    "grip": ((0.0, 0.0, 0.0), 0.0),
}
"""Contact points of a left hand: a point near the skin in the T-pose, and the distance of the palm
from the skin, metres. `grip` is the palm of the other hand."""
CONTACT_NUMBER = {name: number for number, name in enumerate(CONTACT_POINTS)}
PARTNER_CONTACTS = ("other_shoulder", "hip", "nape", "chest")
"""Contact points that are also used on other people."""
_PALM_M = 0.075  # from the wrist
_GRIP_GAP_M = 0.085  # between two hands on one handle
_ELBOW_BACK, _ELBOW_AHEAD = (0.75, -0.75, -0.5), (0.5, -1.0, 0.6)
_CHEST, _COLLARS, _SHOULDERS, _ELBOWS, _WRISTS = 9, (13, 14), (16, 17), (18, 19), (20, 21)


class ContactPoints:
    """Contact points on a body, tracked through its pose by their nearest vertices."""

    def __init__(self, body: BodySurface) -> None:
        """Find the nearest vertices."""
        points = torch.tensor([point for point, _ in CONTACT_POINTS.values()], device=body.device)
        sides = torch.stack([points, points * constant((-1.0, 1.0, 1.0), points.device)])
        gaps = torch.cdist(sides.flatten(0, 1), body.template)
        self._vertices = gaps.argmin(1)
        self._gap = torch.tensor([gap for _, gap in CONTACT_POINTS.values()], device=body.device)
        self._body = body

    def positions(
        self, world: Tensor, joints: Tensor, coefficients: Tensor, contact: Tensor, side: int
    ) -> Tensor:
        """Target position of a palm.

        Args:
            world: (N, 55, 3, 3) rotations relative to the T-pose.
            joints: (N, 55, 3) metres.
            coefficients: (N, 20).
            contact: (N,) index into `CONTACT_POINTS`.
            side: hand, 0 left, 1 right.

        Returns:
            (N, 3) metres, in the frame of `joints`.
        """
        body = self._body
        vertex = self._vertices[contact + side * len(CONTACT_POINTS)]
        directions = body.all_shapedirs.view(20, -1, 3)[:, vertex]  # (20, N, 3)
        point = body.template[vertex] + (coefficients.T[..., None] * directions).sum(0)
        point = point + self._gap[contact, None] * body.normals[vertex]
        rest = body.joint_template + torch.einsum("ps,sjc->pjc", coefficients, body.joint_dirs)
        turned = (world @ (point[:, None] - rest)[..., None])[..., 0] + joints
        return (body.weights[vertex][..., None] * turned).sum(1)


def full_pose(angles: Tensor, root: Tensor, hands: Tensor, jaw: Tensor) -> Tensor:
    """Angles (N, A), root (N, 3), hands (N, 30, 3), jaw (N, 3) -> pose (N, 55, 3) axis-angle."""
    eyes = torch.zeros_like(hands[:, :2])
    return torch.cat([root[:, None], angles_to_body_pose(angles), jaw[:, None], eyes, hands], 1)


def reach(
    angles: Tensor,
    world: Tensor,
    joints: Tensor,
    target: Tensor,
    side: int,
    swivel: Tensor,
) -> Tensor:
    """Bend one arm so that its palm reaches the target, as far as the joint limits allow.

    Args:
        angles: (N, A).
        world: (N, 55, 3, 3) rotations relative to the T-pose.
        joints: (N, 55, 3) metres, in the frame of the target.
        target: (N, 3) metres.
        side: 0 left, 1 right.
        swivel: (N,) rotation of the elbow about the shoulder-palm axis, radians.

    Returns:
        (N, A) angles.
    """
    shoulder, elbow = joints[:, _SHOULDERS[side]], joints[:, _ELBOWS[side]]
    upper = (elbow - shoulder).norm(dim=-1)
    lower = (joints[:, _WRISTS[side]] - elbow).norm(dim=-1) + _PALM_M
    mirror = constant((-1.0 if side else 1.0, 1.0, 1.0), angles.device)
    # All computed in the collar's frame, mirrored to the left arm.
    collar = world[:, _COLLARS[side]]
    goal = (collar.transpose(1, 2) @ (target - shoulder)[..., None])[..., 0] * mirror
    shortest = (upper**2 + lower**2 + 2 * upper * lower * -0.78).sqrt()  # elbow at 2.46
    distance = goal.norm(dim=-1).clamp_min(1e-4)
    reached = torch.minimum(torch.maximum(distance, shortest), 0.999 * (upper + lower))
    bend = ((reached**2 - upper**2 - lower**2) / (2 * upper * lower)).clamp(-1, 1).acos()
    along = goal / distance[:, None]
    # The elbow points outwards and back, or forwards if the palm is at the chest or the face.
    ahead = (goal[:, 2] > 0.0) & ((goal[:, 1] > 0.02) | (goal[:, 0] < -0.15))
    hint = torch.where(
        ahead[:, None], constant(_ELBOW_AHEAD, goal.device), constant(_ELBOW_BACK, goal.device)
    )
    hint = (collar.transpose(1, 2) @ world[:, _CHEST] @ (hint * mirror)[..., None])[..., 0] * mirror
    across = torch.nn.functional.normalize(
        hint - (hint * along).sum(-1, keepdim=True) * along, dim=-1
    )
    third = torch.linalg.cross(along, across)
    across = across * swivel.cos()[:, None] + third * swivel.sin()[:, None]
    share = ((upper**2 + reached**2 - lower**2) / (2 * upper * reached)).clamp(-1, 1)
    arm = share[:, None] * along + (1 - share**2).sqrt()[:, None] * across
    # Elbow flexion rotates x towards z.
    front = torch.nn.functional.normalize(along - (along * arm).sum(-1, keepdim=True) * arm, dim=-1)
    rotation = torch.stack([arm, torch.linalg.cross(front, arm), front], -1)
    names = ("shoulder_flex", "shoulder_out", "shoulder_twist", "elbow", "wrist_flex", "wrist_side")
    numbers = tuple(COLUMN[f"{'lr'[side]}_{name}"] for name in names)
    columns = constant(numbers, angles.device, torch.int64)
    wrist = 0.4 * angles[:, columns[4:]]
    found = torch.cat([shoulder_angles(rotation), bend[:, None], wrist], 1)
    moved = angles.index_copy(1, columns, found)
    return within_limits(moved)


def touch(
    body: BodySurface,
    contact_points: ContactPoints,
    pose: Tensor,
    coefficients: Tensor,
    angles: Tensor,
    wanted: Tensor,
    swivel: Tensor,
) -> Tensor:
    """Move both palms to contact points.

    Args:
        body: the body.
        contact_points: its contact points.
        pose: (N, 55, 3) axis-angle that matches `angles`, with any root rotation.
        coefficients: (N, 20) shape and expression.
        angles: (N, A).
        wanted: (N, 2) index into `CONTACT_POINTS` for left and right palm, 0 for none.
        swivel: (N, 2) radians, see `reach`.

    Returns:
        (N, A) angles.
    """
    grip = CONTACT_NUMBER["grip"]
    for side in (0, 1):
        _, world, joints = body.pose_joints(pose, coefficients)
        target = contact_points.positions(world, joints, coefficients, wanted[:, side], side)
        held = palm(world, joints, 1 - side) - world[:, _WRISTS[1 - side], :, 2] * _GRIP_GAP_M
        target = torch.where((wanted[:, side] == grip)[:, None], held, target)
        bent = reach(angles, world, joints, target, side, swivel[:, side])
        angles = torch.where((wanted[:, side] > 0)[:, None], bent, angles)
        pose = torch.cat([pose[:, :1], angles_to_body_pose(angles), pose[:, 22:]], 1)
    return angles


def palm(world: Tensor, joints: Tensor, side: int) -> Tensor:
    """(N, 3) centre of a palm."""
    wrist = _WRISTS[side]
    out = world[:, wrist, :, 0] * (-_PALM_M if side else _PALM_M)
    return joints[:, wrist] + out - 0.02 * world[:, wrist, :, 1]
