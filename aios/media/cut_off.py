"""Photos whose last bytes are missing: decode what is there, and measure what is not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageFile

MAX_MISSING = 0.1
"""Share of the picture that may be missing."""
_JPEG_FILL = 128
"""Decoders of JPEG fill missing parts with medium grey, others with zeros."""

_lock = threading.Lock()


def is_cut_off(error: Exception) -> bool:
    """Whether an error of Pillow says that the file ends too early."""
    return isinstance(error, OSError) and "truncated" in str(error)


@contextmanager
def tolerant_decoding() -> Iterator[None]:
    """Make Pillow decode files that end too early, as far as they go."""
    with _lock:
        before = ImageFile.LOAD_TRUNCATED_IMAGES
        ImageFile.LOAD_TRUNCATED_IMAGES = True
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = before


def missing_share(image: Image.Image) -> float:
    """Share of the rows of a decoded image, 0-1, that its file does not contain.

    Rows are missing at the bottom, or at the top in formats that start there.
    """
    pixels = np.asarray(image)
    rows = pixels.reshape(len(pixels), -1)
    if image.format in ("JPEG", "MPO"):
        empty = np.all(np.abs(rows.astype(np.int16) - _JPEG_FILL) <= 1, axis=1)
    else:
        empty = np.all(rows == 0, axis=1)
    if empty.all():
        return 1.0
    first, last = int(empty.argmin()), int(empty[::-1].argmin())
    return max(first, last) / len(rows)
