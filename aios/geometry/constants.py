"""Cached constant tensors, one copy per device.

Copying numbers from the host blocks until the device is idle and is not allowed during CUDA graph
capture. The cache never evicts: a captured graph reads these tensors at their address.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor


@cache
def constant_tensor(values: tuple[Any, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Nested tuples of numbers as a read-only tensor; do not modify it in place."""
    # An inference tensor could not be used in training later.
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)


def index_tensor(indices: tuple[int, ...], device: torch.device) -> Tensor:
    """(K,) int64 indices; indexing with a list would copy it to the device on every call."""
    return constant_tensor(indices, torch.int64, device)
