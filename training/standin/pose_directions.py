"""Pose corrections that keep skinned joints from collapsing, in closed form.

Linear blend skinning moves a vertex by M = (1 - w) I + w R, where R is the rotation of a joint and
w the share of the vertex that hangs on it.  M is a rotation times a stretch S with
S^2 = I + w (1 - w) (R + R^T - 2 I): limbs grow thin where they twist and bend.  To first order
S = I + w (1 - w) (sym(R) - I), which is linear in R, as the pose directions of the SMPL-X layout
are: taking it off the rest pose gives most of the volume back and never overshoots.
"""

from __future__ import annotations

import numpy as np

from .smplx_joints import PARENTS, descendants

_SMALLEST = 2e-4
"""Metres for a quarter turn; less than that is left out, which keeps the file small."""
_STEP = 2.0**-15
"""Metres that displacements are rounded to, for the same reason."""


def pose_directions(template: np.ndarray, joints: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(V, 3, 486) metres for each element of R - I, joints 1 to 54, row by row.

    Args:
        template: (V, 3) metres.
        joints: (55, 3) metres.
        weights: (V, 55) skinning weights.
    """
    num_joints = len(PARENTS)
    directions = np.zeros((len(template), 3, num_joints - 1, 3, 3))
    for joint in range(1, num_joints):
        share = weights[:, descendants(joint)].sum(1)
        lever = (share * (1 - share))[:, None] * (template - joints[joint])
        lever[np.linalg.norm(lever, axis=1) < _SMALLEST] = 0
        for row in range(3):
            directions[:, row, joint - 1, row] -= lever / 2
            directions[:, row, joint - 1, :, row] -= lever / 2
    return np.round(directions.reshape(len(template), 3, -1) / _STEP) * _STEP
