"""Batched posing of people on a body model."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .accelerate.cuda_graphs import CudaGraph, cuda_graphs_available
from .body.model import BodyModel
from .body.parameters import SMPLX_NAMES, SMPLX_SIZES
from .network.config import NUM_BODY_JOINTS
from .people import FIELD_SHAPES, People

_BATCH = 16
"""Maximum number of bodies per call of the body model."""
_GRAPH_BATCH = 64
"""The same with CUDA graphs; padded to a multiple of `_BATCH`, since a graph has a fixed size."""
_RIDGE = 1e-3  # square metres per squared coefficient, keeps changes of shape small
_MAX_BETA = 3.0


class BodyPoser:
    """Poses people on one body model, with CUDA graphs where available.  Thread-safe."""

    def __init__(self, body: BodyModel, from_official: bool) -> None:
        """Create a poser for `body`; for `from_official` see `BodyModel.adapt`."""
        self._body, self._from_official = body, from_official
        self._lock = threading.Lock()
        has_graphs = cuda_graphs_available(body.device)
        self._meshes_graph = CudaGraph(self._pose_meshes) if has_graphs else None
        self._joints_graph = CudaGraph(self._pose_joints) if has_graphs else None

    def __call__(self, people: Sequence[People]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Pose the people of several photos together.

        Returns:
            For each photo, vertices (P, V, 3) and joints (P, 144, 3) in metres, camera frame.
        """
        if not people:
            return []
        vertices, joints_3d = self._run(people, self._pose_meshes, self._meshes_graph)
        ends = np.cumsum([len(each) for each in people])[:-1]
        return list(zip(np.split(vertices, ends), np.split(joints_3d, ends), strict=True))

    def joints(self, people: People) -> np.ndarray:
        """Pose joints (P, 144, 3) of one photo in metres, camera frame, without meshes."""
        (joints_3d,) = self._run([people], self._pose_joints, self._joints_graph)
        return joints_3d

    def resized(self, people: People, joints_3d: np.ndarray, factors: np.ndarray) -> People:
        """Change the size of bodies around the pelvis, by their shape coefficients.

        The new coefficients are the least-squares approximation of a scaled skeleton, and stay
        within 3 standard deviations.

        Args:
            people: P people.
            joints_3d: (P, 144, 3) their posed joints, metres.
            factors: (P,) on the size.

        Returns:
            The same people with new `betas`, and new `transl` that keep the pelvis in place.
        """
        if not len(people):
            return people
        limit = np.maximum(np.abs(people.betas), _MAX_BETA)
        betas = people.betas + np.log(factors)[:, None] * self._size_direction
        betas = betas.clip(-limit, limit).astype(np.float32)
        changed = replace(people, betas=betas)
        shift = joints_3d[:, 0] - self.joints(changed)[:, 0]
        return replace(changed, transl=changed.transl + shift)

    @functools.cached_property
    def _size_direction(self) -> np.ndarray:
        """(10,) change of `betas` that scales the skeleton, per unit of the logarithm."""
        fields = {n: np.zeros((11, *shape), np.float32) for n, shape in FIELD_SHAPES.items()}
        fields["betas"][1:] = np.eye(10)
        skeleton = self.joints(People(**fields))[:, :NUM_BODY_JOINTS].astype(np.float64)
        skeleton -= skeleton[:, :1]
        mean, directions = skeleton[0].ravel(), (skeleton[1:] - skeleton[0]).reshape(10, -1)
        gram = directions @ directions.T + _RIDGE * np.eye(10)
        return np.linalg.solve(gram, directions @ mean)

    def _run(
        self,
        people: Sequence[People],
        pose: Callable[[Tensor], tuple[Tensor, ...]],
        graph: CudaGraph | None,
    ) -> list[np.ndarray]:
        """Outputs of `pose` for all people, in batches."""
        table = self._parameter_table(people)
        step = _BATCH if graph is None else _GRAPH_BATCH
        batches = []
        with torch.inference_mode():
            for start in range(0, max(len(table), 1), step):
                batches.append(self._run_batch(table[start : start + step], pose, graph))
        parts = zip(*batches, strict=True)
        # A single batch, the usual case, is not copied again.
        return [part[0] if len(part) == 1 else np.concatenate(part) for part in parts]

    def _parameter_table(self, people: Sequence[People]) -> Tensor:
        """(P, C) on the CPU: parameters of all people side by side, in order of `SMPLX_NAMES`."""
        each = [one.smplx_parameters() for one in people]
        parameters = {
            name: torch.from_numpy(np.concatenate([values[name] for values in each]))
            for name in SMPLX_NAMES
        }
        adapted = self._body.adapt(parameters, self._from_official)
        return torch.cat([adapted[name].float() for name in SMPLX_NAMES], 1)

    def _run_batch(
        self,
        table: Tensor,
        pose: Callable[[Tensor], tuple[Tensor, ...]],
        graph: CudaGraph | None,
    ) -> tuple[np.ndarray, ...]:
        count = len(table)
        if graph is None or not count:
            outputs = pose(table.to(self._body.device))
            return tuple(output.cpu().numpy() for output in outputs)
        padded = F.pad(table, (0, 0, 0, -count % _BATCH)).to(self._body.device)
        with self._lock:
            outputs = graph(padded)
        return tuple(output[:count].cpu().numpy() for output in outputs)

    def _pose_meshes(self, table: Tensor) -> tuple[Tensor, Tensor]:
        posed = self._body(_parameters(table))
        return posed.vertices, posed.joints_3d

    def _pose_joints(self, table: Tensor) -> tuple[Tensor]:
        return (self._body.joints(_parameters(table)),)


def _parameters(table: Tensor) -> dict[str, Tensor]:
    return dict(zip(SMPLX_NAMES, table.split(list(SMPLX_SIZES.values()), 1), strict=True))
