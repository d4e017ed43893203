"""Sampling of multi-scale deformable attention as Triton kernels, forward and backward.

Triton comes with the CUDA build of torch; this module is imported only where it is needed, see
`kernel_attention`. One program samples all points of a block of queries of one head. Sums are
float32 for any dtype of the values (float64 for float64 values).

The forward pass and the gradients of locations and weights are deterministic. The gradient of the
values is summed by atomic additions, so its last bits differ from run to run, as in the backward
pass of `grid_sample` on a GPU.

Letters beyond the legend: C = D / H.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..geometry.constants import constant_tensor
from ..network.sampling import Sampling, SpatialShapes

_BLOCK_VALUES = 1024
"""Queries times channels per program: 8 values per thread of 4 warps. Each thread reads 16 bytes
of a row of 32 half-precision channels, and nothing spills from its registers."""


@triton.jit
def _cell(location: tl.tensor, size: tl.tensor) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """Location 0-1 -> the cell before it, the weight of the next cell, whether either is inside."""
    cell = location * size - 0.5
    inside = (cell >= -1) & (cell < size)  # False for NaN
    cell = tl.where(inside, cell, 0.0)
    before = tl.floor(cell)
    return before.to(tl.int32), cell - before, inside


@triton.jit
def _in_level(column: tl.tensor, line: tl.tensor, width: tl.tensor, height: tl.tensor) -> tl.tensor:
    """Whether a corner is a cell of its level; others count as zero."""
    return (column >= 0) & (column < width) & (line >= 0) & (line < height)


@triton.jit
def forward_kernel(  # noqa: PLR0913 - a launch takes no structures
    value: tl.tensor,
    levels: tl.tensor,
    locations: tl.tensor,
    weights: tl.tensor,
    result: tl.tensor,
    queries: tl.tensor,
    tokens: tl.tensor,
    HEADS: tl.constexpr,
    LEVELS: tl.constexpr,
    POINTS: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_C: tl.constexpr,
    SUM: tl.constexpr,
) -> None:
    """Weighted bilinear samples; tensors as in `sample`, all contiguous."""
    image = (tl.program_id(1) // HEADS).to(tl.int64)
    head = tl.program_id(1) % HEADS
    query = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    channel = tl.arange(0, BLOCK_C)
    valid_query = query < queries
    row = (image * queries + query) * HEADS + head
    table = value + (image * tokens * HEADS + head) * WIDTH + channel[None, :]
    filled = (channel < WIDTH)[None, :]
    total = tl.zeros((BLOCK_Q, BLOCK_C), SUM)
    for level in range(LEVELS):
        height = tl.load(levels + level * 3)
        width = tl.load(levels + level * 3 + 1)
        first = tl.load(levels + level * 3 + 2)
        for point in tl.static_range(POINTS):
            point_index = (row * LEVELS + level) * POINTS + point
            x = tl.load(locations + point_index * 2, mask=valid_query, other=0.0).to(SUM)
            y = tl.load(locations + point_index * 2 + 1, mask=valid_query, other=0.0).to(SUM)
            weight = tl.load(weights + point_index, mask=valid_query, other=0.0).to(SUM)
            column, right, inside_x = _cell(x, width)
            line, down, inside_y = _cell(y, height)
            inside = valid_query & inside_x & inside_y
            for corner in tl.static_range(4):
                c, d = column + corner % 2, line + corner // 2
                share = (right if corner % 2 else 1 - right) * (down if corner // 2 else 1 - down)
                in_level = inside & _in_level(c, d, width, height)
                token = (first + d * width + c) * (HEADS * WIDTH)
                values = tl.load(table + token[:, None], mask=in_level[:, None] & filled, other=0.0)
                total += (weight * share)[:, None] * values.to(SUM)
    out = result + row[:, None] * WIDTH + channel[None, :]
    tl.store(out, total, mask=valid_query[:, None] & filled)


@triton.jit
def backward_kernel(  # noqa: PLR0913 - as above
    value: tl.tensor,
    levels: tl.tensor,
    locations: tl.tensor,
    weights: tl.tensor,
    grad_result: tl.tensor,
    grad_value: tl.tensor,
    grad_locations: tl.tensor,
    grad_weights: tl.tensor,
    queries: tl.tensor,
    tokens: tl.tensor,
    HEADS: tl.constexpr,
    LEVELS: tl.constexpr,
    POINTS: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_C: tl.constexpr,
    SUM: tl.constexpr,
) -> None:
    """Gradients: adds to `grad_value`, writes the two others once."""
    image = (tl.program_id(1) // HEADS).to(tl.int64)
    head = tl.program_id(1) % HEADS
    query = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    channel = tl.arange(0, BLOCK_C)
    valid_query = query < queries
    row = (image * queries + query) * HEADS + head
    start = (image * tokens * HEADS + head) * WIDTH + channel[None, :]
    filled = (channel < WIDTH)[None, :]
    source = grad_result + row[:, None] * WIDTH + channel[None, :]
    grad = tl.load(source, mask=valid_query[:, None] & filled, other=0.0).to(SUM)
    for level in range(LEVELS):
        height = tl.load(levels + level * 3)
        width = tl.load(levels + level * 3 + 1)
        first = tl.load(levels + level * 3 + 2)
        for point in tl.static_range(POINTS):
            point_index = (row * LEVELS + level) * POINTS + point
            x = tl.load(locations + point_index * 2, mask=valid_query, other=0.0).to(SUM)
            y = tl.load(locations + point_index * 2 + 1, mask=valid_query, other=0.0).to(SUM)
            weight = tl.load(weights + point_index, mask=valid_query, other=0.0).to(SUM)
            column, right, inside_x = _cell(x, width)
            line, down, inside_y = _cell(y, height)
            inside = valid_query & inside_x & inside_y
            by_weight = tl.zeros((BLOCK_Q,), SUM)
            by_x = tl.zeros((BLOCK_Q,), SUM)
            by_y = tl.zeros((BLOCK_Q,), SUM)
            for corner in tl.static_range(4):
                c, d = column + corner % 2, line + corner // 2
                share_x = right if corner % 2 else 1 - right
                share_y = down if corner // 2 else 1 - down
                in_level = inside & _in_level(c, d, width, height)
                token = (first + d * width + c) * (HEADS * WIDTH)
                here = start + token[:, None]
                mask = in_level[:, None] & filled
                values = tl.load(value + here, mask=mask, other=0.0).to(SUM)
                product = tl.sum(values * grad, 1)
                by_weight += share_x * share_y * product
                by_x += (share_y if corner % 2 else -share_y) * product
                by_y += (share_x if corner // 2 else -share_x) * product
                added = (weight * share_x * share_y)[:, None] * grad
                tl.atomic_add(grad_value + here, added, mask=mask, sem="relaxed")
            tl.store(grad_locations + point_index * 2, weight * by_x * width, mask=valid_query)
            tl.store(grad_locations + point_index * 2 + 1, weight * by_y * height, mask=valid_query)
            tl.store(grad_weights + point_index, by_weight, mask=valid_query)


def launch_sizes(value: Tensor, weights: Tensor) -> dict[str, Any]:
    """Constants that a kernel is compiled for."""
    heads, width = value.shape[2:]
    block = triton.next_power_of_2(width)
    return {
        "HEADS": heads,
        "LEVELS": weights.shape[3],
        "POINTS": weights.shape[4],
        "WIDTH": width,
        "BLOCK_Q": max(_BLOCK_VALUES // block, 1),
        "BLOCK_C": block,
        "SUM": tl.float64 if value.dtype == torch.float64 else tl.float32,
    }


def _launch(kernel: Any, tensors: tuple[Tensor, ...], value: Tensor, weights: Tensor) -> None:  # noqa: ANN401 - compiled or interpreted
    """Launch one program for each head and block of queries, if there are any."""
    batch, queries = weights.shape[:2]
    sizes = launch_sizes(value, weights)
    grid = (triton.cdiv(queries, sizes["BLOCK_Q"]), batch * sizes["HEADS"])
    if queries and batch:
        with torch.cuda.device_of(value):
            kernel[grid](*tensors, queries, value.shape[1], **sizes)


@torch.library.custom_op(
    "aios::sample",
    mutates_args=(),
    schema="(Tensor value, Tensor levels, Tensor locations, Tensor weights) -> Tensor",
)
def sample(value: Tensor, levels: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted bilinear samples.

    Args:
        value: (B, S, H, C), any float dtype.
        levels: (L, 3) int32: height, width, first token of each level.
        locations: (B, Q, H, L, N, 2), 0-1 of the padded image.
        weights: (B, Q, H, L, N).

    Returns:
        (B, Q, H * C) in the dtype of `value`.
    """
    value, locations, weights = value.contiguous(), locations.contiguous(), weights.contiguous()
    result = value.new_empty(*weights.shape[:2], value.shape[2] * value.shape[3])
    _launch(forward_kernel, (value, levels, locations, weights, result), value, weights)
    return result


