"""Photographs to stand before."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np


def load_backgrounds(archives: Iterable[str | Path], longest_px: int = 320) -> list[np.ndarray]:
    """Read every picture of some tar archives.

    Args:
        archives: tar files of JPEG or PNG pictures.
        longest_px: pictures are shrunk to this long side.

    Returns:
        RGB uint8 HWC pictures.

    Raises:
        ValueError: if a member named like a picture is none.
    """
    pictures = []
    for archive in archives:
        with tarfile.open(archive) as file:
            for member in file:
                if not member.name.lower().endswith((".jpg", ".jpeg", ".png")):
                    continue
                data = file.extractfile(member)
                encoded = np.frombuffer(data.read() if data else b"", np.uint8)
                picture = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if len(encoded) else None
                if picture is None:
                    raise ValueError(f"{member.name} in {archive} is not a readable picture.")
                scale = min(1.0, longest_px / max(picture.shape[:2]))
                if scale < 1:
                    picture = cv2.resize(
                        picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
                    )
                pictures.append(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
    return pictures
