"""Loading of background photos."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np


def load_backgrounds(archives: Iterable[str | Path], longest_px: int = 320) -> list[np.ndarray]:
    """Read all images of tar archives.

    Args:
        archives: tar files with JPEG or PNG images.
        longest_px: larger images are scaled down to this long side.

    Returns:
        RGB uint8 0-255 HWC images.

    Raises:
        ValueError: a member with an image file name cannot be decoded.
    """
    images = []
    for archive in archives:
        with tarfile.open(archive) as file:
            for member in file:
                if not member.name.lower().endswith((".jpg", ".jpeg", ".png")):
                    continue
                data = file.extractfile(member)
                encoded = np.frombuffer(data.read() if data else b"", np.uint8)
                image = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if len(encoded) else None
                if image is None:
                    raise ValueError(f"{member.name} in {archive} is not a readable image.")
                scale = min(1.0, longest_px / max(image.shape[:2]))
                if scale < 1:
                    image = cv2.resize(
                        image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
                    )
                images.append(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
    return images
