"""Random numbers as a function: the same key and the same label always give the same number.

A generator with a state would make a scene depend on what was drawn before it, and on the batch it
is drawn in. Here every number is a hash of a key (one a scene or a person) and the name of what it
decides, worked out for all keys at once on any device.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 2**64 divided by the golden ratio, as a signed number
_FIRST, _SECOND = -4658895280553007687, -7723592293110705685  # multipliers of splitmix64


def _mix(value: Tensor) -> Tensor:
    """The finaliser of splitmix64; int64 arithmetic wraps around."""
    value = (value ^ _shift(value, 30)) * _FIRST
    value = (value ^ _shift(value, 27)) * _SECOND
    return value ^ _shift(value, 31)


def _shift(value: Tensor, bits: int) -> Tensor:
    """Logical shift to the right."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)


@lru_cache(maxsize=1024)
def constant(
    values: tuple[Any, ...], device: torch.device, dtype: torch.dtype = torch.float32
) -> Tensor:
    """A small fixed tensor, carried to a device once: a GPU would be waited for at each copy."""
    return torch.tensor(values, dtype=dtype, device=device)


class CounterRng:
    """Sources of chance, one a key.

    Args:
        keys: (...) int64; every answer has these leading dimensions.
    """

    def __init__(self, keys: Tensor) -> None:
        """Keep the keys."""
        self.keys = keys

    @classmethod
    def for_scenes(cls, seed: int, indices: Sequence[int]) -> CounterRng:
        """One source a scene, on the CPU: what `seed` and the scene's number decide."""
        numbers = torch.tensor(list(indices), dtype=torch.int64)
        return cls(_mix(_mix(torch.tensor(seed) * _GOLDEN) + numbers * _GOLDEN))

    def to(self, device: torch.device) -> CounterRng:
        """The same sources on `device`."""
        return CounterRng(self.keys.to(device, non_blocking=True))

    def take(self, index: Tensor) -> CounterRng:
        """The sources number `index`, along the first dimension."""
        return CounterRng(self.keys[index])

    def child(self, label: str, number: Tensor | int = 0) -> CounterRng:
        """Independent sources of the same shape as `number` (or one a key)."""
        if isinstance(number, int):
            number = constant((number,), self.keys.device, torch.int64)[0]
        return CounterRng(_mix(self.keys + _label(label) + number * _GOLDEN))

    def split(self, label: str, count: int) -> CounterRng:
        """`count` independent sources a key, in a new last dimension."""
        lanes = torch.arange(1, count + 1, device=self.keys.device)
        return CounterRng(_mix(self.keys[..., None] + _label(label) + lanes * _GOLDEN))

    def uniform(
        self, label: str, *shape: int, low: float | Tensor = 0.0, high: float | Tensor = 1.0
    ) -> Tensor:
        """(..., *shape) float32, at least `low` and below `high`."""
        drawn = self._raw(label, shape)
        share = (_shift(drawn, 40).float() + 0.5) * 2.0**-24
        return low + (high - low) * share

    def normal(
        self, label: str, *shape: int, mean: float | Tensor = 0.0, std: float | Tensor = 1.0
    ) -> Tensor:
        """(..., *shape) float32, Gaussian."""
        drawn = self._raw(label, shape)
        first = (_shift(drawn, 40).float() + 0.5) * 2.0**-24
        second = (drawn & 0xFFFFFF).float() * (2 * math.pi * 2.0**-24)
        return mean + std * (-2 * first.log()).sqrt() * second.cos()

    def bernoulli(self, label: str, probability: float | Tensor) -> Tensor:
        """(...) bool."""
        return self.uniform(label) < probability

    def choice(self, label: str, weights: Tensor | Sequence[float], *shape: int) -> Tensor:
        """(..., *shape) int64, entry k with a chance in proportion to weight k.

        Args:
            label: what is decided.
            weights: (K,), or (..., K) with a set a key.
            shape: how many a key.
        """
        if not isinstance(weights, Tensor):
            weights = constant(tuple(weights), self.keys.device)
        table = weights.to(self.keys.device, torch.float32)
        ladder = table.cumsum(-1)
        ladder = ladder / ladder[..., -1:]
        if ladder.dim() > 1 and shape:
            ladder = ladder.reshape(*ladder.shape[:-1], *[1] * len(shape), ladder.shape[-1])
        drawn = self.uniform(label, *shape)[..., None]
        return (drawn >= ladder[..., :-1]).sum(-1)

    def _raw(self, label: str, shape: tuple[int, ...]) -> Tensor:
        start = self.keys + _label(label)
        if not shape:
            return _mix(start)
        lanes = torch.arange(1, math.prod(shape) + 1, device=self.keys.device).view(shape)
        return _mix(_mix(start)[(..., *[None] * len(shape))] + lanes * _GOLDEN)


def _label(label: str) -> int:
    """A number for a name."""
    return zlib.crc32(label.encode()) * 0x1F123BB5