@torch.library.custom_op(
    "aios::sample_backward",
    mutates_args=(),
    schema="(Tensor grad, Tensor value, Tensor levels, Tensor locations, Tensor weights)"
    " -> (Tensor, Tensor, Tensor)",
)
def sample_backward(
    grad: Tensor, value: Tensor, levels: Tensor, locations: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value, locations and weights, with shape and dtype of each."""
    value, locations, weights = value.contiguous(), locations.contiguous(), weights.contiguous()
    exact = torch.float64 if value.dtype == torch.float64 else torch.float32
    by_value = torch.zeros_like(value, dtype=exact)
    by_location, by_weight = torch.empty_like(locations), torch.empty_like(weights)
    tensors = (
        value,
        levels,
        locations,
        weights,
        grad.contiguous(),
        by_value,
        by_location,
        by_weight,
    )
    _launch(backward_kernel, tensors, value, weights)
    return by_value.to(value.dtype), by_location, by_weight


@sample.register_fake
def _(value: Tensor, levels: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    return value.new_empty(*weights.shape[:2], value.shape[2] * value.shape[3])


@sample_backward.register_fake
def _(
    grad: Tensor, value: Tensor, levels: Tensor, locations: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    tensors = (value, locations, weights)
    by_value, by_location, by_weight = (x.new_empty(x.shape) for x in tensors)
    return by_value, by_location, by_weight


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:  # noqa: ANN401 - torch's
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, Tensor, Tensor]:  # noqa: ANN401
    by_value, by_location, by_weight = sample_backward(grad, *ctx.saved_tensors)
    return by_value, None, by_location, by_weight


sample.register_autograd(_backward, setup_context=_save)


def sample_by_kernel(value: Tensor, spatial_shapes: SpatialShapes, sampling: Sampling) -> Tensor:
    """As `sampling.sample_bilinear`, with sums in float32 or float64."""
    levels = level_table(spatial_shapes, value.device)
    return sample(value, levels, sampling.locations, sampling.weights)


def level_table(spatial_shapes: SpatialShapes, device: torch.device) -> Tensor:
    """(L, 3) int32: height, width and first token of each level."""
    rows, first = [], 0
    for h, w in spatial_shapes:
        rows.append((h, w, first))
        first += h * w
    return constant_tensor(tuple(rows), torch.int32, device)
