"""Triangle filling as one Triton kernel, equivalent to `raster_fill.fill`.

The plain fill builds a list of all bounding-box pixels, which is far longer than the images and is
read and written by every operation. Here each program walks through the boxes of a few triangles
and keeps all values in registers. Triton is part of the CUDA build of torch, so this module is
imported only if the kernel is used.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .raster_fill import DEPTH_STEPS, FARTHEST_M, SLACK, BoundingBoxes

SIZES = {
    "SLACK": SLACK,
    "STEPS": DEPTH_STEPS,
    "FARTHEST": FARTHEST_M,
    "TRIANGLES": 16,
    "CELLS": 32,
}
"""Compile-time constants of the kernel: each program handles TRIANGLES triangles and CELLS pixels
of each at a time."""


@triton.jit
def fill_kernel(  # noqa: PLR0913 - Triton kernels take plain arguments only
    planes: tl.tensor,
    low: tl.tensor,
    span: tl.tensor,
    areas: tl.tensor,
    image_of: tl.tensor,
    owner: tl.tensor,
    label: tl.tensor,
    focal_length: tl.tensor,
    keys: tl.tensor,
    covered: tl.tensor,
    count: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    SLACK: tl.constexpr,
    STEPS: tl.constexpr,
    FARTHEST: tl.constexpr,
    TRIANGLES: tl.constexpr,
    CELLS: tl.constexpr,
    PEOPLE: tl.constexpr,
) -> None:
    """Fill the boxes of one block of triangles; arguments as in `fill_by_kernel`, contiguous."""
    triangle = tl.program_id(0).to(tl.int64) * TRIANGLES + tl.arange(0, TRIANGLES)
    exists = triangle < count
    area = tl.load(areas + triangle, mask=exists, other=0)
    most = tl.max(area, 0).to(tl.int32)
    if most > 0:
        active = exists & (area > 0)
        pixels = (height * width).to(tl.int64)
        left = tl.load(low + triangle, mask=active, other=0.0)
        top = tl.load(low + count + triangle, mask=active, other=0.0)
        wide = tl.maximum(tl.load(span + triangle, mask=active, other=1.0), 1.0)
        image = tl.load(image_of + triangle, mask=active, other=0)
        focal = tl.load(focal_length + image, mask=active, other=1.0)
        number = tl.load(label + triangle, mask=active, other=0)
        ax = tl.load(planes + triangle, mask=active, other=0.0)
        bx = tl.load(planes + count + triangle, mask=active, other=0.0)
        cx = tl.load(planes + 2 * count + triangle, mask=active, other=0.0)
        ay = tl.load(planes + 3 * count + triangle, mask=active, other=0.0)
        by = tl.load(planes + 4 * count + triangle, mask=active, other=0.0)
        cy = tl.load(planes + 5 * count + triangle, mask=active, other=0.0)
        az = tl.load(planes + 6 * count + triangle, mask=active, other=0.0)
        bz = tl.load(planes + 7 * count + triangle, mask=active, other=0.0)
        cz = tl.load(planes + 8 * count + triangle, mask=active, other=0.0)
        volume = tl.load(planes + 9 * count + triangle, mask=active, other=0.0)
        who = tl.full((TRIANGLES,), -1, tl.int64)
        if PEOPLE:
            who = tl.load(owner + triangle, mask=active, other=-1)
        start = 0
        while start < most:
            cell = start + tl.arange(0, CELLS)
            start += CELLS
            filled = cell[None, :] < area[:, None]
            place = cell.to(tl.float32)[None, :]
            down = tl.floor((place + 0.5) / wide[:, None])
            x = left[:, None] + place - down * wide[:, None]
            y = top[:, None] + down
            ray_x = (x + (0.5 - width / 2)) / focal[:, None]
            ray_y = (y + (0.5 - height / 2)) / focal[:, None]
            first = ax[:, None] * ray_x + ay[:, None] * ray_y + az[:, None]
            second = bx[:, None] * ray_x + by[:, None] * ray_y + bz[:, None]
            third = cx[:, None] * ray_x + cy[:, None] * ray_y + cz[:, None]
            total = first + second + third
            least = tl.minimum(tl.minimum(first, second), third)
            inside = filled & (least >= SLACK * total) & (total > 0)
            depth = volume[:, None] / tl.where(inside, total, 1.0)
            depth = tl.minimum(tl.maximum(depth, 0.0), FARTHEST)
            packed = ((depth * STEPS).to(tl.int64) << 32) | number[:, None]
            pixel = (y * width + x).to(tl.int64)
            tl.atomic_min(
                keys + image[:, None] * pixels + pixel, packed, mask=inside, sem="relaxed"
            )
            if PEOPLE:
                seen = inside & (who >= 0)[:, None]
                tl.store(covered + who[:, None] * pixels + pixel, 1, mask=seen)


def fill_by_kernel(
    boxes: BoundingBoxes,
    focal_length: Tensor,
    size_hw: tuple[int, int],
    keys: Tensor,
    covered: Tensor,
) -> None:
    """Rasterize triangles in place; same arguments and result as `raster_fill.fill`."""
    count = len(boxes.areas)
    if not count:
        return
    tensors = (
        *(boxes.planes, boxes.low, boxes.span, boxes.areas, boxes.image, boxes.owner),
        *(boxes.label, focal_length),
    )
    grid = (triton.cdiv(count, SIZES["TRIANGLES"]),)
    contiguous = [tensor.contiguous() for tensor in tensors]
    with torch.cuda.device_of(keys):
        fill_kernel[grid](
            *contiguous,
            keys,
            covered.view(torch.uint8),
            count,
            *size_hw,
            PEOPLE=len(covered) > 1,
            **SIZES,
        )
