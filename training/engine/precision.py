"""Mixed precision: the network computes in 16 bits, its outputs are scored in 32."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

Precision = Literal["float32", "bf16", "fp16"]
T = TypeVar("T")
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Context in which the network computes."""
    dtype = _DTYPES.get(precision)
    return torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)


def build_scaler(precision: Precision, device: torch.device) -> torch.amp.GradScaler:
    """Keep fp16 gradients in range; no effect for the other two."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


def to_float32(output: T) -> T:
    """Convert half-precision tensors in a tree of dataclasses and tuples to float32."""
    return _converted(output)


def _converted(value: Any) -> Any:  # noqa: ANN401 - the same type is returned
    if isinstance(value, Tensor):
        return value.float() if value.dtype in _DTYPES.values() else value
    if isinstance(value, tuple):
        return tuple(_converted(entry) for entry in value)
    if is_dataclass(value) and not isinstance(value, type):
        changes = {f.name: _converted(getattr(value, f.name)) for f in fields(value)}
        return replace(value, **changes)
    return value
