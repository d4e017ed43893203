"""SMPL-X shape coefficients worn by the stand-in body: an approximation of stature and build."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

SMPLX_STATURE = 1.71
"""Metres, about the height of the neutral SMPL-X body with all shape coefficients at zero."""
STATURE_PER_BETA_0 = 0.07
"""Metres of height that one unit of the first SMPL-X coefficient stands for."""
VOLUME_PER_BETA_1 = 0.08
"""Share of volume, at the same height, that one unit of the second coefficient stands for."""
LARGEST_BETA = 3.0
"""Standard deviations within which the stand-in's own shapes look human."""

_STEP = 0.5


class StandinShapes:
    """Maps SMPL-X shape coefficients to those of the stand-in.

    The two shape spaces are unrelated: each is a principal component analysis of other bodies.
    What is carried over is what is generally said of the public model: the first coefficient
    makes a body taller and the second makes it heavier.  The numbers above are rough values, not
    measured on SMPL-X, whose files the program does not have; the eight finer coefficients are
    dropped.  The stand-in then takes the smallest coefficients that give it that height and that
    volume.
    """

    def __init__(
        self, template: np.ndarray, shape_directions: np.ndarray, faces: np.ndarray
    ) -> None:
        """Measure how the stand-in's coefficients change its height and volume.

        Args:
            template: (V, 3) metres, y up.
            shape_directions: (V, 3, 10).
            faces: (F, 3).
        """
        top, bottom = template[:, 1].argmax(), template[:, 1].argmin()
        self._stature = float(template[top, 1] - template[bottom, 1])
        statures = shape_directions[top, 1] - shape_directions[bottom, 1]
        shapes = _STEP * np.moveaxis(shape_directions, -1, 0)
        logs = [np.log(_volume(template + s, faces) / _volume(template - s, faces)) for s in shapes]
        volumes = np.array(logs) / (2 * _STEP)
        self._to_betas = np.linalg.pinv(np.stack([statures, volumes]))

    def __call__(self, betas: Tensor) -> Tensor:
        """(P, 10) of SMPL-X -> (P, 10) of the stand-in."""
        stature = SMPLX_STATURE + STATURE_PER_BETA_0 * betas[:, 0] - self._stature
        # A person of the same build weighs as the square of the height.
        volume = 2 * stature / self._stature + VOLUME_PER_BETA_1 * betas[:, 1]
        to_betas = torch.as_tensor(self._to_betas).to(betas)
        adapted = torch.stack([stature, volume], -1) @ to_betas.T
        return adapted.clamp(-LARGEST_BETA, LARGEST_BETA)


def _volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    a, b, c = np.moveaxis(vertices[faces].astype(np.float64), 1, 0)
    return float((np.cross(a, b) * c).sum() / 6)
