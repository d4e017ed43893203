"""Field of view of a photo from its EXIF data."""

from __future__ import annotations

import math
from pathlib import Path

from PIL import ExifTags, Image

from .image_file import open_image
from .photo import PhotoSource

_FILM_DIAGONAL_MM = math.hypot(36, 24)
_SHORTEST_MM, _LONGEST_MM = 5, 2000
_MAX_ASPECT_CHANGE = 1.02
"""A photo whose shape differs more from that in its EXIF data is cropped."""


def exif_field_of_view(source: PhotoSource) -> float | None:
    """Return the field of view that a camera wrote into a photo.

    The focal length for 35 mm film refers to the diagonal of the image (CIPA DC-008).

    Args:
        source: a path, the bytes of a file, or a Pillow image; arrays have no EXIF data.

    Returns:
        Degrees across the longer side; None without a usable focal length, or if the photo has
        been cropped.
    """
    try:
        if isinstance(source, Image.Image):
            return _field_of_view(source)
        if isinstance(source, str | Path):
            source = Path(source).read_bytes()
        if isinstance(source, bytes):
            with open_image(source, "The photo") as image:
                return _field_of_view(image)
    except Exception:  # damaged EXIF data raises nearly any class
        return None
    return None


def _field_of_view(image: Image.Image) -> float | None:
    exif = image.getexif().get_ifd(ExifTags.IFD.Exif)
    focal_mm = float(exif.get(ExifTags.Base.FocalLengthIn35mmFilm, 0))
    width, height = image.size
    if not _SHORTEST_MM <= focal_mm <= _LONGEST_MM or _is_cropped(width, height, exif):
        return None
    focal_px = focal_mm * math.hypot(width, height) / _FILM_DIAGONAL_MM
    return math.degrees(2 * math.atan(max(width, height) / (2 * focal_px)))


def _is_cropped(width: int, height: int, exif: dict[int, object]) -> bool:
    sides = [exif.get(tag) for tag in (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight)]
    first, second = (side if isinstance(side, int) else 0 for side in sides)
    if first <= 0 or second <= 0:
        return False
    written = max(first, second) / min(first, second)
    found = max(width, height) / min(width, height)
    return max(written / found, found / written) > _MAX_ASPECT_CHANGE
