"""Closed-form pose directions that compensate for the volume loss of linear blend skinning.

Linear blend skinning moves a vertex by M = (1 - w) I + w R, where R is the rotation of a joint and
w the total weight of the joint and its descendants. M is a rotation times a stretch S with
S^2 = I + w (1 - w) (R + R^T - 2 I): limbs become thinner where they twist and bend. To first order
S = I + w (1 - w) (sym(R) - I), which is linear in R, like the pose directions of the SMPL-X layout.
Subtracting the stretch from the rest pose restores most of the volume and never overshoots.
"""

from __future__ import annotations

import numpy as np

from .smplx_joints import PARENTS, descendants

_SMALLEST = 2e-4
"""Displacements below this at a rotation of 90 degrees, metres, are dropped to reduce the file."""
_STEP = 2.0**-15
"""Displacements are rounded to multiples of this, metres, to reduce the file."""


def pose_directions(template: np.ndarray, joints: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pose directions (V, 3, 486): metres per element of R - I, joints 1 to 54, row-major.

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
