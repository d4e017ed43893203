"""Counter-based random number generator: the same key and label always give the same number.

With a stateful generator a scene would depend on all earlier draws and on its batch. Here every
number is a splitmix64 hash of a key (one per scene or person) and a text label, computed for all
keys at once on any device. Labels are part of the definition of a scene: renaming a label changes
the images.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 2**64 divided by the golden ratio, as signed int64
_FIRST, _SECOND = -4658895280553007687, -7723592293110705685  # multipliers of splitmix64


def _splitmix64(value: Tensor) -> Tensor:
    """Finalizer of splitmix64; int64 arithmetic wraps around."""
    value = (value ^ _shift(value, 30)) * _FIRST
    value = (value ^ _shift(value, 27)) * _SECOND
    return value ^ _shift(value, 31)


def _shift(value: Tensor, bits: int) -> Tensor:
    """Logical right shift."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)


@lru_cache(maxsize=1024)
def constant(
    values: tuple[Any, ...], device: torch.device, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Cached constant tensor, one copy per device; a copy to a GPU would synchronise."""
    return torch.tensor(values, dtype=dtype, device=device)


class CounterRng:
    """A batch of independent random streams, one per key.

    Args:
        keys: (...) int64; all results have these leading dimensions.
    """

    def __init__(self, keys: Tensor) -> None:
        """Store the keys."""
        self.keys = keys

    @classmethod
    def for_scenes(cls, seed: int, indices: Sequence[int]) -> CounterRng:
        """One stream per scene, on the CPU, defined by `seed` and the scene index."""
        numbers = torch.tensor(list(indices), dtype=torch.int64)
        return cls(_splitmix64(_splitmix64(torch.tensor(seed) * _GOLDEN) + numbers * _GOLDEN))

    def to(self, device: torch.device) -> CounterRng:
        """The same streams on `device`."""
        return CounterRng(self.keys.to(device, non_blocking=True))

    def take(self, index: Tensor) -> CounterRng:
        """Select streams along the first dimension."""
        return CounterRng(self.keys[index])

    def child(self, label: str, number: Tensor | int = 0) -> CounterRng:
        """Derive independent streams, shaped like the keys broadcast with `number`."""
        if isinstance(number, int):
            number = constant((number,), self.keys.device, torch.int64)[0]
        return CounterRng(_splitmix64(self.keys + _label_hash(label) + number * _GOLDEN))

    def split(self, label: str, count: int) -> CounterRng:
        """Derive `count` independent streams per key, in a new last dimension."""
        lanes = torch.arange(1, count + 1, device=self.keys.device)
        return CounterRng(_splitmix64(self.keys[..., None] + _label_hash(label) + lanes * _GOLDEN))

    def uniform(
        self, label: str, *shape: int, low: float | Tensor = 0.0, high: float | Tensor = 1.0
    ) -> Tensor:
        """(..., *shape) float32, uniform in [low, high)."""
        drawn = self._random_bits(label, shape)
        share = (_shift(drawn, 40).float() + 0.5) * 2.0**-24
        return low + (high - low) * share

    def normal(
        self, label: str, *shape: int, mean: float | Tensor = 0.0, std: float | Tensor = 1.0
    ) -> Tensor:
        """(..., *shape) float32, Gaussian (Box-Muller)."""
        drawn = self._random_bits(label, shape)
        first = (_shift(drawn, 40).float() + 0.5) * 2.0**-24
        second = (drawn & 0xFFFFFF).float() * (2 * math.pi * 2.0**-24)
        return mean + std * (-2 * first.log()).sqrt() * second.cos()

    def bernoulli(self, label: str, probability: float | Tensor) -> Tensor:
        """(...) bool, true with the given probability."""
        return self.uniform(label) < probability

    def choice(self, label: str, weights: Tensor | Sequence[float], *shape: int) -> Tensor:
        """Sample categories in proportion to their weights.

        Args:
            label: label of the draw.
            weights: (K,), or (..., K) with one set per key.
            shape: shape of the samples per key.

        Returns:
            (..., *shape) int64, 0 to K - 1.
        """
        if not isinstance(weights, Tensor):
            weights = constant(tuple(weights), self.keys.device)
        table = weights.to(self.keys.device, torch.float32)
        cumulative = table.cumsum(-1)
        cumulative = cumulative / cumulative[..., -1:]
        if cumulative.dim() > 1 and shape:
            leading, count = cumulative.shape[:-1], cumulative.shape[-1]
            cumulative = cumulative.reshape(*leading, *[1] * len(shape), count)
        drawn = self.uniform(label, *shape)[..., None]
        return (drawn >= cumulative[..., :-1]).sum(-1)

    def _random_bits(self, label: str, shape: tuple[int, ...]) -> Tensor:
        start = self.keys + _label_hash(label)
        if not shape:
            return _splitmix64(start)
        lanes = torch.arange(1, math.prod(shape) + 1, device=self.keys.device).view(shape)
        return _splitmix64(_splitmix64(start)[(..., *[None] * len(shape))] + lanes * _GOLDEN)


def _label_hash(label: str) -> int:
    """Integer hash of a label."""
    return zlib.crc32(label.encode()) * 0x1F123BB5
