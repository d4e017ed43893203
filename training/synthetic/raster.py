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
        corners: three times (3, T) metres.
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
    covered = torch.zeros(people * pixels + 1, dtype=torch.bool, device=device)
    number, planes, low, span = _set_up(triangles, focal_length, size_hw)
    picture = triangles.picture[number]
    triangle, cell, valid = _cells((span[0] * span[1]).long(), picture, count, pixels)
    # Whole numbers as floats, exact at these sizes: dividing integers is slow.
    wide = span[0][triangle].clamp_min(1)
    down = ((cell + 0.5) / wide).floor()
    x, y = low[0][triangle] + cell - down * wide, low[1][triangle] + down
    focal = focal_length[picture]
    ray_x = (x + (0.5 - width / 2)) / focal[triangle]
    ray_y = (y + (0.5 - height / 2)) / focal[triangle]
    chosen = planes.index_select(1, triangle)
    first, second, third = (
        chosen[k] * ray_x + chosen[k + 3] * ray_y + chosen[k + 6] for k in range(3)
    )
    total = first + second + third
    least = torch.minimum(torch.minimum(first, second), third)
    inside = (least >= _SLACK * total) & valid & (total > 0)
    kept = those(inside)
    inside, triangle, total = inside[kept], triangle[kept], total[kept]
    cell = (y[kept] * width + x[kept]).long()
    depth = (chosen[9][kept] / total).clamp(0, _FARTHEST_M)
    packed = ((depth * _DEPTH_STEPS).long() << 32) | (number[triangle] + first_number)
    packed = torch.where(inside, packed, EMPTY)
    # What lies outside changes nothing, but on a GPU it would wait in line for one place.
    anywhere = torch.arange(len(cell), device=device) % len(keys)
    place = torch.where(inside, picture[triangle] * pixels + cell, anywhere)
    keys.scatter_reduce_(0, place, packed, "amin")
    if people:
        owner = triangles.owner[number[triangle]]
        cover = torch.where(inside & (owner >= 0), owner * pixels + cell, people * pixels)
        covered.index_fill_(0, cover, True)  # a value in an index would be copied to a GPU
    return Drawn(keys, covered[: people * pixels].view(people, pixels))


def _set_up(
    triangles: Triangles, focal_length: Tensor, size_hw: tuple[int, int]
) -> tuple[Tensor, ...]:
    """Which triangles may be seen, and what tells their inside.

    Returns:
        (K,) their numbers; (10, K) planes, coordinate by corner, and the volume under the triangle;
        (2, K) first pixel x, y; (2, K) how many pixels wide and high, whole numbers as floats.
    """
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = triangles.corners
    # The volume between the triangle and the lens: negative when its front is seen.
    volume = ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
    nearest = torch.minimum(torch.minimum(az, bz), cz)
    seen = triangles.shown & (nearest > NEAR_M) & ((volume < 0) | triangles.two_sided)
    number = those(seen)
    corners = [corner.index_select(1, number) for corner in triangles.corners]
    focal = focal_length[triangles.picture[number]]
    scales = [focal / corner[2].clamp_min(NEAR_M) for corner in corners]
    lows, spans = [], []
    for axis, length in ((0, size_hw[1]), (1, size_hw[0])):
        flat = [corner[axis] * scale for corner, scale in zip(corners, scales, strict=True)]
        low = torch.minimum(torch.minimum(flat[0], flat[1]), flat[2]) + (length / 2 - 0.5)
        high = torch.maximum(torch.maximum(flat[0], flat[1]), flat[2]) + (length / 2 - 0.5)
        low = low.ceil().clamp(0, length)
        lows.append(low)
        spans.append((high.floor().clamp(-1, length - 1) - low + 1).clamp_min(0))
    kept = those((spans[0] > 0) & (spans[1] > 0) & seen[number])
    low = torch.stack(lows).index_select(1, kept)
    span = (torch.stack(spans) * seen[number]).index_select(1, kept)
    number = number[kept]
    a, b, c = (corner.index_select(1, kept) for corner in corners)
    volume = volume[number]
    pairs = ((b, c), (c, a), (a, b))
    planes = torch.stack([torch.linalg.cross(*pair, dim=0) for pair in pairs], 1).flatten(0, 1)
    planes = torch.cat([planes, volume[None]]) * torch.where(volume < 0, -1.0, 1.0)
    return number, planes, low, span


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
    # Each cell belongs to the last triangle that starts at it or before. A running sum, and not a
    # running maximum: a GPU sums a long row with all its processors, but compares with a few.
    begun = torch.zeros(total + 1, dtype=torch.int32, device=areas.device)
    one = begun.new_ones(1).expand(len(areas))
    begun.scatter_add_(0, starts.clamp_max(total), one)
    triangle = begun[:-1].cumsum(0, dtype=torch.int32) - 1
    cell = torch.arange(total, device=areas.device) - starts[triangle]
    return triangle, cell, cell < areas[triangle]


def unpack(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Packed -> triangle (0 where nothing is) and depth in metres (infinite where nothing is)."""
    drawn = keys < EMPTY
    depth = torch.where(drawn, (keys >> 32).float() / _DEPTH_STEPS, torch.inf)
    return torch.where(drawn, keys & _LOW_WORD, 0), depth
