"""The predicted camera, the one it should have been, and distances between 2D points."""

from __future__ import annotations

import torch
from torch import Tensor

from ..joints import BODY_JOINTS, index_tensor
from ..targets import Targets
from .functions import points_l1

_NEAREST_M = 0.3
_NEAREST_SHARE = 1e-3
_MOST_BOX_SIDES = 1.0


def project_joints(
    joints_3d: Tensor,
    weak_camera: Tensor,
    focal_length: float,
    sizes_hw: Tensor,
    least_scale: float | None,
) -> Tensor:
    """Joints without translation through the predicted camera.

    The translation (tx / s, ty / s, 1 / s) is never formed: times s everything stays finite where
    an untrained network says s = 0.  Nothing comes nearer to the camera than 0.3 m.

    Args:
        joints_3d: (N, J, 3) metres.
        weak_camera: (N, 3) s, tx, ty.
        focal_length: pixels of the network's input.
        sizes_hw: (N, 2) pixels of each person's picture without padding.
        least_scale: s is raised to this, None leaves it alone.

    Returns:
        (N, J, 2) 0-1 of the picture.
    """
    scale = weak_camera[:, None, :1]
    if least_scale is not None:
        scale = scale.clamp(min=least_scale)
    nearest = (scale * _NEAREST_M).clamp(min=_NEAREST_SHARE)
    depth = torch.maximum(scale * joints_3d[..., 2:] + 1, nearest)
    plane = (scale * joints_3d[..., :2] + weak_camera[:, None, 1:]) / depth
    return plane * focal_length / sizes_hw.flip(-1)[:, None] + 0.5


@torch.no_grad()
def fit_weak_camera(
    targets: Targets, focal_length: float, sizes_hw: Tensor
) -> tuple[Tensor, Tensor]:
    """The network's camera that sees the annotated joints where they are, by least squares.

    Pictures are cropped and scaled in training, so the camera that made them is not the network's;
    the answer says what the network should have said.

    Args:
        targets: N people.
        focal_length: pixels of the network's camera.
        sizes_hw: (N, 2) pixels of each person's picture without padding.

    Returns:
        (N, 3) s, tx, ty for joints around the *pelvis* of the posed body, and (N,) 0 or 1 for
        whether it can be told.
    """
    body = index_tensor(BODY_JOINTS, targets.joints_3d.device)
    points = targets.joints_3d[:, body] - targets.transl[:, None]
    rays = (targets.joints_2d[:, body] - 0.5) * sizes_hw.flip(-1)[:, None] / focal_length
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


def point_distance(
    predicted: Tensor, wanted: Tensor, mask: Tensor, boxes: Tensor, in_box_units: bool
) -> Tensor:
    """|dx| + |dy| of 2D points under a mask: (N, K, 2) twice, (N, K), (N, 4) -> (N,).

    In box units the distance is measured in longest sides of the box, bounded, and averaged.
    """
    if not in_box_units:
        return points_l1(predicted, wanted, mask)
    gap = (predicted - wanted).abs().sum(-1)
    side = boxes[:, 2:].max(-1).values.clamp(min=0.02)
    gap = bounded(gap / side[:, None], _MOST_BOX_SIDES)
    return (gap * mask).sum(-1) / mask.sum(-1).clamp(min=1.0)


def bounded(distance: Tensor, limit: float) -> Tensor:
    """The distance up to `limit`, a logarithm beyond it: a far miss must not drown the rest."""
    beyond = limit * (1 + torch.log(distance.clamp(min=limit) / limit))
    return torch.where(distance > limit, beyond, distance)
