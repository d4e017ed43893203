"""8-bit quantisation: one scale per tensor, with ranges measured on examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

_VALUES_AT_ONCE = 1 << 18


@dataclass(frozen=True)
class Scale:
    """Real numbers as integers 0-255: number = (integer - zero) * step."""

    step: float
    zero: int

    @classmethod
    def spanning(cls, low: float, high: float) -> Self:
        """Scale over `low` to `high`, extended to contain 0."""
        low, high = min(low, 0.0), max(high, 0.0)
        # 254 steps, not 255: rounding the zero point may shift the range by half a step.
        step = max((high - low) / 254, 1e-12)
        return cls(step, round(-low / step))

    @classmethod
    def of(cls, values: Tensor) -> Self:
        """Scale over the minimum to the maximum of `values`."""
        low, high = torch.aminmax(values)
        return cls.spanning(float(low), float(high))

    def quantise(self, values: Tensor, in_range: bool = False) -> Tensor:
        """Round to the nearest uint8; values out of range become 0 or 255.

        Args:
            values: float32 of any shape.
            in_range: all values are known to be in range, which saves the clamp.
        """

        def shift(part: Tensor) -> Tensor:
            # The cast to integers truncates, hence the half step in `offset`.
            shifted = torch.add(offset, part, alpha=1 / self.step)
            return shifted if in_range else shifted.clamp_(0, 255)

        offset = torch.tensor(self.zero + 0.5)
        return _in_parts(shift, values, torch.uint8)

    def restore(self, integers: Tensor) -> Tensor:
        """Convert uint8 back to float32."""
        return _in_parts(
            lambda part: part.float().sub_(self.zero).mul_(self.step), integers, torch.float32
        )


def _in_parts(convert: Callable[[Tensor], Tensor], values: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert elementwise in memory order, a part at a time: intermediates stay in the cache."""
    usual, last = torch.contiguous_format, torch.channels_last
    if not values.is_contiguous(memory_format=last if values.ndim == 4 else usual):
        values = values.contiguous()
    result = torch.empty_like(values, dtype=dtype)
    source = values.as_strided((values.numel(),), (1,))
    target = result.as_strided((values.numel(),), (1,))
    for start in range(0, len(source), _VALUES_AT_ONCE):
        part = slice(start, start + _VALUES_AT_ONCE)
        target[part].copy_(convert(source[part]))
    return result


class Ranges:
    """Minimum and maximum of the inputs and outputs of modules, over all calls until `close`."""

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        """Start watching `modules`."""
        self._bounds: dict[tuple[nn.Module, str], tuple[float, float]] = {}
        self._hooks = []
        for module in modules:
            self._hooks += [
                module.register_forward_pre_hook(lambda m, x: self._update(m, "in", x[0])),
                module.register_forward_hook(lambda m, _, y: self._update(m, "out", y)),
            ]

    def _update(self, module: nn.Module, end: str, values: Tensor) -> None:
        low, high = (float(bound) for bound in torch.aminmax(values))
        before = self._bounds.get((module, end), (low, high))
        self._bounds[module, end] = min(low, before[0]), max(high, before[1])

    def close(self) -> None:
        """Stop watching."""
        for hook in self._hooks:
            hook.remove()

    def into(self, module: nn.Module) -> Scale:
        """Scale of the inputs of `module`."""
        return Scale.spanning(*self._bounds[module, "in"])

    def out_of(self, module: nn.Module) -> Scale:
        """Scale of the outputs of `module`."""
        return Scale.spanning(*self._bounds[module, "out"])
