"""Convert images with an embedded ICC profile to sRGB."""

from __future__ import annotations

import io
from itertools import product

import numpy as np
from PIL import Image, ImageCms

_SPACES = {"RGB ": ("RGB", "RGBA"), "GRAY": ("L",), "CMYK": ("CMYK",)}
_PLAIN_MODES = {"P": "RGB", "PA": "RGBA", "LA": "L", "RGBX": "RGB", "YCbCr": "RGB"}
# Rounding alone moves a colour by one level.
_EQUAL_LEVELS = 2


def to_srgb(image: Image.Image) -> Image.Image:
    """`image` converted to sRGB by its ICC profile; unchanged without a usable profile.

    Supported are 8-bit RGB, RGBA, palette, grey and CMYK images whose profile has the same colour
    space. A profile equal to sRGB within rounding is ignored, which keeps pixels unchanged.
    """
    profile = image.info.get("icc_profile")
    if not profile:
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return _convert(image, source)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image  # a damaged profile does not make the pixels unusable


def _convert(image: Image.Image, source: ImageCms.ImageCmsProfile) -> Image.Image:
    if "transparency" in image.info:  # a colour key, which conversion would move
        image = image.convert("LA" if image.mode == "L" else "RGBA")
    mode = _PLAIN_MODES.get(image.mode, image.mode)
    if mode not in _SPACES.get(source.profile.xcolor_space, ()):
        return image
    output = "RGBA" if mode == "RGBA" else "RGB"
    transform = ImageCms.buildTransform(
        source,
        ImageCms.createProfile("sRGB"),
        mode,
        output,
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if mode != "CMYK" and _is_identity(transform, mode):
        return image
    alpha = image.getchannel("A") if image.mode == "LA" else None
    plain = image if image.mode == mode else image.convert(mode)
    converted = ImageCms.applyTransform(plain, transform)
    assert converted is not None  # None is returned for in-place conversion only
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def _is_identity(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether a transform leaves a grid of colours as they are."""
    levels = (0, 32, 64, 96, 128, 160, 192, 224, 255)
    colors = np.array(list(product(levels, repeat=3)), np.uint8)[None]
    if mode == "L":
        colors = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2)
    grid = Image.fromarray(colors).convert(mode)
    converted = ImageCms.applyTransform(grid, transform)
    assert converted is not None
    moved = np.asarray(converted.convert("RGB")).astype(int) - colors
    return bool(np.abs(moved).max() <= _EQUAL_LEVELS)
