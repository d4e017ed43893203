"""The mean hand pose, to which hand poses are relative, and an orthonormal basis of hand poses.

Arms lie along the x axis with the palms down. Fingers flex about z, towards the palm by negative
angles on the left and by positive angles on the right.
"""

from __future__ import annotations

import numpy as np

_RELAXED = {
    "index": (0.25, 0.45, 0.2),
    "middle": (0.3, 0.5, 0.25),
    "pinky": (0.4, 0.5, 0.3),
    "ring": (0.35, 0.5, 0.25),
}
"""Flexion of the three knuckles in radians; a relaxed hand curls, the little finger most."""
_RELAXED_THUMB = (0.0, 0.15, 0.2)


def relaxed_hand(side: float) -> np.ndarray:
    """Pose (45,) of a relaxed hand, axis-angle.

    Args:
        side: 1 for the left hand, -1 for the right.
    """
    pose = np.zeros((15, 3))
    pose[:12, 2] = -side * np.concatenate(list(_RELAXED.values()))
    pose[12:, 1] = side * np.array(_RELAXED_THUMB)
    return pose.reshape(45)


def hand_components(side: float) -> np.ndarray:
    """(45, 45) orthonormal rows: fist, four fingers, thumb, then the orthogonal complement."""
    curls = np.zeros((6, 15, 3))
    curls[0, :12, 2] = -side
    for finger in range(4):
        curls[1 + finger, 3 * finger : 3 * finger + 3, 2] = -side
    curls[5, 12:, 1] = side
    basis, _ = np.linalg.qr(np.concatenate([curls.reshape(6, 45).T, np.eye(45)], 1))
    components = basis[:, :45].T
    return components * np.sign(components[0] @ curls[0].reshape(45))
