"""Detection of ZeroGPU, the Hugging Face Space hardware that lends a GPU for one call."""

from __future__ import annotations

import os

_TRUE_WORDS = {"1", "T", "TRUE"}


def on_zero_gpu() -> bool:
    """Return whether SPACES_ZERO_GPU is `1`, `t` or `true`, in any case."""
    return os.environ.get("SPACES_ZERO_GPU", "").upper() in _TRUE_WORDS
