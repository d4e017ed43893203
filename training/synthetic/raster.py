"""Drawing triangles by plain tensor operations, for many pictures at once.

Every triangle is cut into the pixels of its bounding box; those whose centre lies inside are packed
as (depth << 32 | triangle) into int64, and one `scatter_reduce("amin")` finds for each pixel both
the nearest depth and what lies there. There is no loop over triangles or pixels, and nothing is
drawn to within a pixel only: edges, depths and hidden parts are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .chance import constant

EMPTY = torch.iinfo(torch.int64).max
NEAR_M = 0.1
_DEPTH_STEPS = 65536.0  # per metre
_FARTHEST_M = 3e4
_LOW_WORD = 0xFFFFFFFF
_CELLS_PER_PIXEL = 7
"""Cells of bounding boxes a picture may need, in pictures: more than that are left out."""
_SLACK = -1e-6


@dataclass(frozen=True)
class Triangles:
    """T triangles in the frame of their picture's camera.

    Attributes:
        corners: three times (T, 3) metres.
        picture: (T,) int64, ascending.
        owner: (T,) int64 person, or -1.
        shown: (T,) bool.
        two_sided: (T,) bool: seen from behind, too.
    """

    corners: tuple[Tensor, Tensor, Tensor]
    picture: Tensor
    owner: Tensor
    shown: Tensor
    two_sided: Tensor


@dataclass(frozen=True)
class Drawn:
    """What a call of `draw` found out.

    Attributes:
        keys: (B * H * W,) int64 packed depth and number of the triangle, or EMPTY.
        covered: (N, H * W) bool, pixels of each person when nobody else is there; empty if not
            asked for.
    """

    keys: Tensor
    covered: Tensor


def draw(
    triangles: Triangles,
    focal_length: Tensor,
    size_hw: tuple[int, int],
    keys: Tensor | None = None,
    people: int = 0,
    first_number: int = 0,
) -> Drawn:
    """Draw into B pictures.

    Args:
        triangles: what to draw.
        focal_length: (B,) pixels, principal point in the middle.
        size_hw: pixels.
        keys: (B * H * W,) what was drawn before; it is changed in place. None starts afresh.
        people: number of people of whom `covered` is wanted.
        first_number: the number packed with triangle 0.
    """
    (height, width), count = size_hw, len(focal_length)
    pixels = height * width
    device = focal_length.device
    if keys is None:
        keys = torch.full((count * pixels,), EMPTY, device=device)
    covered = torch.zeros(people * pixels, dtype=torch.bool, device=device)
    number, planes, volume, low, span = _set_up(triangles, focal_length, size_hw)
    picture = triangles.picture[number]
    triangle, cell, valid = _cells(span[:, 0] * span[:, 1], picture, count, pixels)
    wide = span[triangle, 0].clamp_min(1)
    down = torch.div(cell, wide, rounding_mode="floor")
    x, y = low[triangle, 0] + cell - down * wide, low[triangle, 1] + down
    focal = focal_length[picture[triangle]]
    ray_x, ray_y = (x + (0.5 - width / 2)) / focal, (y + (0.5 - height / 2)) / focal
    # Written out by components: sums over a last dimension of three are slow.
    chosen = planes.index_select(0, triangle).unbind(1)
    first, second, third = (
        chosen[k] * ray_x + chosen[k + 3] * ray_y + chosen[k + 6] for k in range(3)
    )
    total = first + second + third
    least = torch.minimum(torch.minimum(first, second), third)
    inside = (least >= _SLACK * total) & valid & (total > 0)
    depth = volume[triangle] / total
    packed = (depth.clamp(0, _FARTHEST_M) * _DEPTH_STEPS).long() << 32
    packed = packed | (number[triangle] + first_number)
    place = picture[triangle] * pixels + y * width + x
    packed = torch.where(inside, packed, EMPTY)
    keys.scatter_reduce_(0, torch.where(inside, place, 0), packed, "amin")
    if people:
        owner = triangles.owner[number][triangle]
        mine = inside & (owner >= 0)
        spare = torch.zeros(1, dtype=torch.bool, device=device)
        covered = torch.cat([covered, spare])
        cover_place = torch.where(mine, owner * pixels + y * width + x, people * pixels)
        covered[cover_place] = True
        covered = covered[:-1]
    return Drawn(keys, covered.view(people, pixels))


def _set_up(
    triangles: Triangles, focal_length: Tensor, size_hw: tuple[int, int]
) -> tuple[Tensor, ...]:
    """Which triangles may be seen, and what tells their inside.

    Returns:
        (K,) their numbers; (K, 9) planes, coordinate by corner; (K,) volume under them;
        (K, 2) first pixel x, y; (K, 2) how many pixels wide and high.
    """
    a, b, c = triangles.corners
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = (corner.unbind(1) for corner in (a, b, c))
    # The volume between the triangle and the lens: negative when its front is seen.
    volume = ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
    nearest = torch.minimum(torch.minimum(az, bz), cz)
    seen = triangles.shown & (nearest > NEAR_M) & ((volume < 0) | triangles.two_sided)
    number = those(seen)
    a, b, c, volume = a[number], b[number], c[number], volume[number]
    focal = focal_length[triangles.picture[number]]
    middle = constant((size_hw[1] / 2, size_hw[0] / 2), focal.device)
    flat = [p[:, :2] * (focal / p[:, 2].clamp_min(NEAR_M))[:, None] + middle for p in (a, b, c)]
    low = torch.minimum(torch.minimum(flat[0], flat[1]), flat[2])
    high = torch.maximum(torch.maximum(flat[0], flat[1]), flat[2])
    limit = 2 * middle
    low = (low - 0.5).ceil().clamp_min(0).minimum(limit)
    high = (high - 0.5).floor().clamp_min(-1).minimum(limit - 1)
    span = (high - low + 1).clamp_min(0) * seen[number][:, None]
    kept = those((span[:, 0] > 0) & (span[:, 1] > 0))
    number, low, span, volume = number[kept], low[kept].long(), span[kept].long(), volume[kept]
    a, b, c = a[kept], b[kept], c[kept]
    sign = torch.where(volume < 0, -1.0, 1.0)
    planes = torch.stack([torch.linalg.cross(*pair) for pair in ((b, c), (c, a), (a, b))], 2)
    return number, planes.flatten(1) * sign[:, None], volume * sign, low, span


def those(mask: Tensor) -> Tensor:
    """Numbers of the true entries; on a GPU all numbers, since counting them would wait for it."""
    if mask.device.type == "cpu":
        return torch.nonzero(mask)[:, 0]
    return torch.arange(len(mask), device=mask.device)


def _cells(
    areas: Tensor, picture: Tensor, pictures: int, pixels: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Spread bounding boxes over a list of cells, at most so many a picture.

    Args:
        areas: (K,) cells of each triangle.
        picture: (K,) ascending.
        pictures: B.
        pixels: of one picture.

    Returns:
        (M,) triangle, (M,) number of the cell in its bounding box, (M,) bool: is a cell at all.
    """
    limit = _CELLS_PER_PIXEL * pixels
    ends = areas.cumsum(0)
    per_picture = torch.zeros(pictures, dtype=torch.int64, device=areas.device)
    per_picture.index_add_(0, picture, areas)
    before = per_picture.cumsum(0) - per_picture
    full = (ends - before[picture]) > limit
    areas = torch.where(full, 0, areas)
    ends = areas.cumsum(0)
    starts = ends - areas
    total = int(ends[-1]) if areas.device.type == "cpu" and len(ends) else pictures * limit
    if not len(areas):
        empty = torch.zeros(0, dtype=torch.int64, device=areas.device)
        return empty, empty, empty.bool()
    triangle = torch.zeros(total + 1, dtype=torch.int64, device=areas.device)
    numbers = torch.arange(len(areas), device=areas.device)
    # Of several that start in one place only the last has any cells.
    triangle.scatter_reduce_(0, starts.clamp_max(total), numbers, "amax")
    triangle = triangle[:-1].cummax(0).values
    cell = torch.arange(total, device=areas.device) - starts[triangle]
    return triangle, cell, cell < areas[triangle]


def unpack(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Packed -> triangle (0 where nothing is) and depth in metres (infinite where nothing is)."""
    drawn = keys < EMPTY
    depth = torch.where(drawn, (keys >> 32).float() / _DEPTH_STEPS, torch.inf)
    return torch.where(drawn, keys & _LOW_WORD, 0), depth
