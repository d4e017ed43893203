"""What both renderers share: the lit scene they take, the layers they give, soft edges.

Frame: x right, y down, z forward, metres.  Pixels: (0, 0) is the outer corner of the first pixel,
whose centre is (0.5, 0.5).  P people, V vertices and F faces a person, N = P * V.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import cv2
import numpy as np

from ..geometry.camera import Camera
from .threads import shares, side_by_side

NEAR = 0.05
"""Metres; nothing nearer to the camera is drawn."""
FAR = 1e5
"""Metres; a person beyond is smaller than a pixel in any photo and is left out."""

_FEATHER_SIGMA_PX = 0.7
_EDGE_SIGMA_PX = 0.7
_EDGE_DEPTH_STEP = 0.05
"""Metres between neighbouring pixels from which the jump is smoothed like an outline."""
_FAR_OFF_M = 1e6
_TOWARDS_KEY = (-0.42, -0.68, -0.60)
_TOWARDS_FILL = (0.80, -0.10, -0.59)
_AMBIENT_BELOW, _AMBIENT_ABOVE = 0.12, 0.26
_KEY, _FILL, _GLOSS, _RIM = 0.86, 0.14, 0.12, 0.12
_SHADE, _SHADE_RADIUS, _SHADE_DEPTH = 0.40, 0.06, 0.40
_GLOSS_EXPONENT, _RIM_EXPONENT = 22.0, 3.0


@dataclass(frozen=True)
class Scene:
    """People ready to be drawn: every vertex has its final colour, every person is finite.

    Attributes:
        vertices: (P, V, 3) float32 metres, camera frame.
        colors: (P, V, 3) float32 0-1, light included, as it shall appear (sRGB).
        faces: (F, 3) int64, shared by all people.
        people: (P,) int32, the number under which each appears in `Layers.person`.
        closed: (P,) bool, True for a closed surface of which nobody outside sees the back.
    """

    vertices: np.ndarray
    colors: np.ndarray
    faces: np.ndarray
    people: np.ndarray
    closed: np.ndarray

    def depth_range(self) -> tuple[float, float]:
        """A near and a far plane in metres that keep all that may be drawn, as tight as can be."""
        z = self.vertices[..., 2]
        nearest, farthest = float(z.min()), float(z.max())
        near = max(NEAR, 0.9 * nearest)
        return near, max(1.1 * farthest, 2.0 * near)


@dataclass(frozen=True)
class Layers:
    """What a renderer sees through a camera.

    Attributes:
        rgba: (H, W, 4) uint8, colours multiplied by coverage (alpha, 255 for whole); renderers
            give whole or nothing, `antialias` and `feather` what lies between.
        person: (H, W) int32, who is at the centre of each pixel, -1 for nobody.
        depth: (H, W) float32 metres at the centre of each pixel, inf for nobody.
    """

    rgba: np.ndarray
    person: np.ndarray
    depth: np.ndarray

    @classmethod
    def empty(cls, height: int, width: int) -> Self:
        """Nobody in sight."""
        return cls(
            rgba=np.zeros((height, width, 4), np.uint8),
            person=np.full((height, width), -1, np.int32),
            depth=np.full((height, width), np.inf, np.float32),
        )


def build_scene(vertices: np.ndarray, faces: np.ndarray, base_colors: np.ndarray) -> Scene:
    """Light the people and leave out those who cannot be drawn.

    Args:
        vertices: (P, V, 3) metres, camera frame; a person with a value that is not finite, or with
            no vertex between `NEAR` and `FAR`, is left out.
        faces: (F, 3) vertex numbers.
        base_colors: (P, 3) or (P, V, 3) 0-1 sRGB.
    """
    z = vertices[..., 2]
    with np.errstate(invalid="ignore"):
        wanted = np.isfinite(vertices).all((1, 2)) & (z > NEAR).any(1) & (z < FAR).all(1)
    people = np.flatnonzero(wanted).astype(np.int32)
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

    side_by_side(add, shares(len(kept)))
    return Scene(kept, colors, faces, people, closed)


@dataclass(frozen=True)
class _Topology:
    """What follows from the faces alone.

    Attributes:
        vertices: (U,) numbers of those that have a face.
        faces: (3F,) faces of these vertices, vertex after vertex.
        starts: (U,) where each vertex's faces start in `faces`.
        closed: every edge has two faces, which run along it in opposite directions.
    """

    vertices: np.ndarray
    faces: np.ndarray
    starts: np.ndarray
    closed: bool


@lru_cache(maxsize=4)
def _topology(faces: bytes) -> _Topology:
    """Of (F, 3) int64: the same bodies are drawn again and again."""
    corners = np.frombuffer(faces, np.int64)
    vertices, counts = np.unique(corners, return_counts=True)
    ends = corners.reshape(-1, 3)[:, (1, 2, 0)].ravel()
    size = int(corners.max(initial=0)) + 1
    there, back = np.sort(corners * size + ends), np.sort(ends * size + corners)
    return _Topology(
        vertices=vertices,
        faces=np.argsort(corners, kind="stable") // 3,
        starts=np.cumsum(counts) - counts,
        closed=bool((there == back).all() and (np.diff(there) > 0).all()),
    )


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals, faces weighted by area: (P, V, 3), (F, 3) -> (P, V, 3) float32.

    A vertex without any area around it gets a zero normal.
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
    """Who is seen from the outside of a closed surface: (P,) bool."""
    return np.einsum("pvk,pvk->p", vertices - vertices.mean(1, keepdims=True), normals) > 0


def light(vertices: np.ndarray, normals: np.ndarray, base_colors: np.ndarray) -> np.ndarray:
    """Light vertices as a photographer would: key from the upper left, soft fill, bright rim.

    Args:
        vertices: (P, V, 3) metres, camera frame.
        normals: (P, V, 3) unit, outwards.
        base_colors: (P, V, 3) 0-1 sRGB.

    Returns:
        (P, V, 3) float32 0-1 sRGB.
    """
    distances = np.sqrt(np.einsum("pvk,pvk->pv", vertices, vertices))
    facing = -np.einsum("pvk,pvk->pv", normals, vertices) / np.maximum(distances, 1e-6)
    key, fill = (_unit(direction) for direction in (_TOWARDS_KEY, _TOWARDS_FILL))
    # Half of the wrapped (n.l + 1) / 2 keeps the dark side readable without a shadow map.
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
    """Display values 0-1 -> amounts of light 0-1 (power 2.2), float32."""
    return np.asarray(values, np.float32) ** np.float32(2.2)


def linear_to_srgb(values: np.ndarray) -> np.ndarray:
    """Amounts of light -> display values, clipped to 0-1 (power 1 / 2.2), float32."""
    return np.clip(values, 0.0, 1.0).astype(np.float32) ** np.float32(1 / 2.2)


def visible_region(scene: Scene, camera: Camera, margin: int) -> tuple[int, int, int, int] | None:
    """Pixels that can change: (x0, y0, x1, y1), half open, or None when nobody is in sight."""
    if not len(scene.people):
        return None
    if float(scene.vertices[..., 2].min()) <= NEAR:  # cut by the near plane: may be anywhere
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


def shade_behind(layers: Layers, focal_length: float) -> None:
    """Darken, in place, what lies just behind somebody (or a limb) nearer: it shows the order.

    Compares each depth with the mean depth around it, over some 6 cm at the people's distance.
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
    """Smooth, in place, steps where one person, or one limb, ends before another."""
    depth = np.minimum(layers.depth, np.float32(_FAR_OFF_M))
    step = _spread(depth) > _EDGE_DEPTH_STEP
    step |= _spread(layers.person.astype(np.float32)) > 0
    soft = cv2.GaussianBlur(layers.rgba, (3, 3), _EDGE_SIGMA_PX, borderType=cv2.BORDER_REPLICATE)
    cv2.copyTo(soft, step.astype(np.uint8), layers.rgba)


def _spread(values: np.ndarray) -> np.ndarray:
    """Greatest minus least value of each pixel and its four neighbours, (H, W) float32."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return cv2.dilate(values, cross) - cv2.erode(values, cross)


def feather(rgba: np.ndarray) -> None:
    """Soften the outline, and only the outline, of premultiplied (H, W, 4) uint8; in place."""
    soft = cv2.GaussianBlur(rgba, (5, 5), _FEATHER_SIGMA_PX, borderType=cv2.BORDER_REPLICATE)
    cv2.copyTo(soft, (soft[..., 3] < 255).astype(np.uint8), rgba)
