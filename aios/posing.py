"""People of one photo or of several as posed meshes, as few calls of the body model as will do."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .accelerate.cuda_graphs import CudaGraph, cuda_graphs_available
from .body.model import BodyModel
from .body.parameters import SMPLX_NAMES, SMPLX_SIZES
from .people import People

_AT_ONCE = 16
"""Bodies a call."""
_RECORDED_AT_ONCE = 64
"""Bodies a call where calls are recorded: padded to a multiple of `_AT_ONCE`, as a recording fits
one number."""


class Posing:
    """Poses a body; may be called from many threads."""

    def __init__(self, body: BodyModel, from_official: bool) -> None:
        """Pose `body`; see `BodyModel.adapt` for `from_official`."""
        self._body, self._from_official = body, from_official
        self._graph = CudaGraph(self._posed) if cuda_graphs_available(body.device) else None
        self._lock = threading.Lock()

    def __call__(self, people: Sequence[People]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Vertices (P, V, 3) and joints (P, 144, 3) of each of `people`, metres, camera frame."""
        if not people:
            return []
        table = self._table(people)
        step = _AT_ONCE if self._graph is None else _RECORDED_AT_ONCE
        posed = []
        with torch.inference_mode():
            for start in range(0, max(len(table), 1), step):
                posed.append(self._pose(table[start : start + step]))
        ends = np.cumsum([len(each) for each in people])[:-1]
        # What is posed in one call is not copied once more.
        parts = (
            np.split(each[0] if len(each) == 1 else np.concatenate(each), ends)
            for each in zip(*posed, strict=True)
        )
        return list(zip(*parts, strict=True))

    def _table(self, people: Sequence[People]) -> Tensor:
        """(P, C) on the CPU: everyone's parameters side by side, in the order of `SMPLX_NAMES`."""
        each = [one.smplx_parameters() for one in people]
        parameters = {
            name: torch.from_numpy(np.concatenate([values[name] for values in each]))
            for name in SMPLX_NAMES
        }
        adapted = self._body.adapt(parameters, self._from_official)
        return torch.cat([adapted[name].float() for name in SMPLX_NAMES], 1)

    def _pose(self, table: Tensor) -> tuple[np.ndarray, np.ndarray]:
        count = len(table)
        if self._graph is None or not count:
            vertices, joints_3d = self._posed(table.to(self._body.device))
        else:
            padded = F.pad(table, (0, 0, 0, -count % _AT_ONCE)).to(self._body.device)
            with self._lock:
                vertices, joints_3d = self._graph(padded)
        return vertices[:count].cpu().numpy(), joints_3d[:count].cpu().numpy()

    def _posed(self, table: Tensor) -> tuple[Tensor, Tensor]:
        values = dict(zip(SMPLX_NAMES, table.split(list(SMPLX_SIZES.values()), 1), strict=True))
        posed = self._body(values)
        return posed.vertices, posed.joints_3d
