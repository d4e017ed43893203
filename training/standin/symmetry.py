"""Removes rounding differences between the sides of a symmetric body."""

from __future__ import annotations

import numpy as np

from .shape_space import ShapeSpace
from .smplx_joints import MIRRORED_JOINTS

FLIP = np.array([-1.0, 1.0, 1.0])


def symmetrised(space: ShapeSpace, mirror: np.ndarray) -> ShapeSpace:
    """A copy of the space whose arrays equal their mirror images exactly."""

    def vertices(array: np.ndarray) -> np.ndarray:
        return _mean_of_both(array, mirror)

    def joints(array: np.ndarray) -> np.ndarray:
        return _mean_of_both(array, MIRRORED_JOINTS)

    return ShapeSpace(
        template=vertices(space.template),
        joints=joints(space.joints),
        shape_directions=vertices(space.shape_directions),
        joint_directions=joints(space.joint_directions),
        expression_directions=vertices(space.expression_directions),
        explained=space.explained,
    )


def _mean_of_both(array: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Average an array (M, 3) or (M, 3, C) with its mirror image."""
    flip = FLIP.reshape(1, 3, *[1] * (array.ndim - 2))
    return (array + flip * array[mirror]) / 2
