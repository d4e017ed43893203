"""Read photos from any source into one form: RGB uint8 0-255 (H, W, 3), upright, sRGB."""

from __future__ import annotations

import logging
import re
import stat
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from .cut_off import MAX_MISSING, is_cut_off, missing_share, tolerant_decoding
from .image_file import (
    MAX_FILE_BYTES,
    PhotoError,
    check_size,
    decode_image,
    open_image,
    with_photo_errors,
)
from .reduction import MAX_PIXELS

__all__ = [
    "MAX_PIXELS",
    "NotedPhoto",
    "PhotoError",
    "PhotoSource",
    "display_name",
    "display_text",
    "photo_pixels",
    "read_noted_photo",
    "read_photo",
    "utf8_text",
]

_log = logging.getLogger(__name__)

_MAX_16_BIT = 65535

PhotoSource = str | Path | bytes | np.ndarray | Image.Image


class NotedPhoto(NamedTuple):
    """A photo and what is wrong with its file."""

    pixels: np.ndarray
    """(H, W, 3) uint8 0-255, RGB, upright."""
    note: str = ""
    """One sentence if the end of the file is missing; else empty."""


def read_photo(source: PhotoSource) -> np.ndarray:
    """Read one photo.

    Files may be JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC, AVIF or PPM in any colour mode. Of
    animations the first frame is read, of TIFF files the main page. Transparency is composited over
    white, the EXIF orientation is applied, and an embedded ICC profile is converted to sRGB. Images
    of more than `MAX_PIXELS` are reduced. If the end of a file is missing, but nearly all of the
    picture is there, it is read and a warning is logged.

    Args:
        source: a path, the bytes of a file, a Pillow image, or an array: (H, W), (H, W, 1),
            (H, W, 3) or (H, W, 4), RGB order, uint8 0-255, uint16 0-65535 or floats 0-1.

    Returns:
        (H, W, 3) uint8 0-255, RGB, upright; never shares memory with `source`.

    Raises:
        PhotoError: missing, empty, damaged, of an unsupported format, too large or too narrow.
    """
    pixels = photo_pixels(source)
    return np.array(pixels) if pixels is source else pixels


def photo_pixels(source: PhotoSource) -> np.ndarray:
    """Like `read_photo`, but returns `source` itself if it already has that form."""
    pixels, note = read_noted_photo(source)
    if note:
        _log.warning("%s", note)
    return pixels


def read_noted_photo(source: PhotoSource) -> NotedPhoto:
    """Like `photo_pixels`, but returns the warning."""
    if isinstance(source, np.ndarray):
        return NotedPhoto(_from_array(source))
    if isinstance(source, Image.Image):
        name = "The image"
        return NotedPhoto(with_photo_errors(lambda: _from_image(source, name), name))
    if isinstance(source, bytes):
        return _from_bytes(source, "The photo")
    if isinstance(source, str | Path):
        return _from_path(source)
    raise PhotoError(
        f"A photo is a path, bytes, a numpy array or a Pillow image, not {type(source).__name__}."
    )


def _from_path(source: str | Path) -> NotedPhoto:
    # Path() joins the two slashes of an address.
    if re.match(r"https?:/", str(source)):
        raise PhotoError(f"{source} is a web address: download the photo and give its path.")
    path = Path(source)
    name = display_name(path)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise PhotoError(f"{display_text(path)} is a folder, not a photo.")
        if not stat.S_ISREG(status.st_mode):
            raise PhotoError(f"{display_text(path)} is not a regular file.")
        if status.st_size > MAX_FILE_BYTES:
            raise PhotoError(_too_many_bytes(name))
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)  # the file may still grow
    except FileNotFoundError as error:
        raise PhotoError(f"File {display_text(path)} does not exist.") from error
    except PhotoError:
        raise
    except MemoryError as error:
        raise PhotoError(f"There is not enough memory for {name}: make it smaller.") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PhotoError(f"{display_text(path)} cannot be read: {reason}.") from error
    return _from_bytes(content, name)


