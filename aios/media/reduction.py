"""Reduction of large photos while or after they are decoded, with bounded memory."""

from __future__ import annotations

import math

from PIL import Image, JpegImagePlugin

MAX_PIXELS = 50_000_000
"""Larger photos are reduced by a whole factor to at most this size."""
MAX_DECODED_PIXELS = 80_000_000
"""Larger images are refused from their header, before memory is allocated: a decoder needs up to
4 bytes for each pixel.  Pillow warns of larger ones."""
MAX_JPEG_PIXELS = 250_000_000
"""The same for JPEG files, whose decoder reduces block by block, if they are not progressive."""

_AVERAGED_MODES = ("L", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F")


def pixel_limit(image: Image.Image) -> int:
    """Return the number of pixels above which an opened image is refused."""
    is_jpeg = isinstance(image, JpegImagePlugin.JpegImageFile)
    # A progressive file is held in memory as a whole.
    return MAX_JPEG_PIXELS if is_jpeg and not image.info.get("progressive") else MAX_DECODED_PIXELS


def load_reduced(image: Image.Image) -> Image.Image:
    """Decode an opened image, reduced to `MAX_PIXELS`.

    Returns:
        `image` itself if it is not larger.
    """
    if image.width * image.height > MAX_PIXELS:
        factor = _factor(image)
        image.draft(None, (image.width // factor, image.height // factor))
    image.load()
    if image.width * image.height <= MAX_PIXELS:
        return image
    return _averaged(image, _factor(image))


def _factor(image: Image.Image) -> int:
    return math.ceil(math.sqrt(image.width * image.height / MAX_PIXELS))


def _averaged(image: Image.Image, factor: int) -> Image.Image:
    """Image of mean colours, with the metadata of `image`."""
    if image.mode in ("1", "P", "PA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.mode in _AVERAGED_MODES:
        return image.reduce(factor)
    size = (-(-image.width // factor), -(-image.height // factor))
    return image.resize(size, Image.Resampling.NEAREST)
