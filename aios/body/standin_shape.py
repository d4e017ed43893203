"""Approximate conversion of SMPL-X shape coefficients to those of the stand-in body."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

SMPLX_STATURE = 1.71
"""Approximate height in metres of the neutral SMPL-X body with zero shape coefficients."""
STATURE_PER_BETA_0 = 0.07
"""Metres of height per unit of the first SMPL-X coefficient."""
VOLUME_PER_BETA_1 = 0.08
"""Relative change of volume, at equal height, per unit of the second SMPL-X coefficient."""
MAX_BETA = 3.0
"""Range, in standard deviations, in which shapes of the stand-in look human."""

_STEP = 0.5


class StandinShapes:
    """Converter of SMPL-X shape coefficients to those of the stand-in.

    The shape spaces are unrelated: they are principal components of different bodies.  Only height
    (first SMPL-X coefficient) and volume (second) are converted; the other eight coefficients are
    dropped.  The constants above are rough values, not measured on SMPL-X, whose files are not part
    of the program.  The result is the least-norm solution with that height and volume.
    """

    def __init__(
        self, template: np.ndarray, shape_directions: np.ndarray, faces: np.ndarray
    ) -> None:
        """Measure the effect of each coefficient on height and volume.

        Args:
            template: (V, 3) metres, y up.
            shape_directions: (V, 3, 10) metres per unit.
            faces: (F, 3) vertex indices.
        """
        top, bottom = template[:, 1].argmax(), template[:, 1].argmin()
        self._stature = float(template[top, 1] - template[bottom, 1])
        statures = shape_directions[top, 1] - shape_directions[bottom, 1]
        shapes = _STEP * np.moveaxis(shape_directions, -1, 0)
        logs = [np.log(_volume(template + s, faces) / _volume(template - s, faces)) for s in shapes]
        volumes = np.array(logs) / (2 * _STEP)
        self._to_betas = np.linalg.pinv(np.stack([statures, volumes]))

    def __call__(self, betas: Tensor) -> Tensor:
        """SMPL-X coefficients (P, 10) -> coefficients of the stand-in (P, 10)."""
        stature = SMPLX_STATURE + STATURE_PER_BETA_0 * betas[:, 0] - self._stature
        # At equal build, weight grows with the square of the height.
        volume = 2 * stature / self._stature + VOLUME_PER_BETA_1 * betas[:, 1]
        to_betas = torch.as_tensor(self._to_betas).to(betas)
        adapted = torch.stack([stature, volume], -1) @ to_betas.T
        return adapted.clamp(-MAX_BETA, MAX_BETA)


def _volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    a, b, c = np.moveaxis(vertices[faces].astype(np.float64), 1, 0)
    return float((np.cross(a, b) * c).sum() / 6)
