"""Self-test of fast kernels against the plain form.

A kernel is run once on small inputs. If it raises or its results differ, one line of the log says
so and the plain form is used.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_log = logging.getLogger(__name__)


def kernels_possible(device: torch.device) -> bool:
    """Whether Triton kernels may run on `device`.

    CUDA devices run them; with TRITON_INTERPRET=1 in the environment a CPU runs them too, slowly,
    for tests without a GPU.
    """
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    return device.type == "cuda" or (device.type == "cpu" and interpreted)


def agree(
    fallback: str,
    run_both: Callable[[], tuple[Sequence[Tensor], Sequence[Tensor]]],
    tolerance: float,
) -> bool:
    """Whether a fast form gives the results of the plain form.

    Args:
        fallback: log message that states what happens if it does not.
        run_both: returns the tensors of the fast form and those of the plain form.
        tolerance: of each tensor, relative to its largest absolute value.
    """
    try:
        error = max(
            float((fast.float() - plain.float()).abs().max().detach())
            / max(float(plain.float().abs().max().detach()), 1e-6)
            for fast, plain in zip(*run_both(), strict=True)
        )
    except Exception as reason:  # noqa: BLE001 - a compiler may fail in any way
        line = " ".join(f"{type(reason).__name__}: {reason}".split())[:200]
        _log.warning("%s: %s", fallback, line)
        return False
    if not error <= tolerance:
        _log.warning("%s: the fast form is off by %.2g.", fallback, error)
        return False
    return True
