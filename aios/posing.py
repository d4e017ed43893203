"""People of one photo or of several as posed meshes, as few calls of the body model as will do."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .body_model import BodyModel
from .graphs import Recorded, allowed
from .people import SMPLX_NAMES, SMPLX_SIZES, People

_AT_ONCE = 16
"""Bodies a call; on a GPU always so many, as what is recorded fits one number."""


class Posing:
    """Poses a body; may be called from many threads."""

    def __init__(self, body: BodyModel, from_official: bool) -> None:
        """Pose `body`; see `BodyModel.adapt` for `from_official`."""
        self._body, self._from_official = body, from_official
        self._recorded = Recorded(self._posed) if allowed(body.device) else None
        self._lock = threading.Lock()

    def __call__(self, people: Sequence[People]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Vertices (P, V, 3) and joints (P, 144, 3) of each of `people`, metres, camera frame."""
        if not people:
            return []
        parts = [self._table(each) for each in people]
        table = torch.cat(parts)
        vertices, joints_3d = [], []
        with torch.inference_mode():
            for start in range(0, max(len(table), 1), _AT_ONCE):
                posed = self._pose(table[start : start + _AT_ONCE])
                vertices.append(posed[0])
                joints_3d.append(posed[1])
        ends = np.cumsum([len(part) for part in parts])[:-1]
        return list(
            zip(
                np.split(np.concatenate(vertices), ends),
                np.split(np.concatenate(joints_3d), ends),
                strict=True,
            )
        )

    def _table(self, people: People) -> Tensor:
        """(P, C) on the CPU: the parameters side by side, in the order of `SMPLX_NAMES`."""
        parameters = {
            name: torch.from_numpy(np.ascontiguousarray(values))
            for name, values in people.smplx_parameters().items()
        }
        adapted = self._body.adapt(parameters, self._from_official)
        return torch.cat([adapted[name].float() for name in SMPLX_NAMES], 1)

    def _pose(self, table: Tensor) -> tuple[np.ndarray, np.ndarray]:
        count = len(table)
        if self._recorded is None or not count:
            vertices, joints_3d = self._posed(table.to(self._body.device))
        else:
            padded = F.pad(table, (0, 0, 0, _AT_ONCE - count)).to(self._body.device)
            with self._lock:
                vertices, joints_3d = self._recorded(padded)
        return vertices[:count].cpu().numpy(), joints_3d[:count].cpu().numpy()

    def _posed(self, table: Tensor) -> tuple[Tensor, Tensor]:
        values = dict(zip(SMPLX_NAMES, table.split(SMPLX_SIZES, 1), strict=True))
        posed = self._body(values)
        return posed.vertices, posed.joints_3d
