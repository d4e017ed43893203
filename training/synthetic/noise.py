"""Tileable noise textures, computed once per device."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from .rng import CounterRng

SIDE = 256
CLOUDS, _GRAINS = 6, 2


@lru_cache(maxsize=8)
def clouds(test: bool, device: torch.device) -> Tensor:
    """(6 * 256 * 256,) smooth fractal noise, about -1 to 1; differs between training and test."""
    rng = CounterRng.for_scenes(7_000_000 + test, range(CLOUDS))
    white = torch.fft.rfft2(rng.normal("clouds", SIDE, SIDE))
    down = torch.fft.fftfreq(SIDE)[:, None]
    frequency = torch.hypot(down, torch.fft.rfftfreq(SIDE)[None]).clamp_min(1 / SIDE)
    slope = torch.linspace(0.8, 1.5, CLOUDS)[:, None, None]
    smooth = torch.fft.irfft2(white * frequency**-slope, s=(SIDE, SIDE))
    smooth = smooth / smooth.flatten(1).std(1)[:, None, None]
    return (0.5 * smooth).clamp(-1.5, 1.5).flatten().to(device)


@lru_cache(maxsize=4)
def grain(device: torch.device) -> Tensor:
    """(2, 256 * 256) Gaussian white noise."""
    return CounterRng.for_scenes(7_000_003, range(_GRAINS)).normal("grain", SIDE * SIDE).to(device)


def cloud_at(table: Tensor, which: Tensor | int, u: Tensor, v: Tensor) -> Tensor:
    """Look up noise texture `which` (broadcast to u) at coordinates u, v; they wrap around."""
    place = (u.long() & (SIDE - 1)) * SIDE + (v.long() & (SIDE - 1))
    return table[which * (SIDE * SIDE) + place]
