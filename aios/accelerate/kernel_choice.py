"""Whether deformable attention runs as a Triton kernel here.

It does on a CUDA device where Triton is there and a trial gives the numbers of the plain way, see
`trials`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..network.constants import SpatialShapes
from .self_test import agree, kernels_possible

if TYPE_CHECKING:
    from ..network.sampling import Sampling

    Sampler = Callable[[Tensor, SpatialShapes, Sampling], Tensor]


@dataclass(frozen=True)
class _Case:
    """What a kernel is compiled for."""

    device: torch.device
    kinds: tuple[torch.dtype, torch.dtype, torch.dtype]
    """Of value, locations and weights."""
    sizes: tuple[int, ...]
    """Heads, channels of a head, levels, points."""
    backward: bool


def kernel_for(value: Tensor, sampling: Sampling) -> Sampler | None:
    """The kernel where it is to be used for values (B, S, H, D / H) and places, or None."""
    if not kernels_possible(value.device):
        return None
    tensors = (value, sampling.locations, sampling.weights)
    backward = torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
    if backward and torch.are_deterministic_algorithms_enabled():
        return None  # atomic additions
    kinds = (value.dtype, sampling.locations.dtype, sampling.weights.dtype)
    sizes = (*value.shape[2:], *sampling.weights.shape[3:])
    return _tried(_Case(value.device, kinds, sizes, backward))


@cache
def _tried(case: _Case) -> Sampler | None:
    def both() -> tuple[list[Tensor], list[Tensor]]:
        from ..network.sampling import sample_by_grid
        from .deformable_kernel import sample_by_kernel

        return _answers(case, sample_by_kernel), _answers(case, sample_by_grid)

    tolerance = 0.05 if case.kinds[0] in (torch.bfloat16, torch.float16) else 1e-3
    if not agree("Deformable attention runs without its kernel", both, tolerance):
        return None
    from .deformable_kernel import sample_by_kernel

    return sample_by_kernel


def _answers(case: _Case, way: Sampler) -> list[Tensor]:
    """The result for a few random places and, where wanted, its gradients."""
    from ..network.sampling import Sampling, sample_by_grid

    generator = torch.Generator().manual_seed(0)
    heads, channels, levels, points = case.sizes
    shapes = [(3 + level, 5) for level in range(levels)]
    tokens = sum(h * w for h, w in shapes)
    places = (1, 3, heads, levels, points)
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast("cuda", enabled=False):
        inputs = [
            torch.rand(shape, generator=generator).to(case.device, kind)
            for shape, kind in zip(
                [(1, tokens, heads, channels), (*places, 2), places],
                case.kinds,
                strict=True,
            )
        ]
        if way is sample_by_grid:  # which wants one kind of numbers
            inputs = [x.float() for x in inputs]
        for x in inputs:
            x.requires_grad_(case.backward)
        result = way(inputs[0], shapes, Sampling(*inputs[1:]))
        if not case.backward:
            return [result]
        return [result, *torch.autograd.grad(result.float().square().sum(), inputs)]
