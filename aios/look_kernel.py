"""Deformable attention as one Triton kernel from the product of its queries on.

Neither places nor weights are ever written; for inference only.

Imported only where it is to be used, see `half_layers`.  Sums are float32.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .constants import SpatialShapes, level_table
from .deformable_kernel import BLOCK_NUMBERS, add_sample


@triton.jit
def look_kernel(  # noqa: PLR0913 - a launch has no other way to hand numbers over
    value: tl.tensor,
    levels: tl.tensor,
    chosen: tl.tensor,
    references: tl.tensor,
    result: tl.tensor,
    queries: tl.tensor,
    tokens: tl.tensor,
    NUMBERS: tl.constexpr,
    HEADS: tl.constexpr,
    LEVELS: tl.constexpr,
    POINTS: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_N: tl.constexpr,
) -> None:
    """Weighted bilinear samples; tensors as in `look_by_kernel`, all contiguous."""
    PLACES: tl.constexpr = LEVELS * POINTS
    image = (tl.program_id(1) // HEADS).to(tl.int64)
    head = tl.program_id(1) % HEADS
    query = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    channel = tl.arange(0, BLOCK_C)
    asked = query < queries
    row = image * queries + tl.where(asked, query, 0)
    offsets = chosen + row * (3 * HEADS * PLACES) + head * (2 * PLACES)
    logits = chosen + row * (3 * HEADS * PLACES) + (2 * HEADS + head) * PLACES
    place = tl.arange(0, BLOCK_N)
    every = tl.load(
        logits[:, None] + place[None, :], mask=(place < PLACES)[None, :], other=-float("inf")
    )
    most = tl.max(every, 1)
    scale = 1 / tl.sum(tl.exp(every - most[:, None]), 1)
    table = value + (image * tokens * HEADS + head) * WIDTH + channel[None, :]
    filled = (channel < WIDTH)[None, :]
    total = tl.zeros((BLOCK_Q, BLOCK_C), tl.float32)
    for level in range(LEVELS):
        height = tl.load(levels + level * 3)
        width = tl.load(levels + level * 3 + 1)
        first = tl.load(levels + level * 3 + 2)
        around = references + (row * LEVELS + level) * NUMBERS
        x, y = tl.load(around), tl.load(around + 1)
        if NUMBERS == 4:
            step_x, step_y = tl.load(around + 2) * 0.5 / POINTS, tl.load(around + 3) * 0.5 / POINTS
        else:
            step_x, step_y = 1 / width.to(tl.float32), 1 / height.to(tl.float32)
        for point in tl.static_range(POINTS):
            here = level * POINTS + point
            right = x + tl.load(offsets + here * 2) * step_x
            down = y + tl.load(offsets + here * 2 + 1) * step_y
            weight = tl.exp(tl.load(logits + here) - most) * scale
            total = add_sample(
                total,
                table,
                right,
                down,
                weight,
                width,
                height,
                first,
                asked,
                filled,
                HEADS * WIDTH,
            )
    out = result + (row * HEADS + head)[:, None] * WIDTH + channel[None, :]
    tl.store(out, total, mask=asked[:, None] & filled)


def look_sizes(heads: int, width: int, levels: int, points: int, numbers: int) -> dict[str, int]:
    """The constants a kernel is compiled for; `numbers` of a reference."""
    block = triton.next_power_of_2(width)
    return {
        "NUMBERS": numbers,
        "HEADS": heads,
        "LEVELS": levels,
        "POINTS": points,
        "WIDTH": width,
        "BLOCK_Q": max(BLOCK_NUMBERS // block, 1),
        "BLOCK_C": block,
        "BLOCK_N": triton.next_power_of_2(levels * points),
    }


def look_by_kernel(
    value: Tensor, shapes: SpatialShapes, chosen: Tensor, references: Tensor
) -> Tensor:
    """Choose places and read them.

    Args:
        value: (B, S, H, D / H), any kind of float.
        shapes: of the levels.
        chosen: (B, Q, 3 HLN) float32: two offsets for each of HLN places, then HLN logits.
        references: (B, Q, L, 2) points or (B, Q, L, 4) boxes, float32, 0-1 of each padded level.

    Returns:
        (B, Q, D) of the kind of `value`.
    """
    value, chosen, references = value.contiguous(), chosen.contiguous(), references.contiguous()
    batch, queries, levels, numbers = references.shape
    heads, width = value.shape[2:]
    points = chosen.shape[-1] // (3 * heads * levels)
    sizes = look_sizes(heads, width, levels, points, numbers)
    result = value.new_empty(batch, queries, heads * width)
    grid = (triton.cdiv(queries, sizes["BLOCK_Q"]), batch * heads)
    if batch and queries:
        with torch.cuda.device_of(value):
            table = level_table(tuple(shapes), value.device)
            given = (value, table, chosen, references, result)
            look_kernel[grid](*given, queries, value.shape[1], **sizes)
    return result
