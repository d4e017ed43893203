"""Drawing triangles by plain tensor operations, for many pictures at once.

Every triangle is cut into the pixels of its bounding box; those whose centre lies inside are packed
as (depth << 32 | triangle) into int64, and one `scatter_reduce("amin")` finds for each pixel both
the nearest depth and what lies there. There is no loop over triangles or pixels, and nothing is
drawn to within a pixel only: edges, depths and hidden parts are exact.  On a GPU a Triton kernel
walks through the boxes instead, see `raster_kernel`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from aios.accelerate.self_test import agree, kernels_possible

EMPTY = torch.iinfo(torch.int64).max
NEAR_M = 0.1
DEPTH_STEPS = 65536.0  # per metre
FARTHEST_M = 3e4
_LOW_WORD = 0xFFFFFFFF
_CELLS_PER_PIXEL = 7
"""Cells of bounding boxes a picture may need, in pictures: more than that are left out."""
SLACK = -1e-6
_MOST_OTHER = 0.02
"""Share of pixels: a centre that lies exactly on an edge may fall to either side."""


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
    pixels, device = size_hw[0] * size_hw[1], focal_length.device
    if keys is None:
        keys = torch.full((len(focal_length) * pixels,), EMPTY, device=device)
    covered = torch.zeros(people * pixels + 1, dtype=torch.bool, device=device)
    boxes = _bounding_boxes(triangles, focal_length, size_hw, first_number)
    _filler(device)(boxes, focal_length, size_hw, keys, covered)
    return Drawn(keys, covered[: people * pixels].view(people, pixels))


@dataclass(frozen=True)
class Boxes:
    """Bounding boxes of the K triangles that may be seen.

    Attributes:
        planes: (10, K) what tells the inside, coordinate by corner, and the volume under the
            triangle.
        low: (2, K) first pixel x, y, whole numbers as floats.
        span: (2, K) how many pixels wide and high.
        areas: (K,) int64 pixels, 0 of those left out.
        picture: (K,) int64.
        owner: (K,) int64 person, or -1.
        label: (K,) int64 packed with the depth.
    """

    planes: Tensor
    low: Tensor
    span: Tensor
    areas: Tensor
    picture: Tensor
    owner: Tensor
    label: Tensor


Fill = Callable[[Boxes, Tensor, tuple[int, int], Tensor, Tensor], None]


@cache
def _filler(device: torch.device) -> Fill:
    """The kernel where it gives the pictures of the plain way, else that one."""
    if not kernels_possible(device):
        return fill

    def both() -> tuple[list[Tensor], list[Tensor]]:
        from .raster_kernel import fill_by_kernel

        share = _share_of_same(device, fill_by_kernel)
        return [share], [torch.ones_like(share)]

    if not agree("Scenes are drawn without their kernel", both, _MOST_OTHER):
        return fill
    from .raster_kernel import fill_by_kernel

    return fill_by_kernel


def _share_of_same(device: torch.device, kernel: Fill) -> Tensor:
    """(3,) share of numbers, depths and covers of a few random triangles."""
    source = torch.Generator().manual_seed(0)
    middles = torch.rand(3, 64, generator=source) * 2 - 1
    middles[2] += 3
    corners = [middles + torch.randn(3, 64, generator=source) * 0.3 for _ in range(3)]
    a, b, c = (corner.to(device) for corner in corners)
    number = torch.arange(64, device=device)
    yes = torch.ones(64, dtype=torch.bool, device=device)
    triangles = Triangles((a, b, c), number // 32, number % 5 - 1, yes, yes)
    focal_length, size_hw = torch.full((2,), 30.0, device=device), (24, 32)
    boxes = _bounding_boxes(triangles, focal_length, size_hw, 7)
    found = []
    for way in (kernel, fill):
        keys = torch.full((2 * 24 * 32,), EMPTY, device=device)
        covered = torch.zeros(4 * 24 * 32 + 1, dtype=torch.bool, device=device)
        way(boxes, focal_length, size_hw, keys, covered)
        number, depth = unpack(keys)
        found.append((number, (depth * 100).nan_to_num(posinf=-1).round(), covered[:-1]))
    return torch.stack([(one == other).float().mean() for one, other in zip(*found, strict=True)])


def fill(
    boxes: Boxes, focal_length: Tensor, size_hw: tuple[int, int], keys: Tensor, covered: Tensor
) -> None:
    """Put what lies within boxes into `keys`, and true into `covered` where it has an owner.

    Args:
        boxes: of B pictures.
        focal_length: (B,) pixels.
        size_hw: pixels.
        keys: (B * H * W,) as in `Drawn`.
        covered: (N * H * W + 1,) bool; the last means nothing.
    """
    height, width = size_hw
    pixels = height * width
    triangle, cell, valid = _cells(boxes.areas, len(focal_length) * pixels)
    # Whole numbers as floats, exact at these sizes: dividing integers is slow.
    wide = boxes.span[0][triangle].clamp_min(1)
    down = ((cell + 0.5) / wide).floor()
    x, y = boxes.low[0][triangle] + cell - down * wide, boxes.low[1][triangle] + down
    focal = focal_length[boxes.picture]
    ray_x = (x + (0.5 - width / 2)) / focal[triangle]
    ray_y = (y + (0.5 - height / 2)) / focal[triangle]
    chosen = boxes.planes.index_select(1, triangle)
    first, second, third = (
        chosen[k] * ray_x + chosen[k + 3] * ray_y + chosen[k + 6] for k in range(3)
    )
    total = first + second + third
    least = torch.minimum(torch.minimum(first, second), third)
    inside = (least >= SLACK * total) & valid & (total > 0)
    kept = those(inside)
    inside, triangle, total = inside[kept], triangle[kept], total[kept]
    cell = (y[kept] * width + x[kept]).long()
    depth = (chosen[9][kept] / total).clamp(0, FARTHEST_M)
    packed = ((depth * DEPTH_STEPS).long() << 32) | boxes.label[triangle]
    packed = torch.where(inside, packed, EMPTY)
    # What lies outside changes nothing, but on a GPU it would wait in line for one place.
    anywhere = torch.arange(len(cell), device=cell.device) % len(keys)
    place = torch.where(inside, boxes.picture[triangle] * pixels + cell, anywhere)
    keys.scatter_reduce_(0, place, packed, "amin")
    if len(covered) > 1:
        owner = boxes.owner[triangle]
        cover = torch.where(inside & (owner >= 0), owner * pixels + cell, len(covered) - 1)
        covered.index_fill_(0, cover, True)  # a value in an index would be copied to a GPU


def _bounding_boxes(
    triangles: Triangles, focal_length: Tensor, size_hw: tuple[int, int], first_number: int
) -> Boxes:
    """Which triangles may be seen, where, and what tells their inside."""
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
    picture = triangles.picture[number]
    areas = _limited((span[0] * span[1]).long(), picture, len(focal_length), size_hw)
    owner = triangles.owner[number]
    return Boxes(planes, low, span, areas, picture, owner, number + first_number)


def those(mask: Tensor) -> Tensor:
    """Numbers of the true entries; on a GPU all numbers, since counting them would wait for it."""
    if mask.device.type == "cpu":
        return torch.nonzero(mask)[:, 0]
    return torch.arange(len(mask), device=mask.device)


def _limited(areas: Tensor, picture: Tensor, pictures: int, size_hw: tuple[int, int]) -> Tensor:
    """The same (K,) areas with 0 for those that come when their picture has cells enough."""
    limit = _CELLS_PER_PIXEL * size_hw[0] * size_hw[1]
    per_picture = torch.zeros(pictures, dtype=torch.int64, device=areas.device)
    per_picture.index_add_(0, picture, areas)
    before = per_picture.cumsum(0) - per_picture
    return torch.where(areas.cumsum(0) - before[picture] > limit, 0, areas)


def _cells(areas: Tensor, pixels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Spread bounding boxes over a list of cells.

    Args:
        areas: (K,) cells of each triangle, within the limit.
        pixels: of all pictures.

    Returns:
        (M,) triangle, (M,) number of the cell in its bounding box, (M,) bool: is a cell at all.
    """
    if not len(areas):
        empty = torch.zeros(0, dtype=torch.int64, device=areas.device)
        return empty, empty, empty.bool()
    ends = areas.cumsum(0)
    starts = ends - areas
    total = int(ends[-1]) if areas.device.type == "cpu" else pixels * _CELLS_PER_PIXEL
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
    depth = torch.where(drawn, (keys >> 32).float() / DEPTH_STEPS, torch.inf)
    return torch.where(drawn, keys & _LOW_WORD, 0), depth
