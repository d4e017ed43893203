"""Software rasterizer: a z-buffer in numpy, for machines without OpenGL; multi-threaded.

Triangles are split into pixel rows and rows into covered pixel centres; the nearest triangle of
each pixel wins.  Back faces are culled on closed surfaces only, so open and clipped meshes are
correct.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry.camera import Camera
from .scene import Layers, LitScene
from .threads import parallel_map, split_evenly

_ROWS_AT_ONCE = 1 << 15
_PIXELS_AT_ONCE = 1 << 15
_COORDINATE_LIMIT_PX = 1e6


@dataclass(frozen=True)
class _Soup:
    """Triangles of all people, clipped at the near plane.

    Attributes:
        screen: (N, 3) float64 x and y in pixels, 1 / z in 1 / metres.
        colors: (N, 3) float32.
        triangles: three (M,) int64 arrays of corner indices.
        owners: (M,) int32 person index of each triangle.
        one_sided: (M,) bool, True for triangles with an invisible back; None if there are none.
    """

    screen: np.ndarray
    colors: np.ndarray
    triangles: tuple[np.ndarray, np.ndarray, np.ndarray]
    owners: np.ndarray
    one_sided: np.ndarray | None


@dataclass(frozen=True)
class _Edges:
    """M triangles with corners sorted by y, and their gradients, all (M,) float64."""

    x: tuple[np.ndarray, np.ndarray, np.ndarray]
    y: tuple[np.ndarray, np.ndarray, np.ndarray]
    inverse_z: np.ndarray
    """1 / z of the first corner."""
    slopes: tuple[np.ndarray, np.ndarray, np.ndarray]
    """dx / dy from corner 0 to 1, 0 to 2, 1 to 2."""
    gradient: tuple[np.ndarray, np.ndarray]
    """d(1 / z) / dx and / dy."""


def rasterize(scene: LitScene, camera: Camera) -> Layers:
    """Draw a scene.

    Args:
        scene: at least one person.
        camera: its width and height are the size of the image.
    """
    height, width = camera.height, camera.width
    soup = _triangle_soup(scene, camera)
    nearest = _nearest_triangles(soup, height, width)
    pixels = np.flatnonzero(nearest)
    layers = Layers.empty(height, width)
    if not len(pixels):
        return layers
    table = np.concatenate([soup.screen.astype(np.float32), soup.colors], 1)
    person, depth = layers.person.reshape(-1), layers.depth.reshape(-1)
    rgba = layers.rgba.reshape(-1, 4)

    def color(start: int) -> None:
        part = pixels[start : start + _PIXELS_AT_ONCE]
        keys = nearest[part]
        chosen = len(soup.owners) - (keys & 0xFFFFFFFF)
        person[part] = soup.owners[chosen]
        depth[part] = 1.0 / (keys >> 32).astype(np.int32).view(np.float32)
        corners = [table[corner[chosen]].T for corner in soup.triangles]
        rgba[part] = _interpolate(corners, part, width)

    parallel_map(color, range(0, len(pixels), _PIXELS_AT_ONCE))
    return layers


def _triangle_soup(scene: LitScene, camera: Camera) -> _Soup:
    near = scene.depth_range()[0]
    count, size, _ = scene.vertices.shape
    points = scene.vertices.reshape(-1, 3).astype(np.float64)
    colors = scene.colors.reshape(-1, 3)
    owners = np.repeat(scene.people, len(scene.faces))
    one_sided = np.repeat(scene.closed, len(scene.faces)) if scene.closed.any() else None
    offsets = (np.arange(count) * size)[:, None]
    corners = [(scene.faces[:, k] + offsets).ravel() for k in range(3)]
    if points[:, 2].min() < near:
        points, colors, corners, kept = _clip_near(points, colors, corners, near)
        owners, one_sided = owners[kept], None  # the inside is visible through the cut
    inverse_z = 1.0 / np.maximum(points[:, 2], near)
    x, y = camera.principal_point
    screen = np.empty_like(points)
    screen[:, 0] = points[:, 0] * inverse_z * camera.focal_length + x
    screen[:, 1] = points[:, 1] * inverse_z * camera.focal_length + y
    screen[:, 2] = inverse_z
    return _Soup(screen, colors, (corners[0], corners[1], corners[2]), owners, one_sided)


def _clip_near(
    points: np.ndarray, colors: np.ndarray, corners: list[np.ndarray], near: float
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray], np.ndarray]:
    """Clip triangles at the plane z = near.

    Returns:
        Points and colours with the new corners appended, corner indices, and the index of the
        source triangle of each new triangle.
    """
    triangles = np.stack(corners, 1)
    front = points[triangles, 2] >= near
    fronts = front.sum(1)
    whole = np.flatnonzero(fronts == 3)
    pieces, sources = [triangles[whole]], [whole]
    for num_front in (1, 2):
        cut = np.flatnonzero(fronts == num_front)
        # Rotate the corners so that the one that is alone on its side comes first.
        alone = np.argmax(front[cut] == (num_front == 1), axis=1)
        rotated = triangles[cut[:, None], (alone[:, None] + np.arange(3)) % 3]
        first = len(points)
        for k in (1, 2):
            a, b = points[rotated[:, 0]], points[rotated[:, k]]
            share = ((near - a[:, 2]) / (b[:, 2] - a[:, 2]))[:, None]
            tint = colors[rotated[:, 0]] * (1 - share) + colors[rotated[:, k]] * share
            points = np.concatenate([points, a + (b - a) * share])
            colors = np.concatenate([colors, tint.astype(np.float32)])
        second = np.arange(first, first + len(cut))
        third = second + len(cut)
        if num_front == 1:
            pieces.append(np.stack([rotated[:, 0], second, third], 1))
            sources.append(cut)
        else:
            pieces.append(np.stack([second, rotated[:, 1], rotated[:, 2]], 1))
            pieces.append(np.stack([second, rotated[:, 2], third], 1))
            sources += [cut, cut]
    joined = np.concatenate(pieces)
    return points, colors, [joined[:, k] for k in range(3)], np.concatenate(sources)


def _nearest_triangles(soup: _Soup, height: int, width: int) -> np.ndarray:
    """Z-buffer (H * W,) int64: 32 float bits of 1 / z, then M minus the triangle; 0 where empty.

    Positive floats sort like their bits, so the maximum is the nearest triangle and, on a tie,
    the first one.
    """
    firsts = _first_centre(soup.screen[:, 1], height), _first_centre(soup.screen[:, 0], width)
    buffers = parallel_map(
        lambda part: _nearest_of(soup, part, firsts, (height, width)),
        split_evenly(len(soup.owners)),
    )
    for buffer in buffers[1:]:
        np.maximum(buffers[0], buffer, out=buffers[0])
    return buffers[0] if buffers else np.zeros(height * width, np.int64)


def _nearest_of(
    soup: _Soup,
    part: slice,
    firsts: tuple[np.ndarray, np.ndarray],
    size: tuple[int, int],
) -> np.ndarray:
    """Z-buffer of a slice of the triangles; `firsts` are first rows and columns of the points."""
    first_row, first_column = firsts
    height, width = size
    a, b, c = (corner[part] for corner in soup.triangles)
    top, bottom = _extent(first_row[a], first_row[b], first_row[c])
    hit = np.flatnonzero(bottom > top)
    left, right = _extent(*(first_column[corner[hit]] for corner in (a, b, c)))
    hit = hit[right > left]
    if soup.one_sided is not None:
        one_sided = soup.one_sided[part]
        hit = hit[_is_front(soup.screen, a[hit], b[hit], c[hit]) | ~one_sided[hit]]
    edges = _edges(soup.screen, a[hit], b[hit], c[hit])
    ids = len(soup.owners) - part.start - hit
    top, rows = top[hit], (bottom - top)[hit]
    buffer = np.zeros(height * width, np.int64)
    ends = np.cumsum(rows)
    start = 0
    while start < len(hit):
        limit = (ends[start - 1] if start else 0) + _ROWS_AT_ONCE
        stop = max(start + 1, int(np.searchsorted(ends, limit)))
        part = slice(start, stop)
        _draw_rows(buffer, edges, ids, np.arange(start, stop), (top[part], rows[part], width))
        start = stop
    return buffer


def _is_front(screen: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Whether triangles with outward orientation face the camera."""
    x, y = np.ascontiguousarray(screen[:, 0]), np.ascontiguousarray(screen[:, 1])
    xa, ya = x[a], y[a]
    return (x[b] - xa) * (y[c] - ya) < (x[c] - xa) * (y[b] - ya)


