"""Unit quaternions w, x, y, z in numpy: what smoothing and animation need of rotations."""

from __future__ import annotations

import numpy as np

_TINY = 1e-12


def axis_angle_to_quaternion(axis_angle: np.ndarray) -> np.ndarray:
    """(..., 3) radians of any length -> (..., 4) float64, w, x, y, z."""
    vector = np.asarray(axis_angle, np.float64)
    half = np.linalg.norm(vector, axis=-1, keepdims=True) / 2
    # sinc keeps the limit at no rotation: sin(half) / angle = sinc(half / pi) / 2.
    return np.concatenate([np.cos(half), vector * (np.sinc(half / np.pi) / 2)], -1)


def quaternion_to_axis_angle(quaternion: np.ndarray) -> np.ndarray:
    """(..., 4) -> (..., 3) radians, of all vectors for this rotation the one of at most pi."""
    signed = np.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    sine = np.linalg.norm(signed[..., 1:], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, signed[..., :1])
    scale = np.where(sine < _TINY, 2.0, angle / np.maximum(sine, _TINY))
    return signed[..., 1:] * scale


def multiply(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The rotation that turns by `second` and then by `first`; shapes (..., 4) broadcast."""
    w1, x1, y1, z1 = np.moveaxis(np.asarray(first), -1, 0)
    w2, x2, y2, z2 = np.moveaxis(np.asarray(second), -1, 0)
    return np.stack(
        [
            w1 * w2 - x1 * x2 - y1 * y2 - z1 * z2,
            w1 * x2 + x1 * w2 + y1 * z2 - z1 * y2,
            w1 * y2 - x1 * z2 + y1 * w2 + z1 * x2,
            w1 * z2 + x1 * y2 - y1 * x2 + z1 * w2,
        ],
        -1,
    )


def conjugate(quaternion: np.ndarray) -> np.ndarray:
    """The rotation back."""
    return quaternion * np.array([1.0, -1.0, -1.0, -1.0])


def slerp(start: np.ndarray, end: np.ndarray, share: np.ndarray | float) -> np.ndarray:
    """`share` (0-1, broadcast) of the shorter way from `start` to `end`, (..., 4)."""
    turn = quaternion_to_axis_angle(multiply(conjugate(start), end))
    return multiply(start, axis_angle_to_quaternion(turn * share))


def continuous(quaternions: np.ndarray, before: np.ndarray | None = None) -> np.ndarray:
    """The same rotations (T, ..., 4) with signs chosen so that neighbours in time are near.

    Args:
        quaternions: T moments.
        before: (..., 4), the moment before the first.
    """
    follows = np.ones_like(quaternions[..., 0])
    follows[1:] = np.sign((quaternions[1:] * quaternions[:-1]).sum(-1))
    if before is not None and len(quaternions):
        follows[0] = np.sign((quaternions[0] * before).sum(-1))
    follows[follows == 0] = 1.0
    return quaternions * np.cumprod(follows, 0)[..., None]


def quaternion_to_rotmat(quaternion: np.ndarray) -> np.ndarray:
    """(..., 4) -> (..., 3, 3)."""
    w, x, y, z = np.moveaxis(quaternion, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)
