"""Run geometry in float32 under autocast.

bf16 has 8 significant bits: a position in an image of 800 pixels would be off by up to 3 pixels.
Boxes, sampling locations, attention weights of sampling points, rotations and cameras therefore
stay in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
_HALF_DTYPES = (torch.bfloat16, torch.float16)


def float32_under_autocast(
    function: Callable[_Arguments, _Result],
) -> Callable[_Arguments, _Result]:
    """Decorator: disable autocast inside `function` and cast half-precision arguments to float32.

    At least one positional argument must be a tensor: its device selects the autocast state.
    """

    @wraps(function)
    def run(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        device = next(x.device.type for x in args if isinstance(x, Tensor))
        available = torch.amp.is_autocast_available(device)
        if not available or not torch.is_autocast_enabled(device):
            return function(*args, **kwargs)
        with torch.autocast(device, enabled=False):
            full: Any = map(_to_float32, args)
            return function(*full, **kwargs)

    return run


def _to_float32(argument: Any) -> Any:  # noqa: ANN401 - any argument
    is_half = isinstance(argument, Tensor) and argument.dtype in _HALF_DTYPES
    return argument.float() if is_half else argument
