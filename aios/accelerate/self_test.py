"""Whether a faster way to some numbers may be taken here: it is tried once against the plain one.

Where it raises or gives other numbers, one line of the log says so and the plain way is taken.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_log = logging.getLogger(__name__)


def kernels_possible(device: torch.device) -> bool:
    """Whether Triton kernels may run there.

    They do on CUDA devices; with TRITON_INTERPRET=1 in the environment also, slowly, on a CPU, so
    that they can be tested without a GPU.
    """
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    return device.type == "cuda" or (device.type == "cpu" and interpreted)


def agree(
    otherwise: str,
    tried: Callable[[], tuple[Sequence[Tensor], Sequence[Tensor]]],
    tolerance: float,
) -> bool:
    """Whether the fast way works.

    Args:
        otherwise: what the log says happens if not.
        tried: gives the tensors of the fast way, and the same of the plain one.
        tolerance: of each tensor, relative to its largest number.
    """
    try:
        error = max(
            float((one.float() - other.float()).abs().max().detach())
            / max(float(other.float().abs().max().detach()), 1e-6)
            for one, other in zip(*tried(), strict=True)
        )
    except Exception as reason:  # noqa: BLE001 - a compiler may fail in any way
        line = " ".join(f"{type(reason).__name__}: {reason}".split())[:200]
        _log.warning("%s: %s", otherwise, line)
        return False
    if not error <= tolerance:
        _log.warning("%s: the fast way is off by %.2g.", otherwise, error)
        return False
    return True
