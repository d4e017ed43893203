"""Deformable attention by a Triton kernel, where it runs and gives the numbers of the plain form.

The kernel is compiled and compared with `sample_bilinear` once for each device, dtype and size,
see `self_test`. Works in training and in inference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from ..network.deformable_attention import DeformableAttention
from ..network.sampling import Sampling, SpatialShapes, sample_bilinear
from .self_test import agree, kernels_possible

Sampler = Callable[[Tensor, SpatialShapes, Sampling], Tensor]
"""Signature of `sample_bilinear`."""


class KernelDeformableAttention(DeformableAttention):
    """`DeformableAttention` whose sampling runs as a Triton kernel where possible."""

    def __init__(self, plain: DeformableAttention) -> None:
        """Share the parameters of `plain`."""
        nn.Module.__init__(self)
        self.heads, self.levels, self.points = plain.heads, plain.levels, plain.points
        for name, part in plain.named_children():
            self.add_module(name, part)

    def sample(self, value: Tensor, spatial_shapes: SpatialShapes, sampling: Sampling) -> Tensor:
        """As the plain form."""
        sampler = kernel_for(value, sampling) or sample_bilinear
        return sampler(value, spatial_shapes, sampling)


@dataclass(frozen=True)
class _Configuration:
    """What a kernel is compiled for."""

    device: torch.device
    dtypes: tuple[torch.dtype, torch.dtype, torch.dtype]
    """Of value, locations and weights."""
    sizes: tuple[int, ...]
    """Heads, channels per head, levels, points."""
    backward: bool


def kernel_for(value: Tensor, sampling: Sampling) -> Sampler | None:
    """The kernel for values (B, S, H, D / H) and sampling points, or None where it may not run."""
    if not kernels_possible(value.device):
        return None
    tensors = (value, sampling.locations, sampling.weights)
    backward = torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
    if backward and torch.are_deterministic_algorithms_enabled():
        return None  # the backward pass adds atomically, in any order
    dtypes = (value.dtype, sampling.locations.dtype, sampling.weights.dtype)
    sizes = (*value.shape[2:], *sampling.weights.shape[3:])
    return _tested_kernel(_Configuration(value.device, dtypes, sizes, backward))


@cache
def _tested_kernel(configuration: _Configuration) -> Sampler | None:
    def both() -> tuple[list[Tensor], list[Tensor]]:
        from .deformable_kernel import sample_by_kernel

        return _results(configuration, sample_by_kernel), _results(configuration, sample_bilinear)

    half = configuration.dtypes[0] in (torch.bfloat16, torch.float16)
    if not agree("Deformable attention runs without its kernel", both, 0.05 if half else 1e-3):
        return None
    from .deformable_kernel import sample_by_kernel

    return sample_by_kernel


def _results(configuration: _Configuration, sampler: Sampler) -> list[Tensor]:
    """Samples at a few random locations and, if required, their gradients."""
    generator = torch.Generator().manual_seed(0)
    heads, channels, levels, points = configuration.sizes
    shapes = [(3 + level, 5) for level in range(levels)]
    tokens = sum(h * w for h, w in shapes)
    weights_shape = (1, 3, heads, levels, points)
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast("cuda", enabled=False):
        inputs = [
            torch.rand(shape, generator=generator).to(configuration.device, dtype)
            for shape, dtype in zip(
                [(1, tokens, heads, channels), (*weights_shape, 2), weights_shape],
                configuration.dtypes,
                strict=True,
            )
        ]
        if sampler is sample_bilinear:  # grid_sample takes one dtype
            inputs = [x.float() for x in inputs]
        for x in inputs:
            x.requires_grad_(configuration.backward)
        result = sampler(inputs[0], shapes, Sampling(*inputs[1:]))
        if not configuration.backward:
            return [result]
        return [result, *torch.autograd.grad(result.float().square().sum(), inputs)]
