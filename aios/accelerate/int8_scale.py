"""Numbers as 8-bit integers: one scale a tensor, and how its range is measured on examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

_NUMBERS_AT_ONCE = 1 << 18


@dataclass(frozen=True)
class Scale:
    """Numbers as 0-255: number = (integer - zero) * step."""

    step: float
    zero: int

    @classmethod
    def spanning(cls, low: float, high: float) -> Self:
        """Reaches from `low` to `high`, and 0 is among its numbers."""
        low, high = min(low, 0.0), max(high, 0.0)
        # One integer is spared, lest the end that 0 is not rounded to comes to lie outside.
        step = max((high - low) / 254, 1e-12)
        return cls(step, round(-low / step))

    @classmethod
    def of(cls, values: Tensor) -> Self:
        """Reaches from the least to the greatest value."""
        low, high = torch.aminmax(values)
        return cls.spanning(float(low), float(high))

    def quantise(self, values: Tensor, within: bool = False) -> Tensor:
        """Nearest uint8; what is out of reach becomes the end of it.

        Args:
            values: float32 of any shape.
            within: nothing is out of reach, which saves looking.
        """

        def shift(part: Tensor) -> Tensor:
            # The cast to integers rounds down, hence half a step more.
            shifted = torch.add(middle, part, alpha=1 / self.step)
            return shifted if within else shifted.clamp_(0, 255)

        middle = torch.tensor(self.zero + 0.5)
        return _in_parts(shift, values, torch.uint8)

    def restore(self, integers: Tensor) -> Tensor:
        """The float32 numbers that uint8 stand for."""
        return _in_parts(
            lambda part: part.float().sub_(self.zero).mul_(self.step), integers, torch.float32
        )


def _in_parts(convert: Callable[[Tensor], Tensor], values: Tensor, dtype: torch.dtype) -> Tensor:
    """Some numbers at a time, in their order in memory: what is in work stays in the cache."""
    usual, last = torch.contiguous_format, torch.channels_last
    if not values.is_contiguous(memory_format=last if values.ndim == 4 else usual):
        values = values.contiguous()
    result = torch.empty_like(values, dtype=dtype)
    flat = values.as_strided((values.numel(),), (1,))
    made = result.as_strided((values.numel(),), (1,))
    for start in range(0, len(flat), _NUMBERS_AT_ONCE):
        part = slice(start, start + _NUMBERS_AT_ONCE)
        made[part].copy_(convert(flat[part]))
    return result


class Ranges:
    """Least and greatest number into and out of modules, over all their calls while it watches."""

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        """Watch `modules` until `close`."""
        self._seen: dict[tuple[nn.Module, str], tuple[float, float]] = {}
        self._hooks = []
        for module in modules:
            self._hooks += [
                module.register_forward_pre_hook(lambda m, x: self._see(m, "in", x[0])),
                module.register_forward_hook(lambda m, _, y: self._see(m, "out", y)),
            ]

    def _see(self, module: nn.Module, end: str, values: Tensor) -> None:
        low, high = (float(bound) for bound in torch.aminmax(values))
        before = self._seen.get((module, end), (low, high))
        self._seen[module, end] = min(low, before[0]), max(high, before[1])

    def close(self) -> None:
        """Stop watching."""
        for hook in self._hooks:
            hook.remove()

    def into(self, module: nn.Module) -> Scale:
        """Scale for what goes into `module`."""
        low, high = self._seen[module, "in"]
        return Scale.spanning(low, high)

    def out_of(self, module: nn.Module, relu: bool = False) -> Scale:
        """Scale for what comes out of `module`, or out of a ReLU behind it."""
        low, high = self._seen[module, "out"]
        return Scale.spanning(0.0 if relu else low, high)
