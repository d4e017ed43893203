"""Input and output of both rasterizers: lit scenes and image layers, with edge smoothing.

Frame: x right, y down, z forward, metres.  Pixels: (0, 0) is the outer corner of the first pixel,
whose centre is (0.5, 0.5).  P people with V vertices and F faces each, N = P * V.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import cv2
import numpy as np

from ..geometry.camera import Camera
from .threads import parallel_map, split_evenly

NEAR = 0.05
"""Near plane, metres."""
FAR = 1e5
"""Metres; farther people are smaller than a pixel in any photo and are skipped."""

_FEATHER_SIGMA_PX = 0.7
_EDGE_SIGMA_PX = 0.7
_EDGE_DEPTH_STEP = 0.05
"""Depth difference of neighbouring pixels, metres, above which the edge is smoothed."""
_BACKGROUND_DEPTH_M = 1e6
_KEY_DIRECTION = (-0.42, -0.68, -0.60)
_FILL_DIRECTION = (0.80, -0.10, -0.59)
_AMBIENT_BELOW, _AMBIENT_ABOVE = 0.12, 0.26
_KEY, _FILL, _GLOSS, _RIM = 0.86, 0.14, 0.12, 0.12
_SHADE, _SHADE_RADIUS, _SHADE_DEPTH = 0.40, 0.06, 0.40
_GLOSS_EXPONENT, _RIM_EXPONENT = 22.0, 3.0


@dataclass(frozen=True)
class LitScene:
    """People with lit vertex colours, ready for a rasterizer; all vertices are finite.

    Attributes:
        vertices: (P, V, 3) float32 metres, camera frame.
        colors: (P, V, 3) float32 0-1 sRGB, after lighting.
        faces: (F, 3) int64, shared by all people.
        people: (P,) int32, the index of each person in `Layers.person`.
        closed: (P,) bool, True for a closed surface, whose back faces are never visible.
    """

    vertices: np.ndarray
    colors: np.ndarray
    faces: np.ndarray
    people: np.ndarray
    closed: np.ndarray

    def depth_range(self) -> tuple[float, float]:
        """Tight near and far planes, metres, that contain everything drawable."""
        z = self.vertices[..., 2]
        nearest, farthest = float(z.min()), float(z.max())
        near = max(NEAR, 0.9 * nearest)
        return near, max(1.1 * farthest, 2.0 * near)


@dataclass(frozen=True)
class Layers:
    """Output of a rasterizer.

    Attributes:
        rgba: (H, W, 4) uint8, premultiplied alpha; rasterizers give 0 or 255, `antialias` and
            `feather` values in between.
        person: (H, W) int32 person index at pixel centres, -1 for background.
        depth: (H, W) float32 metres at pixel centres, inf for background.
    """

    rgba: np.ndarray
    person: np.ndarray
    depth: np.ndarray

    @classmethod
    def empty(cls, height: int, width: int) -> Self:
        """Background only."""
        return cls(
            rgba=np.zeros((height, width, 4), np.uint8),
            person=np.full((height, width), -1, np.int32),
            depth=np.full((height, width), np.inf, np.float32),
        )


def build_scene(vertices: np.ndarray, faces: np.ndarray, base_colors: np.ndarray) -> LitScene:
    """Light the people; people that cannot be drawn are skipped.

    Args:
        vertices: (P, V, 3) metres, camera frame; people with non-finite vertices, with a vertex
            beyond `FAR` or with all vertices before `NEAR` are skipped.
        faces: (F, 3) vertex indices.
        base_colors: (P, 3) or (P, V, 3) 0-1 sRGB.
    """
    z = vertices[..., 2]
    with np.errstate(invalid="ignore"):
        drawable = np.isfinite(vertices).all((1, 2)) & (z > NEAR).any(1) & (z < FAR).all(1)
    people = np.flatnonzero(drawable).astype(np.int32)
    kept = np.ascontiguousarray(vertices[people], np.float32)
    base = np.asarray(base_colors, np.float32)[people]
    if base.ndim == 2:
        base = np.broadcast_to(base[:, None], kept.shape)
    faces = np.ascontiguousarray(faces, np.int64)
    topology = _topology(faces.tobytes())
    closed, colors = np.zeros(len(kept), bool), np.empty_like(kept)

    def add(part: slice) -> None:
        normals = _normals(kept[part], faces, topology)
        if topology.closed:
            closed[part] = _faces_outwards(kept[part], normals)
        colors[part] = light(kept[part], normals, base[part])

    parallel_map(add, split_evenly(len(kept)))
    return LitScene(kept, colors, faces, people, closed)


@dataclass(frozen=True)
class _Topology:
    """Adjacency of a face list.

    Attributes:
        vertices: (U,) indices of vertices with at least one face.
        faces: (3F,) face indices, grouped by vertex.
        starts: (U,) start of each vertex's group in `faces`.
        closed: every edge has two faces with opposite directions.
    """

    vertices: np.ndarray
    faces: np.ndarray
    starts: np.ndarray
    closed: bool


@lru_cache(maxsize=4)
def _topology(faces: bytes) -> _Topology:
    """Topology of (F, 3) int64 faces, given as bytes; cached, as a body model has fixed faces."""
    corners = np.frombuffer(faces, np.int64)
    vertices, counts = np.unique(corners, return_counts=True)
    ends = corners.reshape(-1, 3)[:, (1, 2, 0)].ravel()
    size = int(corners.max(initial=0)) + 1
    forward, backward = np.sort(corners * size + ends), np.sort(ends * size + corners)
    return _Topology(
        vertices=vertices,
        faces=np.argsort(corners, kind="stable") // 3,
        starts=np.cumsum(counts) - counts,
        closed=bool((forward == backward).all() and (np.diff(forward) > 0).all()),
    )


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals: (P, V, 3), (F, 3) -> (P, V, 3) float32.

    Vertices without area around them get a zero normal.
    """
    faces = np.asarray(faces, np.int64)
    return _normals(vertices, faces, _topology(faces.tobytes()))