def _first_centre(coordinates: np.ndarray, size: int) -> np.ndarray:
    """Index of the first pixel whose centre is at or after the coordinate, clipped to 0..size."""
    bounded = np.clip(coordinates, -_COORDINATE_LIMIT_PX, _COORDINATE_LIMIT_PX)
    return np.clip(np.ceil(bounded - 0.5), 0, size).astype(np.int32)


def _extent(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)


def _edges(screen: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> _Edges:
    height = screen[:, 1]
    # Triangles that share an edge compute it from its upper end, so that there are no cracks.
    for _ in range(2):
        swap = height[b] < height[a]
        a, b = np.where(swap, b, a), np.where(swap, a, b)
        swap = height[c] < height[b]
        b, c = np.where(swap, c, b), np.where(swap, b, c)
    (xa, ya, za), (xb, yb, zb), (xc, yc, zc) = (screen[corner].T for corner in (a, b, c))
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = (xb - xa) / (yb - ya), (xc - xa) / (yc - ya), (xc - xb) / (yc - yb)
        area = (xb - xa) * (yc - ya) - (xc - xa) * (yb - ya)
        dx = ((zb - za) * (yc - ya) - (zc - za) * (yb - ya)) / area
        dy = ((zc - za) * (xb - xa) - (zb - za) * (xc - xa)) / area
    flat = np.abs(area) < 1e-12
    dx[flat], dy[flat] = 0.0, 0.0
    return _Edges((xa, xb, xc), (ya, yb, yc), za, slopes, (dx, dy))


def _draw_rows(
    buffer: np.ndarray,
    edges: _Edges,
    ids: np.ndarray,
    part: np.ndarray,
    extent: tuple[np.ndarray, np.ndarray, int],
) -> None:
    """Split triangles into rows and draw them; `extent` is top row, number of rows, image width."""
    top, rows, width = extent
    which = np.repeat(part, rows)
    row = np.arange(len(which)) + np.repeat(top - (np.cumsum(rows) - rows), rows)
    y = row + 0.5
    xa, ya = edges.x[0][which], edges.y[0][which]
    to_second, to_third, second_to_third = (slope[which] for slope in edges.slopes)
    yb = edges.y[1][which]
    with np.errstate(invalid="ignore"):
        long_side = xa + (y - ya) * to_third
        upper = xa + (y - ya) * to_second
        lower = edges.x[1][which] + (y - yb) * second_to_third
    short_side = np.where(y < yb, upper, lower)
    left = _first_centre(np.minimum(long_side, short_side), width)
    right = _first_centre(np.maximum(long_side, short_side), width)
    hit = np.flatnonzero(right > left)
    which, row, left, lengths = which[hit], row[hit], left[hit], (right - left)[hit]
    dx, dy = (slope[which] for slope in edges.gradient)
    start = edges.inverse_z[which] + dx * (left + 0.5 - xa[hit]) + dy * (y[hit] - ya[hit])
    ends = np.cumsum(lengths)
    begin = 0
    while begin < len(which):
        limit = (ends[begin - 1] if begin else 0) + _PIXELS_AT_ONCE
        stop = max(begin + 1, int(np.searchsorted(ends, limit)))
        run = slice(begin, stop)
        pixel = row[run] * width + left[run]
        _draw_spans(buffer, pixel, lengths[run], start[run], dx[run], ids[which[run]])
        begin = stop


def _draw_spans(
    buffer: np.ndarray,
    pixels: np.ndarray,
    lengths: np.ndarray,
    inverse_z: np.ndarray,
    dx: np.ndarray,
    ids: np.ndarray,
) -> None:
    """Draw runs of pixels from `pixels` on, with `inverse_z` at the start and slope `dx`."""
    starts = np.cumsum(lengths) - lengths
    steps = np.arange(int(lengths.sum()))
    depth = np.repeat(inverse_z - starts * dx, lengths) + steps * np.repeat(dx, lengths)
    bits = np.maximum(depth, 1e-30).astype(np.float32).view(np.int32).astype(np.int64) << 32
    np.maximum.at(
        buffer, steps + np.repeat(pixels - starts, lengths), bits | np.repeat(ids, lengths)
    )


def _interpolate(corners: list[np.ndarray], pixels: np.ndarray, width: int) -> np.ndarray:
    """Perspective-correct colours of triangles at pixel centres.

    Args:
        corners: three arrays (6, K) of the triangle at each pixel: x, y, 1 / z, red, green, blue.
        pixels: (K,) row * width + column.
        width: of the image.

    Returns:
        (K, 4) uint8 RGBA.
    """
    row = pixels // width
    x = (pixels - row * width).astype(np.float32) + np.float32(0.5)
    y = row.astype(np.float32) + np.float32(0.5)
    a, b, c = corners
    weights = [_twice_area(b, c, x, y) * a[2], _twice_area(c, a, x, y) * b[2]]
    weights.append(_twice_area(a, b, x, y) * c[2])
    total = weights[0] + weights[1] + weights[2]
    scale = 1.0 / np.where(total == 0.0, np.float32(1.0), total)
    colors = np.zeros((3, len(pixels)), np.float32)
    for corner, weight in zip(corners, weights, strict=True):
        colors += corner[3:] * np.clip(weight * scale, 0.0, 1.0)
    rgba = np.full((len(pixels), 4), 255, np.uint8)
    rgba[:, :3] = (np.minimum(colors, 1.0) * 255.0 + 0.5).T
    return rgba


def _twice_area(a: np.ndarray, b: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed double area of the triangles (a, b, point); the sign is the side of the edge."""
    return (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])
