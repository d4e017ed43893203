"""Filling of projected triangles into a packed depth buffer, with plain tensor operations.

The bounding box of every triangle is expanded into its pixels. Pixels whose centre lies inside the
triangle are packed as (depth << 32 | triangle) into int64, and one `scatter_reduce("amin")` finds
the nearest depth and its triangle for every pixel. There is no loop over triangles or pixels, and
edges, depths and occlusion are exact to the pixel centre. `raster_kernel` does the same in one
Triton kernel.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

EMPTY = torch.iinfo(torch.int64).max
"""Key of a pixel that no triangle covers."""
DEPTH_STEPS = 65536.0  # per metre
FARTHEST_M = 3e4
SLACK = -1e-6
"""Smallest barycentric weight that counts as inside."""
CELLS_PER_PIXEL = 7
"""Limit of bounding-box pixels per image, in images; triangles beyond the limit are dropped."""
_LOW_WORD = 0xFFFFFFFF


@dataclass(frozen=True)
class BoundingBoxes:
    """Pixel bounding boxes of the K potentially visible triangles.

    Attributes:
        planes: (10, K) edge functions, coordinate by corner, then the volume between triangle and
            camera centre.
        low: (2, K) first pixel x, y; integers stored as float32.
        span: (2, K) width and height, pixels.
        areas: (K,) int64 pixels; 0 for dropped triangles.
        image: (K,) int64 image of the triangle.
        owner: (K,) int64 person, or -1.
        label: (K,) int64 number packed with the depth.
    """

    planes: Tensor
    low: Tensor
    span: Tensor
    areas: Tensor
    image: Tensor
    owner: Tensor
    label: Tensor


def fill(
    boxes: BoundingBoxes,
    focal_length: Tensor,
    size_hw: tuple[int, int],
    keys: Tensor,
    covered: Tensor,
) -> None:
    """Rasterize triangles into `keys`, and mark the pixels of each owner in `covered`, in place.

    Args:
        boxes: triangles of B images.
        focal_length: (B,) pixels.
        size_hw: image size, pixels.
        keys: (B * H * W,) packed depth buffer, see `raster.RasterResult`.
        covered: (N * H * W + 1,) bool; the last element is a dump for pixels without an owner.
    """
    height, width = size_hw
    pixels = height * width
    triangle, cell, valid = _expand(boxes.areas, len(focal_length) * pixels)
    # Integers stored as floats are exact at these sizes, and integer division is slow.
    box_width = boxes.span[0][triangle].clamp_min(1)
    row = ((cell + 0.5) / box_width).floor()
    x, y = boxes.low[0][triangle] + cell - row * box_width, boxes.low[1][triangle] + row
    focal = focal_length[boxes.image]
    ray_x = (x + (0.5 - width / 2)) / focal[triangle]
    ray_y = (y + (0.5 - height / 2)) / focal[triangle]
    chosen = boxes.planes.index_select(1, triangle)
    first, second, third = (
        chosen[k] * ray_x + chosen[k + 3] * ray_y + chosen[k + 6] for k in range(3)
    )
    total = first + second + third
    least = torch.minimum(torch.minimum(first, second), third)
    inside = (least >= SLACK * total) & valid & (total > 0)
    kept = active_indices(inside)
    inside, triangle, total = inside[kept], triangle[kept], total[kept]
    cell = (y[kept] * width + x[kept]).long()
    depth = (chosen[9][kept] / total).clamp(0, FARTHEST_M)
    packed = ((depth * DEPTH_STEPS).long() << 32) | boxes.label[triangle]
    packed = torch.where(inside, packed, EMPTY)
    # Outside pixels write EMPTY, which changes nothing. Their targets are spread over the buffer:
    # on a GPU, writes to a single element are serialised.
    spread = torch.arange(len(cell), device=cell.device) % len(keys)
    target = torch.where(inside, boxes.image[triangle] * pixels + cell, spread)
    keys.scatter_reduce_(0, target, packed, "amin")
    if len(covered) > 1:
        owner = boxes.owner[triangle]
        cover = torch.where(inside & (owner >= 0), owner * pixels + cell, len(covered) - 1)
        covered.index_fill_(0, cover, True)  # indexing with a Python value would copy it to a GPU


def _expand(areas: Tensor, pixels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Expand bounding boxes into a flat list of their pixels ("cells").

    Args:
        areas: (K,) pixels of each box, within the limit.
        pixels: pixels of all images together.

    Returns:
        (M,) triangle, (M,) index of the cell in its bounding box, (M,) bool valid.
    """
    if not len(areas):
        empty = torch.zeros(0, dtype=torch.int64, device=areas.device)
        return empty, empty, empty.bool()
    ends = areas.cumsum(0)
    starts = ends - areas
    total = int(ends[-1]) if areas.device.type == "cpu" else pixels * CELLS_PER_PIXEL
    # A cell belongs to the last triangle that starts at or before it. This uses cumsum rather than
    # cummax: a GPU computes cumsum of a long row in parallel, but cummax with a few processors.
    begun = torch.zeros(total + 1, dtype=torch.int32, device=areas.device)
    one = begun.new_ones(1).expand(len(areas))
    begun.scatter_add_(0, starts.clamp_max(total), one)
    triangle = begun[:-1].cumsum(0, dtype=torch.int32) - 1
    cell = torch.arange(total, device=areas.device) - starts[triangle]
    return triangle, cell, cell < areas[triangle]


def active_indices(mask: Tensor) -> Tensor:
    """Indices of the true entries of a mask.

    On a GPU all indices are returned, because counting the true ones would synchronise with it.
    Callers therefore keep applying the mask.
    """
    if mask.device.type == "cpu":
        return torch.nonzero(mask)[:, 0]
    return torch.arange(len(mask), device=mask.device)


def unpack(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Packed keys -> triangle (0 on empty pixels) and metres (infinite on empty pixels)."""
    drawn = keys < EMPTY
    depth = torch.where(drawn, (keys >> 32).float() / DEPTH_STEPS, torch.inf)
    return torch.where(drawn, keys & _LOW_WORD, 0), depth
