"""Symmetric mesh decimation: reduces the left half by edge collapse and mirrors it."""

from __future__ import annotations

import heapq

import numpy as np

from .source import BaseMesh

_SKIN_PENALTY = 4.0
"""Cost factor for collapses between vertices with different skinning weights."""
_LENGTH_PENALTY = 1e-7
_SMALLEST_COSINE = 0.3
"""Smallest cosine between the normals of a triangle before and after a collapse."""


def decimate_symmetric(
    mesh: BaseMesh,
    template: np.ndarray,
    weights: np.ndarray,
    num_vertices: int,
    protected: set[int],
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the vertices and triangles of a coarser mesh.

    Args:
        mesh: the base mesh.
        template: (N, 3) positions whose shape is preserved.
        weights: (N, 55) skinning weights.
        num_vertices: target for both halves together.
        protected: vertices of the left half or the middle line that are kept.

    Returns:
        (num_vertices,) vertex indices of the base mesh, ascending, and (F, 3) triangles of these
        indices; both are invariant under `mesh.mirror`.
    """
    half = _left_triangles(mesh)
    collapser = _HalfCollapser(half, template, weights, mesh.is_middle, protected)
    collapser.run(num_vertices)
    left = np.array(collapser.triangles())
    right = mesh.mirror[left][:, [0, 2, 1]]
    triangles = np.concatenate([left, right])
    return np.unique(triangles), triangles


def _left_triangles(mesh: BaseMesh) -> np.ndarray:
    """Quads of the left half, split into triangles; no quad crosses the middle line."""
    quads = mesh.quads[(mesh.is_left[mesh.quads]).any(1)]
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


class _HalfCollapser:
    """Quadric-error half-edge collapse; the remaining vertices keep their positions.

    The middle line is the border of the half mesh: its vertices collapse only along it, and the
    mirrored half therefore closes the mesh.
    """

    def __init__(
        self,
        triangles: np.ndarray,
        positions: np.ndarray,
        weights: np.ndarray,
        is_middle: np.ndarray,
        protected: set[int],
    ) -> None:
        self._faces: dict[int, tuple[int, ...]] = {
            i: tuple(t) for i, t in enumerate(triangles.tolist())
        }
        self._positions, self._weights = positions, weights
        self._is_middle, self._protected = is_middle, protected
        self._of_vertex: dict[int, set[int]] = {}
        self._quadrics = np.zeros((len(positions), 4, 4))
        for number, face in self._faces.items():
            quadric = self._plane(face)
            for vertex in face:
                self._of_vertex.setdefault(vertex, set()).add(number)
                self._quadrics[vertex] += quadric
        self._version = dict.fromkeys(self._of_vertex, 0)
        self._heap: list[tuple[float, int, int, int, int]] = []

    def triangles(self) -> list[tuple[int, ...]]:
        """The remaining triangles."""
        return list(self._faces.values())

    def run(self, num_vertices: int) -> None:
        """Collapse edges until both halves together have `num_vertices` vertices."""
        count = sum(1 if self._is_middle[v] else 2 for v in self._of_vertex)
        for vertex in sorted(self._of_vertex):
            self._offer(vertex)
        while count > num_vertices and self._heap:
            _, gone, kept, gone_version, kept_version = heapq.heappop(self._heap)
            if self._version.get(gone) != gone_version or self._version.get(kept) != kept_version:
                continue
            fewer = 1 if self._is_middle[gone] else 2
            if count - fewer < num_vertices or not self._allowed(gone, kept):
                continue
            self._collapse(gone, kept)
            count -= fewer
        if count != num_vertices:
            raise RuntimeError(f"the mesh could not be reduced to {num_vertices}, only to {count}")

    def _plane(self, face: tuple[int, ...]) -> np.ndarray:
        a, b, c = self._positions[list(face)]
        normal = np.cross(b - a, c - a)
        area = np.linalg.norm(normal) + 1e-12
        plane = np.append(normal / area, -normal @ a / area)
        return area * np.outer(plane, plane)

    def _neighbours(self, vertex: int) -> set[int]:
        return {v for face in self._of_vertex[vertex] for v in self._faces[face]} - {vertex}

    def _offer(self, gone: int) -> None:
        """Push all possible collapses of a vertex onto the heap."""
        if gone in self._protected:
            return
        for kept in self._neighbours(gone):
            if self._is_middle[gone] and not self._is_middle[kept]:
                continue
            point = np.append(self._positions[kept], 1.0)
            bend = point @ (self._quadrics[gone] + self._quadrics[kept]) @ point
            skin = np.abs(self._weights[gone] - self._weights[kept]).sum()
            length = ((self._positions[gone] - self._positions[kept]) ** 2).sum()
            cost = float(bend * (1 + _SKIN_PENALTY * skin) + _LENGTH_PENALTY * length)
            versions = self._version[gone], self._version[kept]
            heapq.heappush(self._heap, (cost, gone, kept, *versions))

    def _allowed(self, gone: int, kept: int) -> bool:
        """Whether the mesh stays a surface and no triangle turns over."""
        ring, kept_ring = self._neighbours(gone), self._neighbours(kept)
        shared_faces = len(self._of_vertex[gone] & self._of_vertex[kept])
        if len(ring & kept_ring) != shared_faces:
            return False
        if self._is_middle[gone] and shared_faces != 1:
            return False
        if self._is_middle[kept]:
            # A new edge between two vertices of the middle would belong to both halves.
            if (
                any(self._is_middle[v] for v in ring - kept_ring - {kept} - {gone})
                and not (self._is_middle[gone])
            ):
                return False
        return not any(self._turns(face, gone, kept) for face in self._of_vertex[gone])

    def _turns(self, number: int, gone: int, kept: int) -> bool:
        face = self._faces[number]
        if kept in face:
            return False
        moved = tuple(kept if v == gone else v for v in face)
        before, after = (
            np.cross(p[1] - p[0], p[2] - p[0])
            for p in (self._positions[list(face)], self._positions[list(moved)])
        )
        limit = _SMALLEST_COSINE * np.linalg.norm(before) * np.linalg.norm(after)
        return bool(before @ after < limit)

    def _collapse(self, gone: int, kept: int) -> None:
        ring = self._neighbours(gone)
        for number in self._of_vertex.pop(gone):
            face = self._faces[number]
            if kept in face:
                del self._faces[number]
                for vertex in face:
                    if vertex != gone:
                        self._of_vertex[vertex].discard(number)
            else:
                self._faces[number] = tuple(kept if v == gone else v for v in face)
                self._of_vertex[kept].add(number)
        self._quadrics[kept] += self._quadrics[gone]
        del self._version[gone]
        for vertex in ring:
            self._version[vertex] += 1
        for vertex in ring:
            self._offer(vertex)
