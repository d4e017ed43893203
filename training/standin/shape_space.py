"""Shape components (PCA of random adults) and expression components (MakeHuman units)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .phenotype import Phenotype, displacements
from .smplx_joints import JointFinder
from .source import BaseMesh, Source
from .t_pose import to_t_pose

NUM_PEOPLE = 300
NUM_COMPONENTS = 10
_SEED = 0
_EXPRESSION_FOLDER = "expression/units/caucasian"
_EXPRESSIONS = (
    ("mouth-open",),
    ("mouth-corner-puller",),
    ("eyebrows-left-inner-up", "eyebrows-right-inner-up")
    + ("eyebrows-left-extern-up", "eyebrows-right-extern-up"),
    ("eye-left-closure", "eye-right-closure"),
    ("mouth-pursing",),
    ("eyebrows-left-down", "eyebrows-right-down"),
    ("mouth-depression",),
    ("nose-left-elevation", "nose-right-elevation"),
    ("eye-left-opened-up", "eye-right-opened-up"),
    ("mouth-compression",),
)
LIPS_EXPRESSION = 4
"""Expression component that moves mainly the lips."""
_UNIT_OF_EXPRESSION = 0.5
"""Share of a full MakeHuman unit that a coefficient of 1 represents."""


@dataclass(frozen=True)
class ShapeSpace:
    """Linear body space in T-pose, metres.

    Attributes:
        template: (N, 3) mean adult.
        joints: (55, 3) joints of the mean adult.
        shape_directions: (N, 3, 10) per standard deviation; the first increases height.
        joint_directions: (55, 3, 10) displacement of the joints per standard deviation.
        expression_directions: (N, 3, 10).
        explained: explained share of the variance of the random adults.
    """

    template: np.ndarray
    joints: np.ndarray
    shape_directions: np.ndarray
    joint_directions: np.ndarray
    expression_directions: np.ndarray
    explained: float


def build_shape_space(
    source: Source, mesh: BaseMesh, finder: JointFinder, weights: np.ndarray
) -> ShapeSpace:
    """Sample adults, bring them into T-pose, and compute their principal components."""
    rng = np.random.default_rng(_SEED)
    people = [Phenotype.draw(rng) for _ in range(NUM_PEOPLE)]
    bodies = mesh.vertices + displacements(source, people)
    joints = np.zeros((NUM_PEOPLE, weights.shape[1], 3))
    for person, body in enumerate(bodies):
        tips = finder.tips(body)
        bodies[person], joints[person] = to_t_pose(body, finder.joints(body), tips, weights)
    template = bodies.mean(0)
    surface = np.unique(mesh.quads)
    coefficients, explained = _principal_coefficients(bodies[:, surface])
    return ShapeSpace(
        template=template,
        joints=joints.mean(0),
        shape_directions=_regress(coefficients, bodies - template),
        joint_directions=_regress(coefficients, joints - joints.mean(0)),
        expression_directions=_expression_directions(source),
        explained=explained,
    )


def _principal_coefficients(bodies: np.ndarray) -> tuple[np.ndarray, float]:
    """(P, 10) coefficients, zero mean and unit variance, positive for taller; explained share."""
    mean = bodies.mean(0)
    centred = (bodies - mean).reshape(len(bodies), -1)
    left, values, right = np.linalg.svd(centred, full_matrices=False)
    coefficients = left[:, :NUM_COMPONENTS] * np.sqrt(len(bodies) - 1)
    height = mean[:, 1] - mean[:, 1].mean()
    stretch = right[:NUM_COMPONENTS].reshape(NUM_COMPONENTS, -1, 3)[..., 1] @ height
    variances = values**2
    explained = float(variances[:NUM_COMPONENTS].sum() / variances.sum())
    return coefficients * np.sign(stretch), explained


def _regress(coefficients: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Least-squares fit: coefficients (P, 10), values (P, M, 3) -> directions (M, 3, 10)."""
    flat = values.reshape(len(values), -1)
    directions = np.linalg.lstsq(coefficients, flat, rcond=None)[0]
    return directions.reshape(NUM_COMPONENTS, -1, 3).transpose(1, 2, 0)


def _expression_directions(source: Source) -> np.ndarray:
    directions = [
        sum(source.target(f"{_EXPRESSION_FOLDER}/{unit}.target.gz") for unit in units)
        for units in _EXPRESSIONS
    ]
    return np.stack(directions, -1) * _UNIT_OF_EXPRESSION
