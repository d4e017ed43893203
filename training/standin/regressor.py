"""Joint regressor: joints as weighted sums of vertices."""

from __future__ import annotations

import numpy as np

from .shape_space import ShapeSpace
from .smplx_joints import JOINTS, MIRRORED_JOINTS

_NUM_NEAREST = 900
_WIDTH_RANK = 150
_DIRECTION_SCALE = 5.0
_RIDGE = 3e-9


def joint_regressor(space: ShapeSpace, mirror: np.ndarray) -> np.ndarray:
    """Fit a joint regressor (55, V) with rows that sum to 1, for rest poses only.

    Each row is the minimum-norm solution, weighted towards nearby vertices, that reproduces the
    joint of the template and of every shape component and is invariant to expressions. Weights can
    be negative, so the regressor must not be applied to posed vertices.

    Args:
        space: of the decimated mesh, V vertices.
        mirror: (V,) mirrored vertex.
    """
    rows = np.zeros((len(JOINTS), len(space.template)))
    for joint in range(len(JOINTS)):
        partner = int(MIRRORED_JOINTS[joint])
        if partner < joint:
            rows[joint] = rows[partner][mirror]
            continue
        row = _row(space, joint)
        rows[joint] = (row + row[mirror]) / 2 if partner == joint else row
    return rows


def _row(space: ShapeSpace, joint: int) -> np.ndarray:
    distance = np.linalg.norm(space.template - space.joints[joint], axis=1)
    index = np.argsort(distance, kind="stable")[:_NUM_NEAREST]
    width = distance[index[_WIDTH_RANK]] + 0.03
    closeness = np.exp(-((distance[index] / width) ** 2)) + 1e-4
    expressions = space.expression_directions[index].reshape(len(index), -1)
    constraints = np.concatenate(
        [
            np.ones((1, len(index))),
            space.template[index].T,
            _DIRECTION_SCALE * space.shape_directions[index].reshape(len(index), -1).T,
            _DIRECTION_SCALE * expressions.T,
        ]
    )
    wanted = np.concatenate(
        [
            [1.0],
            space.joints[joint],
            _DIRECTION_SCALE * space.joint_directions[joint].reshape(-1),
            np.zeros(expressions.shape[1]),
        ]
    )
    weighted = constraints * closeness
    gram = weighted @ constraints.T
    gram += _RIDGE * np.trace(weighted @ weighted.T) * np.eye(len(wanted))
    row = np.zeros(len(space.template))
    row[index] = closeness * (constraints.T @ np.linalg.solve(gram, wanted))
    return row
