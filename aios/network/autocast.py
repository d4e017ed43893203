"""What has a place in space is not rounded to half precision, whatever surrounds it.

Boxes, places where attention looks and their weights, rotations and cameras: bf16 has 8 bits, which
is 3 pixels of 800.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

_Given = ParamSpec("_Given")
_Answer = TypeVar("_Answer")
_HALVES = (torch.bfloat16, torch.float16)


def outside_autocast(method: Callable[_Given, _Answer]) -> Callable[_Given, _Answer]:
    """A method that computes in float32 where autocast would have it compute in half precision."""

    @wraps(method)
    def run(*given: _Given.args, **named: _Given.kwargs) -> _Answer:
        device = next(x.device.type for x in given if isinstance(x, Tensor))
        possible = torch.amp.is_autocast_available(device)
        if not possible or not torch.is_autocast_enabled(device):
            return method(*given, **named)
        with torch.autocast(device, enabled=False):
            exact: Any = map(_in_full, given)
            return method(*exact, **named)

    return run


def _in_full(given: Any) -> Any:  # noqa: ANN401 - any argument
    return given.float() if isinstance(given, Tensor) and given.dtype in _HALVES else given