def _normals(vertices: np.ndarray, faces: np.ndarray, topology: _Topology) -> np.ndarray:
    # (P, V, 3) -> (3, P, V): one axis at a time
    points = np.ascontiguousarray(vertices.transpose(2, 0, 1), np.float32)
    first, second, third = (points[:, :, faces[:, k]] for k in range(3))
    u, w = second - first, third - first
    sums = np.zeros_like(points)
    for axis in range(3):
        y, z = (axis + 1) % 3, (axis + 2) % 3
        areas = u[y] * w[z] - u[z] * w[y]
        if len(faces):
            sums[axis][:, topology.vertices] = np.add.reduceat(
                areas[:, topology.faces], topology.starts, 1
            )
    lengths = np.sqrt(np.einsum("kpv,kpv->pv", sums, sums))
    sums /= np.maximum(lengths, np.float32(1e-20))
    return np.ascontiguousarray(sums.transpose(1, 2, 0))


def _faces_outwards(vertices: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Whether the faces of each closed surface are oriented outwards: (P,) bool."""
    return np.einsum("pvk,pvk->p", vertices - vertices.mean(1, keepdims=True), normals) > 0


def light(vertices: np.ndarray, normals: np.ndarray, base_colors: np.ndarray) -> np.ndarray:
    """Light vertices with a key light from the upper left, a fill light and a rim light.

    Args:
        vertices: (P, V, 3) metres, camera frame.
        normals: (P, V, 3) unit, outwards.
        base_colors: (P, V, 3) 0-1 sRGB.

    Returns:
        (P, V, 3) float32 0-1 sRGB.
    """
    distances = np.sqrt(np.einsum("pvk,pvk->pv", vertices, vertices))
    facing = -np.einsum("pvk,pvk->pv", normals, vertices) / np.maximum(distances, 1e-6)
    key, fill = (_unit(direction) for direction in (_KEY_DIRECTION, _FILL_DIRECTION))
    # Half-Lambert shading keeps the dark side readable.
    wrapped = 0.5 * normals @ key + 0.5
    up = 0.5 - 0.5 * normals[..., 1]
    diffuse = _AMBIENT_BELOW + (_AMBIENT_ABOVE - _AMBIENT_BELOW) * up
    diffuse += _KEY * wrapped * wrapped + _FILL * np.maximum(normals @ fill, 0.0)
    halfway = _unit(key + np.array([0.0, 0.0, -1.0], np.float32))
    white = _GLOSS * np.maximum(normals @ halfway, 0.0) ** _GLOSS_EXPONENT
    white += _RIM * (1.0 - np.clip(facing, 0.0, 1.0)) ** _RIM_EXPONENT * up
    linear = srgb_to_linear(base_colors) * diffuse[..., None] + white[..., None]
    return linear_to_srgb(linear)


def _unit(direction: tuple[float, float, float] | np.ndarray) -> np.ndarray:
    vector = np.asarray(direction, np.float32)
    return vector / np.linalg.norm(vector)


def srgb_to_linear(values: np.ndarray) -> np.ndarray:
    """Convert sRGB 0-1 to linear 0-1, float32, with gamma 2.2."""
    return np.asarray(values, np.float32) ** np.float32(2.2)


def linear_to_srgb(values: np.ndarray) -> np.ndarray:
    """Convert linear values, clipped to 0-1, to sRGB 0-1, float32, with gamma 2.2."""
    return np.clip(values, 0.0, 1.0).astype(np.float32) ** np.float32(1 / 2.2)


def visible_region(
    scene: LitScene, camera: Camera, margin: int
) -> tuple[int, int, int, int] | None:
    """Bounding box of the people, (x0, y0, x1, y1) pixels, half open; None if all are outside."""
    if not len(scene.people):
        return None
    if float(scene.vertices[..., 2].min()) <= NEAR:  # clipped by the near plane: projection unknown
        return 0, 0, camera.width, camera.height
    inverse_z = camera.focal_length / scene.vertices[..., 2].astype(np.float64)
    points = [
        scene.vertices[..., axis] * inverse_z + camera.principal_point[axis] for axis in range(2)
    ]
    limits = np.array([camera.width, camera.height])
    low, high = np.array([(axis.min(), axis.max()) for axis in points]).T
    low = np.clip(np.floor(low) - margin, 0, limits).astype(int)
    high = np.clip(np.ceil(high) + margin, 0, limits).astype(int)
    if (high <= low).any():
        return None
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def shade_depth_edges(layers: Layers, focal_length: float) -> None:
    """Darken, in place, surfaces just behind nearer ones, which makes the depth order visible.

    Compares each depth with its local mean, over 6 cm at the distance of the people (unsharp
    masking of the depth buffer: Luft et al., SIGGRAPH 2006).
    """
    covered = layers.person >= 0
    if not covered.any():
        return
    sigma = focal_length * _SHADE_RADIUS / float(np.median(layers.depth[covered]))
    step = int(np.clip(sigma / 3.0, 1, 32))
    height, width = covered.shape
    weight = covered.astype(np.float32)
    depth = np.where(covered, layers.depth, np.float32(0.0))
    both = cv2.resize(
        cv2.merge([depth, weight]),
        (-(-width // step), -(-height // step)),
        None,
        0,
        0,
        cv2.INTER_AREA,
    )
    both = cv2.GaussianBlur(both, (0, 0), max(sigma / step, 0.5))
    mean = both[..., 0] / np.maximum(both[..., 1], 1e-6)
    around = cv2.resize(mean, (width, height), None, 0, 0, cv2.INTER_LINEAR)
    behind = cv2.subtract(depth, around)
    kept = 255.0 - 255.0 * _SHADE * np.clip(behind * (1.0 / _SHADE_DEPTH), 0.0, 1.0)
    factor = kept.astype(np.uint8)
    factors = cv2.merge([factor, factor, factor, np.full_like(factor, 255)])
    cv2.multiply(layers.rgba, factors, layers.rgba, 1.0 / 255.0)


def antialias(layers: Layers) -> None:
    """Smooth, in place, the edges between people and at depth discontinuities."""
    depth = np.minimum(layers.depth, np.float32(_BACKGROUND_DEPTH_M))
    step = _spread(depth) > _EDGE_DEPTH_STEP
    step |= _spread(layers.person.astype(np.float32)) > 0
    soft = cv2.GaussianBlur(layers.rgba, (3, 3), _EDGE_SIGMA_PX, borderType=cv2.BORDER_REPLICATE)
    cv2.copyTo(soft, step.astype(np.uint8), layers.rgba)


def _spread(values: np.ndarray) -> np.ndarray:
    """Range of each pixel and its four neighbours: (H, W) float32."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return cv2.dilate(values, cross) - cv2.erode(values, cross)


def feather(rgba: np.ndarray) -> None:
    """Soften the outline of premultiplied (H, W, 4) uint8, in place; the inside is unchanged."""
    soft = cv2.GaussianBlur(rgba, (5, 5), _FEATHER_SIGMA_PX, borderType=cv2.BORDER_REPLICATE)
    cv2.copyTo(soft, (soft[..., 3] < 255).astype(np.uint8), rgba)
