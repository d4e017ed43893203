"""TF32 settings of CUDA for the duration of a block.

TF32 rounds the factors of float32 products to 11 significant bits; tensor cores then compute them
many times as fast, and sums stay float32. The settings belong to the process, so blocks of
different threads exclude each other, and every block restores the settings it found.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_LOCK = threading.RLock()


@contextmanager
def tf32(*, products: bool | None = None, convolutions: bool | None = None) -> Iterator[None]:
    """Allow or forbid TF32 in matrix products and in convolutions; None keeps the setting."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    with _LOCK:
        before = matmul.allow_tf32, cudnn.allow_tf32
        if products is not None:
            matmul.allow_tf32 = products
        if convolutions is not None:
            cudnn.allow_tf32 = convolutions
        try:
            yield
        finally:
            matmul.allow_tf32, cudnn.allow_tf32 = before
