"""Triangle rasterizer for batches of images, on any device.

`rasterize` projects and culls triangles, and fills their pixels with the plain tensor operations of
`raster_fill`, or on a GPU with the Triton kernel of `raster_kernel`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from aios.accelerate.self_test import agree, kernels_possible

from .raster_fill import CELLS_PER_PIXEL, EMPTY, BoundingBoxes, active_indices, fill, unpack

NEAR_M = 0.1
_MAX_MISMATCH = 0.02
"""Share of pixels in which kernel and plain fill may differ: a pixel centre exactly on an edge can
fall to either side."""


@dataclass(frozen=True)
class Triangles:
    """T triangles in the frame of their image's camera.

    Attributes:
        corners: three tensors (3, T), metres.
        image: (T,) int64 image of the triangle, ascending.
        owner: (T,) int64 person, or -1.
        shown: (T,) bool; false triangles are not drawn.
        two_sided: (T,) bool: visible from behind, too.
    """

    corners: tuple[Tensor, Tensor, Tensor]
    image: Tensor
    owner: Tensor
    shown: Tensor
    two_sided: Tensor


@dataclass(frozen=True)
class RasterResult:
    """Output of `rasterize`.

    Attributes:
        keys: (B * H * W,) int64 packed depth and triangle number, or EMPTY.
        covered: (N, H * W) bool, pixels that each person would cover alone; empty if not requested.
    """

    keys: Tensor
    covered: Tensor


def rasterize(
    triangles: Triangles,
    focal_length: Tensor,
    size_hw: tuple[int, int],
    keys: Tensor | None = None,
    people: int = 0,
    first_number: int = 0,
) -> RasterResult:
    """Draw triangles into B images.

    Args:
        triangles: geometry to draw.
        focal_length: (B,) pixels; the principal point is the image centre.
        size_hw: image size, pixels.
        keys: (B * H * W,) earlier result to draw into, changed in place; None starts empty.
        people: number of people for which `covered` is computed.
        first_number: number packed with triangle 0.
    """
    pixels, device = size_hw[0] * size_hw[1], focal_length.device
    if keys is None:
        keys = torch.full((len(focal_length) * pixels,), EMPTY, device=device)
    covered = torch.zeros(people * pixels + 1, dtype=torch.bool, device=device)
    boxes = bounding_boxes(triangles, focal_length, size_hw, first_number)
    select_fill(device)(boxes, focal_length, size_hw, keys, covered)
    return RasterResult(keys, covered[: people * pixels].view(people, pixels))


Fill = Callable[[BoundingBoxes, Tensor, tuple[int, int], Tensor, Tensor], None]


@cache
def select_fill(device: torch.device) -> Fill:
    """The Triton kernel if it is available and agrees with the plain fill, else the plain fill."""
    if not kernels_possible(device):
        return fill

    def both() -> tuple[list[Tensor], list[Tensor]]:
        from .raster_kernel import fill_by_kernel

        share = _matching_share(device, fill_by_kernel)
        return [share], [torch.ones_like(share)]

    if not agree("Scenes are rasterized without the Triton kernel", both, _MAX_MISMATCH):
        return fill
    from .raster_kernel import fill_by_kernel

    return fill_by_kernel


def _matching_share(device: torch.device, kernel: Fill) -> Tensor:
    """(3,) share of equal triangle numbers, depths and coverage, for 64 random triangles."""
    source = torch.Generator().manual_seed(0)
    middles = torch.rand(3, 64, generator=source) * 2 - 1
    middles[2] += 3
    corners = [middles + torch.randn(3, 64, generator=source) * 0.3 for _ in range(3)]
    a, b, c = (corner.to(device) for corner in corners)
    number = torch.arange(64, device=device)
    yes = torch.ones(64, dtype=torch.bool, device=device)
    triangles = Triangles((a, b, c), number // 32, number % 5 - 1, yes, yes)
    focal_length, size_hw = torch.full((2,), 30.0, device=device), (24, 32)
    boxes = bounding_boxes(triangles, focal_length, size_hw, 7)
    results = []
    for fill_variant in (kernel, fill):
        keys = torch.full((2 * 24 * 32,), EMPTY, device=device)
        covered = torch.zeros(4 * 24 * 32 + 1, dtype=torch.bool, device=device)
        fill_variant(boxes, focal_length, size_hw, keys, covered)
        number, depth = unpack(keys)
        results.append((number, (depth * 100).nan_to_num(posinf=-1).round(), covered[:-1]))
    return torch.stack([(a == b).float().mean() for a, b in zip(*results, strict=True)])


def bounding_boxes(
    triangles: Triangles, focal_length: Tensor, size_hw: tuple[int, int], first_number: int
) -> BoundingBoxes:
    """Cull triangles and compute the pixel bounding boxes and edge functions of the rest."""
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = triangles.corners
    # Signed volume between triangle and camera centre: negative if the front side is visible.
    volume = ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
    nearest = torch.minimum(torch.minimum(az, bz), cz)
    seen = triangles.shown & (nearest > NEAR_M) & ((volume < 0) | triangles.two_sided)
    number = active_indices(seen)
    corners = [corner.index_select(1, number) for corner in triangles.corners]
    focal = focal_length[triangles.image[number]]
    scales = [focal / corner[2].clamp_min(NEAR_M) for corner in corners]
    lows, spans = [], []
    for axis, length in ((0, size_hw[1]), (1, size_hw[0])):
        flat = [corner[axis] * scale for corner, scale in zip(corners, scales, strict=True)]
        low = torch.minimum(torch.minimum(flat[0], flat[1]), flat[2]) + (length / 2 - 0.5)
        high = torch.maximum(torch.maximum(flat[0], flat[1]), flat[2]) + (length / 2 - 0.5)
        low = low.ceil().clamp(0, length)
        lows.append(low)
        spans.append((high.floor().clamp(-1, length - 1) - low + 1).clamp_min(0))
    kept = active_indices((spans[0] > 0) & (spans[1] > 0) & seen[number])
    low = torch.stack(lows).index_select(1, kept)
    span = (torch.stack(spans) * seen[number]).index_select(1, kept)
    number = number[kept]
    a, b, c = (corner.index_select(1, kept) for corner in corners)
    volume = volume[number]
    pairs = ((b, c), (c, a), (a, b))
    planes = torch.stack([torch.linalg.cross(*pair, dim=0) for pair in pairs], 1).flatten(0, 1)
    planes = torch.cat([planes, volume[None]]) * torch.where(volume < 0, -1.0, 1.0)
    image = triangles.image[number]
    areas = _within_limit((span[0] * span[1]).long(), image, len(focal_length), size_hw)
    owner = triangles.owner[number]
    return BoundingBoxes(planes, low, span, areas, image, owner, number + first_number)


def _within_limit(areas: Tensor, image: Tensor, images: int, size_hw: tuple[int, int]) -> Tensor:
    """(K,) areas, set to 0 for triangles beyond the cell limit of their image."""
    limit = CELLS_PER_PIXEL * size_hw[0] * size_hw[1]
    per_image = torch.zeros(images, dtype=torch.int64, device=areas.device)
    per_image.index_add_(0, image, areas)
    before = per_image.cumsum(0) - per_image
    return torch.where(areas.cumsum(0) - before[image] > limit, 0, areas)
