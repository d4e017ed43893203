"""Projection through the predicted weak-perspective camera, and the camera's training target."""

from __future__ import annotations

import torch
from torch import Tensor

from aios.geometry.constants import index_tensor

from ..joints import BODY_JOINTS
from ..targets import Targets

_MIN_DEPTH_M = 0.3
_MIN_SCALED_DEPTH = 1e-3
_MIN_FITTED_SCALE, _MAX_FITTED_SCALE = 0.01, 2.0


def project_joints(
    joints_3d: Tensor,
    weak_camera: Tensor,
    focal_length: float,
    sizes_hw: Tensor,
    min_scale: float | None,
) -> Tensor:
    """Project joints without translation through the predicted camera.

    The translation (tx / s, ty / s, 1 / s) is multiplied out by s, which keeps everything finite
    where an untrained network predicts s = 0.  No joint is nearer to the camera than 0.3 m.

    Args:
        joints_3d: (N, J, 3) metres.
        weak_camera: (N, 3) s, tx, ty.
        focal_length: pixels of the network's input.
        sizes_hw: (N, 2) pixels of each person's un-padded image.
        min_scale: lower bound of s; None for no bound.

    Returns:
        (N, J, 2) 0-1 of the un-padded image.
    """
    scale = weak_camera[:, None, :1]
    if min_scale is not None:
        scale = scale.clamp(min=min_scale)
    min_depth = (scale * _MIN_DEPTH_M).clamp(min=_MIN_SCALED_DEPTH)
    depth = torch.maximum(scale * joints_3d[..., 2:] + 1, min_depth)
    plane = (scale * joints_3d[..., :2] + weak_camera[:, None, 1:]) / depth
    return plane * focal_length / sizes_hw.flip(-1)[:, None] + 0.5


@torch.no_grad()
def fit_weak_camera(
    targets: Targets, focal_length: float, sizes_hw: Tensor
) -> tuple[Tensor, Tensor]:
    """Least-squares camera that projects the annotated 3D joints onto the annotated 2D joints.

    Training crops and scales images, so the camera that took an image is not the network's; this
    is the prediction that fits the network's camera.

    Args:
        targets: N people.
        focal_length: pixels of the network's camera.
        sizes_hw: (N, 2) pixels of each person's un-padded image.

    Returns:
        (N, 3) s, tx, ty for joints of the body model without translation, and (N,) 1 where the
        fit is usable, else 0.
    """
    body = index_tensor(BODY_JOINTS, targets.joints_3d.device)
    points = targets.joints_3d[:, body] - targets.transl[:, None]
    rays = (targets.joints_2d[:, body] - 0.5) * sizes_hw.flip(-1)[:, None] / focal_length
    # ray * (s Z + 1) = s X + t is linear in s and t: one equation per joint and axis.
    s_column = rays * points[..., 2:] - points[..., :2]
    zero, one = torch.zeros_like(rays[..., 0]), torch.ones_like(rays[..., 0])
    x_rows = torch.stack([s_column[..., 0], -one, zero], -1)
    y_rows = torch.stack([s_column[..., 1], zero, -one], -1)
    rows = torch.cat([x_rows, y_rows], 1)
    right = -torch.cat([rays[..., 0], rays[..., 1]], 1)
    normal = rows.transpose(1, 2) @ rows + 1e-8 * torch.eye(3, device=rows.device)
    camera = torch.linalg.solve(normal, rows.transpose(1, 2) @ right[..., None])[..., 0]
    in_range = (camera[:, 0] > _MIN_FITTED_SCALE) & (camera[:, 0] < _MAX_FITTED_SCALE)
    usable = targets.joints_3d_valid & in_range & camera.isfinite().all(-1)
    return camera.nan_to_num(), usable.float()