def _from_bytes(content: bytes, name: str) -> NotedPhoto:
    if len(content) > MAX_FILE_BYTES:
        raise PhotoError(_too_many_bytes(name))

    def decode() -> NotedPhoto:
        with open_image(content, name) as image:
            try:
                return NotedPhoto(_from_image(image, name))
            except OSError as error:
                if not is_cut_off(error) or image.width * image.height > MAX_PIXELS:
                    raise
        return _from_cut_off(content, name)

    return with_photo_errors(decode, name)


def _from_cut_off(content: bytes, name: str) -> NotedPhoto:
    """Photo of a file whose end is missing.

    Raises:
        PhotoError: too much of the picture is missing.
    """
    with tolerant_decoding(), open_image(content, name) as image:
        image.load()
        missing = missing_share(image)
        percent = f"{100 * missing:.0f} %"
        if missing > MAX_MISSING:
            raise PhotoError(
                f"{name} is cut off: {percent} of the picture is missing, copy the file again."
            )
        rest = f"{percent} of the picture is missing" if missing >= 0.005 else "its end is missing"
        return NotedPhoto(_from_image(image, name), f"{name} is cut off: {rest}.")


def _too_many_bytes(name: str) -> str:
    return f"{name} has more than {MAX_FILE_BYTES // 1_000_000} MB: save it as JPEG or PNG."


def display_name(path: Path) -> str:
    """File name for messages; bytes that are not UTF-8 are replaced."""
    return display_text(path.name)


def utf8_text(text: str) -> str:
    """Name of a file as UTF-8, in which most names are, whatever the locale; other bytes stay."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def display_text(text: str | Path) -> str:
    """Path for messages; bytes that are not UTF-8 are replaced."""
    return str(text).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _from_image(image: Image.Image, name: str) -> np.ndarray:
    decoded = decode_image(image, name)
    if decoded.mode == "F" or decoded.mode.startswith("I"):
        return _from_array(_numeric_samples(decoded, name), name)
    if decoded.has_transparency_data:
        decoded = _over_white(decoded)
    return np.array(decoded.convert("RGB"))


def _over_white(image: Image.Image) -> Image.Image:
    colors = image.convert("RGBA")
    white = Image.new("RGBA", colors.size, "white")
    return Image.alpha_composite(white, colors)


def _numeric_samples(image: Image.Image, name: str) -> np.ndarray:
    """(H, W) uint16 or float32 samples of an image of mode I, I;16 or F."""
    values = np.asarray(image)
    if image.mode == "F":
        return values
    # Mode "I" has 32 bits, but 16-bit photos are decoded to it.
    if values.min() < 0 or values.max() > _MAX_16_BIT:
        raise PhotoError(f"{name} has 32 bits per pixel: save it with 8 or 16 bits.")
    return values.astype(np.uint16)


def _from_array(values: np.ndarray, name: str = "The array") -> np.ndarray:
    grey = values.ndim == 2
    if not (grey or (values.ndim == 3 and values.shape[2] in (1, 3, 4))):
        raise PhotoError(f"{name} has shape {values.shape}; expected (height, width, 3), RGB.")
    check_size(values.shape[1], values.shape[0], name)
    pixels = _to_uint8(values, name)
    if grey:
        pixels = pixels[:, :, None]
    if pixels.shape[2] == 4:
        return np.array(_over_white(Image.fromarray(pixels)).convert("RGB"))
    if pixels.shape[2] == 3:
        return pixels
    return np.array(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def _to_uint8(values: np.ndarray, name: str) -> np.ndarray:
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.uint16:
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if not np.issubdtype(values.dtype, np.floating):
        raise PhotoError(
            f"{name} has type {values.dtype}; expected uint8, uint16, or floats from 0 to 1."
        )
    if not np.isfinite(values).all():
        raise PhotoError(f"{name} contains NaN or infinite values.")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise PhotoError(f"{name} has floats from {low:g} to {high:g}; expected 0 to 1.")
    return np.rint(values.astype(np.float32) * 255).astype(np.uint8)
