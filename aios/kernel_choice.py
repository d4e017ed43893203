"""Whether deformable attention runs as a Triton kernel here.

It does on a CUDA device where Triton is there and a trial gives the numbers of the plain way;
elsewhere one line of the log says why not.  With TRITON_INTERPRET=1 in the environment it also
does, slowly, on a CPU: so it can be tested without a GPU.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .constants import SpatialShapes

if TYPE_CHECKING:
    from .sampling import Sampling

    Sampler = Callable[[Tensor, SpatialShapes, Sampling], Tensor]

_log = logging.getLogger(__name__)


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
    if value.device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
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
    try:
        from .deformable_kernel import sample_by_kernel

        error = _largest_error(case, sample_by_kernel)
    except Exception as reason:  # noqa: BLE001 - a compiler may fail in any way
        line = " ".join(f"{type(reason).__name__}: {reason}".split())[:200]
        _log.warning("Deformable attention runs without its kernel: %s", line)
        return None
    tolerance = 0.05 if case.kinds[0] in (torch.bfloat16, torch.float16) else 1e-3
    if not error <= tolerance:
        _log.warning("Deformable attention runs without its kernel: it is off by %.2g.", error)
        return None
    return sample_by_kernel


def _largest_error(case: _Case, kernel: Sampler) -> float:
    """Against the plain way on a few random places: of values and, where wanted, of gradients."""
    from .sampling import Sampling, sample_by_grid

    generator = torch.Generator().manual_seed(0)
    heads, channels, levels, points = case.sizes
    shapes = [(3 + level, 5) for level in range(levels)]
    tokens = sum(h * w for h, w in shapes)
    places = (1, 3, heads, levels, points)
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast("cuda", enabled=False):
        tensors = [
            torch.rand(shape, generator=generator).to(case.device, kind)
            for shape, kind in zip(
                [(1, tokens, heads, channels), (*places, 2), places],
                case.kinds,
                strict=True,
            )
        ]
        answers = []
        for way, work in ((kernel, lambda x: x.clone()), (sample_by_grid, lambda x: x.float())):
            inputs = [work(x).requires_grad_(case.backward) for x in tensors]
            result = way(inputs[0], shapes, Sampling(*inputs[1:]))
            gradients: tuple[Tensor, ...] = ()
            if case.backward:
                gradients = torch.autograd.grad(result.float().square().sum(), inputs)
            answers.append([result, *gradients])
        # Of numbers whose size grows with heads and points: relative to the largest.
        return max(
            float((one - other).abs().max() / other.abs().max().clamp(min=1e-6))
            for one, other in zip(*answers, strict=True)
        )
