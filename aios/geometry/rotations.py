"""Conversions between 6D rotations, rotation matrices, quaternions and axis-angle vectors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_NORM_EPS = 1e-12
_SMALL_ANGLE = 1e-6


def rotation_6d_to_rotmat(rotation_6d: Tensor) -> Tensor:
    """6D rotation -> rotation matrix by Gram-Schmidt (Zhou et al., CVPR 2019).

    Args:
        rotation_6d: (..., 6), the first two columns of the matrix as a row-major 3x2 matrix.

    Returns:
        (..., 3, 3); six zeros give the zero matrix, as in the released network.
    """
    pairs = rotation_6d.unflatten(-1, (3, 2))
    first, second = pairs.unbind(-1)
    b1 = F.normalize(first, dim=-1, eps=_NORM_EPS)
    b2 = F.normalize(second - (b1 * second).sum(-1, keepdim=True) * b1, dim=-1, eps=_NORM_EPS)
    b3 = torch.cross(b1, b2, dim=-1)
    return torch.stack([b1, b2, b3], -1)


def rotmat_to_quaternion(rotmat: Tensor) -> Tensor:
    """Rotation matrix -> unit quaternion w, x, y, z.

    Args:
        rotmat: (..., 3, 3).

    Returns:
        (..., 4).  The largest component is positive, so w may be negative; the released network
        uses the same convention.
    """
    m = rotmat.flatten(-2)
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = m.unbind(-1)
    squares = torch.stack(
        [
            1 + m00 + m11 + m22,
            1 + m00 - m11 - m22,
            1 - m00 + m11 - m22,
            1 - m00 - m11 + m22,
        ],
        -1,
    )
    xy, xz, yz = m10 + m01, m20 + m02, m21 + m12
    wx, wy, wz = m21 - m12, m02 - m20, m10 - m01
    rows = torch.stack(
        [
            torch.stack([squares[..., 0], wx, wy, wz], -1),
            torch.stack([wx, squares[..., 1], xy, xz], -1),
            torch.stack([wy, xy, squares[..., 2], yz], -1),
            torch.stack([wz, xz, yz, squares[..., 3]], -1),
        ],
        -2,
    )
    largest = squares.argmax(-1, keepdim=True)
    row = rows.gather(-2, largest[..., None].expand(*largest.shape, 4)).squeeze(-2)
    # At least 1 for a rotation matrix; the clamp is for the zero matrix.
    size = squares.gather(-1, largest).clamp(min=0.01).sqrt()
    return row / (2 * size)


def quaternion_to_axis_angle(quaternion: Tensor) -> Tensor:
    """Unit quaternion w, x, y, z -> axis-angle with the angle in [0, 2 pi).

    Args:
        quaternion: (..., 4).

    Returns:
        (..., 3) radians.
    """
    vector = quaternion[..., 1:]
    squared = (vector * vector).sum(-1, keepdim=True)
    tiny = squared < _SMALL_ANGLE**2 / 4
    # `where` before the square root keeps the gradient finite at the identity.
    norm = torch.where(tiny, torch.ones_like(squared), squared).sqrt()
    angle = 2 * torch.atan2(norm, quaternion[..., :1])
    scale = torch.where(tiny, torch.full_like(angle, 2.0), angle / norm)
    return vector * scale


def rotmat_to_axis_angle(rotmat: Tensor) -> Tensor:
    """Rotation matrix (..., 3, 3) -> axis-angle (..., 3) in radians, angle in [0, 2 pi).

    Angles above pi are not reduced, as in the released network: hand poses are added to the mean
    hand as vectors, so a vector and its 2 pi complement are different finger poses.
    """
    return quaternion_to_axis_angle(rotmat_to_quaternion(rotmat))


def axis_angle_to_rotmat(axis_angle: Tensor) -> Tensor:
    """Axis-angle (..., 3) in radians -> rotation matrix (..., 3, 3), by Rodrigues' formula."""
    squared = (axis_angle * axis_angle).sum(-1, keepdim=True)
    tiny = squared < _SMALL_ANGLE**2
    angle = torch.where(tiny, torch.ones_like(squared), squared).sqrt()
    sine = torch.where(tiny, torch.ones_like(angle), torch.sin(angle) / angle)[..., None]
    cosine = torch.where(tiny, torch.full_like(angle, 0.5), (1 - torch.cos(angle)) / angle**2)
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    eye = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    return eye + sine * cross + cosine[..., None] * (cross @ cross)
