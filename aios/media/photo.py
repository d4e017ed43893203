"""Read photos of any kind into one form: RGB uint8 0-255 HWC, upright."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

MAX_PIXELS = 50_000_000
"""Larger photos are refused from their header, before any memory is taken."""
MAX_ASPECT = 50
"""Longest by shortest side; beyond it nobody could be seen at the network's input size."""
PHOTO_SUFFIXES = frozenset(
    ".jpg .jpeg .jfif .png .webp .gif .bmp .tif .tiff .avif .heic .heif".split()
)
"""Files taken from a folder.  HEIC is named so that it is reported instead of passed over."""

# Decoders for photos only (JPEG includes MPO): some of Pillow's others start programs.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM")
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_ORIENTATION_TAG = 0x0112
_TRANSPOSE_FOR_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_MAX_16_BIT = 65535


class PhotoError(ValueError):
    """Something that cannot be used as a photo; the message is one sentence for a person."""


PhotoSource = str | Path | bytes | np.ndarray | Image.Image


def read_photo(source: PhotoSource) -> np.ndarray:
    """Read one photo.

    Files may be JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or PPM in any colour mode; the first frame
    counts, transparency is laid over white, the EXIF orientation is applied.

    Args:
        source: a path, the bytes of a file, a Pillow image, or an array: (H, W), (H, W, 1),
            (H, W, 3) or (H, W, 4), RGB order, uint8 0-255, uint16 0-65535 or floats 0-1.

    Returns:
        (H, W, 3) uint8 0-255, RGB, upright; an array of its own.

    Raises:
        PhotoError: missing, empty, damaged, of an unknown format, too large or too narrow.
    """
    pixels = photo_pixels(source)
    return np.array(pixels) if pixels is source else pixels


def photo_pixels(source: PhotoSource) -> np.ndarray:
    """As `read_photo`, but an array that is such a photo already is given back as it is."""
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _guarded(lambda: _from_image(source, "The image"), "The image")
    if isinstance(source, bytes):
        return _from_bytes(source, "The photo")
    if isinstance(source, str | Path):
        return _from_path(source)
    raise PhotoError(
        f"A photo is a path, bytes, a numpy array or a Pillow image, not {type(source).__name__}."
    )


def list_photos(paths: Iterable[str | Path]) -> list[Path]:
    """Photo files named by `paths`, in order and without repetition.

    A folder stands for the files of `PHOTO_SUFFIXES` directly in it, by name, hidden ones left
    out.  Anything else is handed on as it is, so that reading it says what is wrong with it.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        found.update(dict.fromkeys(_photos_in(path) if path.is_dir() else [path]))
    return list(found)


def _photos_in(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in PHOTO_SUFFIXES
        and not path.name.startswith(".")
        and path.is_file()
    )


def _from_path(source: str | Path) -> np.ndarray:
    if re.match(r"https?://", str(source)):
        raise PhotoError(f"{source} is a web address: download the photo and give its path.")
    path = Path(source)
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise PhotoError(f"There is no file {path}.") from error
    except IsADirectoryError as error:
        raise PhotoError(f"{path} is a folder, not a photo.") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PhotoError(f"{path} cannot be read: {reason}.") from error
    return _from_bytes(content, path.name)


def _from_bytes(content: bytes, name: str) -> np.ndarray:
    if not content:
        raise PhotoError(f"{name} is empty (0 bytes).")
    if content[4:8] == b"ftyp" and content[8:12] in _HEIC_BRANDS:
        raise PhotoError(f"{name} is a HEIC photo, which cannot be read: convert it to JPEG.")
    Image.init()  # Pillow knows the formats outside its core only after this

    def decode() -> np.ndarray:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            return _from_image(image, name)

    return _guarded(decode, name)


def _guarded(decode: Callable[[], np.ndarray], name: str) -> np.ndarray:
    """Run a decoder; whatever it raises becomes a sentence."""
    try:
        return decode()
    except PhotoError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PhotoError(_too_large(name)) from error
    except UnidentifiedImageError as error:
        raise PhotoError(
            f"{name} is not a photo that can be read (JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF)."
        ) from error
    except Exception as error:  # decoders raise nearly any class on damaged data
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise PhotoError(f"{name} is damaged or cut off: {reason}.") from error


def _from_image(image: Image.Image, name: str) -> np.ndarray:
    _check_size(image.width, image.height, name)
    image.load()
    upright = _upright(image)
    if upright.mode == "F" or upright.mode.startswith("I"):
        return _from_array(_numbers(upright, name), name)
    if upright.has_transparency_data:
        upright = _over_white(upright)
    return np.array(upright.convert("RGB"))


def _upright(image: Image.Image) -> Image.Image:
    """`image` turned as its EXIF orientation asks; damaged EXIF counts as none."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG)
    except Exception:  # a photo with broken notes about itself is still a photo
        return image
    method = _TRANSPOSE_FOR_ORIENTATION.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)


def _over_white(image: Image.Image) -> Image.Image:
    colours = image.convert("RGBA")
    white = Image.new("RGBA", colours.size, "white")
    return Image.alpha_composite(white, colours)


def _numbers(image: Image.Image, name: str) -> np.ndarray:
    """Samples of an image of 16 bits, 32 bits or floats, as uint16 or float32 (H, W)."""
    values = np.asarray(image)
    if image.mode == "F":
        return values
    # Mode "I" has 32 bits, but in photos it only stands for 16 of them.
    if values.min() < 0 or values.max() > _MAX_16_BIT:
        raise PhotoError(f"{name} has 32 bits a pixel: save it with 8 or 16 bits.")
    return values.astype(np.uint16)


def _from_array(values: np.ndarray, name: str = "The array") -> np.ndarray:
    grey = values.ndim == 2
    if not (grey or (values.ndim == 3 and values.shape[2] in (1, 3, 4))):
        raise PhotoError(f"{name} has shape {values.shape}; a photo has (height, width, 3), RGB.")
    _check_size(values.shape[1], values.shape[0], name)
    pixels = _eight_bits(values, name)
    if grey:
        pixels = pixels[:, :, None]
    if pixels.shape[2] == 4:
        return np.array(_over_white(Image.fromarray(pixels)).convert("RGB"))
    if pixels.shape[2] == 3:
        return pixels
    return np.array(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def _eight_bits(values: np.ndarray, name: str) -> np.ndarray:
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.uint16:
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if not np.issubdtype(values.dtype, np.floating):
        raise PhotoError(f"{name} holds {values.dtype}; give uint8, uint16, or floats from 0 to 1.")
    if not np.isfinite(values).all():
        raise PhotoError(f"{name} holds NaN or infinite numbers.")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise PhotoError(
            f"{name} holds floats from {low:g} to {high:g}; floats must lie between 0 and 1."
        )
    return np.rint(values.astype(np.float32) * 255).astype(np.uint8)


def _check_size(width: int, height: int, name: str) -> None:
    if width < 1 or height < 1:
        raise PhotoError(f"{name} has no pixels ({width}x{height}).")
    if width * height > MAX_PIXELS:
        raise PhotoError(_too_large(f"{name} ({width}x{height})"))
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise PhotoError(
            f"{name} is {width}x{height} pixels, too narrow to show anyone:"
            f" one side may be at most {MAX_ASPECT} times the other."
        )


def _too_large(what: str) -> str:
    return f"{what} has more than {MAX_PIXELS // 1_000_000} megapixels: make it smaller first."
