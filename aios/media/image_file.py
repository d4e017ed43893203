"""Decode image files: allowed formats only, the page that viewers show, upright, in sRGB.

`open_image` is the only place that hands file contents to Pillow.
"""

from __future__ import annotations

import io
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import pi_heif
from PIL import (
    ExifTags,
    Image,
    ImageOps,
    JpegImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
)

from .color import to_srgb
from .file_kind import HEAD_BYTES, FileKind, Kind, jpeg_start, kind_of_bytes
from .reduction import MAX_DECODED_PIXELS, MAX_PIXELS, load_reduced, pixel_limit

MAX_ASPECT = 50
"""Longer by shorter side; beyond it people would be invisible at the network's input size."""
MAX_FILE_BYTES = 500_000_000
"""Larger files are refused unread: 50 megapixels of 16-bit RGBA take 400 MB."""
MAX_SCANS = 200
"""Progressive JPEGs with more scans are refused: each scan decodes the whole image again."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "HEIF", "AVIF", "PPM")
"""Pillow plugins in use (JPEG includes MPO).  Others of Pillow's start external programs."""
FORMAT_NAMES = "JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC, AVIF or PPM"

_CONVERT = ": convert it to JPEG or PNG"
_ADVICE = {"ZIP archive": ": unpack it first", "Ogg file": "", "sound file": ""}
"""For some labels of `FileKind`; all others are converted."""

T = TypeVar("T")

_SUBFILE_TYPE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_PLANAR, _SUB_IFDS, _DNG_VERSION = 284, 330, 50706
_COLOR_FILTER_ARRAY, _LINEAR_RAW, _YCBCR = 32803, 34892, 6
_UNCOMPRESSED, _SEPARATE_PLANES, _REDUCED = 1, 2, 1
_MAX_PAGES = 100
_THUMBNAIL_SHARE = 4
_libtiff_lock = threading.Lock()


class PhotoError(ValueError):
    """A photo that cannot be used; the message is one sentence for a person."""


def open_image(content: bytes, name: str) -> Image.Image:
    """Open an encoded image and select its main page; pixels are not decoded yet.

    Args:
        content: bytes of a file in one of `FORMATS`.
        name: of the file, for messages.

    Raises:
        PhotoError: empty, unsupported, a camera raw file, too large or too narrow.
    """
    if not content:
        raise PhotoError(f"{name} is empty (0 bytes).")
    kind = kind_of_bytes(content[:HEAD_BYTES])
    _check_kind(kind, name)
    if kind is not None and kind.label == "AVIF":
        content = content[:8] + b"avif" + content[12:]  # Pillow accepts few major brands
    if kind is not None and kind.label == "JPEG":
        content = content[jpeg_start(content) or 0 :]
        if content.count(b"\xff\xda") > MAX_SCANS:
            raise PhotoError(f"{name} has more than {MAX_SCANS} scans: save it as a plain JPEG.")
    try:
        image = _open(content, kind)
        if image.format == "TIFF":
            image = _select_tiff_page(image, content, name)
    except UnidentifiedImageError as error:
        raise PhotoError(_not_readable(kind, name)) from error
    check_size(image.width, image.height, name, pixel_limit(image))
    return image


def _open(content: bytes, kind: FileKind | None) -> Image.Image:
    """Open an image without a limit of its size for JPEG files.

    Raises:
        UnidentifiedImageError: no format of `FORMATS`.
    """
    Image.init()  # registers the plugins outside Pillow's core
    pi_heif.register_heif_opener()
    if kind is None or kind.label != "JPEG":
        return Image.open(io.BytesIO(content), formats=FORMATS)
    try:
        return JpegImagePlugin.jpeg_factory(io.BytesIO(content))
    except (SyntaxError, IndexError, TypeError, KeyError, EOFError, struct.error) as error:
        raise UnidentifiedImageError(str(error)) from error


def decode_image(image: Image.Image, name: str) -> Image.Image:
    """Decoded copy of `image`, upright by its EXIF orientation and converted to sRGB.

    An image of more than `MAX_PIXELS` is reduced.

    Raises:
        PhotoError: too large or too narrow.
    """
    check_size(image.width, image.height, name, pixel_limit(image))
    decoded = load_reduced(image)
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        turned = decoded if decoded is image else _with_orientation(decoded, orientation)
        upright = ImageOps.exif_transpose(turned)
    except Exception:  # damaged EXIF data raises nearly any class; the pixels are still usable
        upright = decoded
    return to_srgb(upright)


def _with_orientation(image: Image.Image, orientation: int) -> Image.Image:
    """Set the orientation of a reduced image, which TIFF files hold outside the EXIF data."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    image.info["exif"] = exif.tobytes()
    return image


def with_photo_errors(decode: Callable[[], T], name: str) -> T:
    """Result of `decode`, with every error of a decoder as a PhotoError."""
    try:
        return decode()
    except PhotoError:
        raise
    except MemoryError as error:
        raise PhotoError(f"There is not enough memory for {name}: make it smaller.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PhotoError(_too_large(name, MAX_DECODED_PIXELS)) from error
    except UnidentifiedImageError as error:
        raise PhotoError(_not_readable(None, name)) from error
    except Exception as error:  # decoders raise nearly any class on damaged data
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise PhotoError(f"{name} is damaged or cut off: {reason}.") from error


def check_size(width: int, height: int, name: str, limit: int = MAX_PIXELS) -> None:
    """Check a size in pixels.

    Raises:
        PhotoError: no pixels, more than `limit`, or longer than `MAX_ASPECT` allows.
    """
    if width < 1 or height < 1:
        raise PhotoError(f"{name} has no pixels ({width}x{height}).")
    if width * height > limit:
        raise PhotoError(_too_large(f"{name} ({width}x{height})", limit))
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise PhotoError(
            f"{name} is {width}x{height} pixels, which is too narrow:"
            f" one side may be at most {MAX_ASPECT} times the other."
        )


def _too_large(what: str, limit: int) -> str:
    return f"{what} has more than {limit // 1_000_000} megapixels: make it smaller first."


def _check_kind(kind: FileKind | None, name: str) -> None:
    if kind is None:
        return
    if kind.label == "camera raw":
        raise PhotoError(_camera_raw(name))
    if kind.kind is Kind.VIDEO:
        raise PhotoError(f"{name} is a video ({kind.label}), not a photo.")
    if kind.kind is Kind.UNSUPPORTED:
        raise PhotoError(_not_readable(kind, name))


def _not_readable(kind: FileKind | None, name: str) -> str:
    if kind is None:
        return f"{name} is not a photo that can be read ({FORMAT_NAMES})."
    label = _with_article(kind.label)
    if kind.kind is Kind.UNSUPPORTED:
        return f"{name} is not a photo but {label}{_ADVICE.get(kind.label, _CONVERT)}."
    return f"{name} is {label} file that cannot be read: save it as JPEG or PNG."


def _with_article(label: str) -> str:
    return f"{'an' if label[0] in 'AIOi' else 'a'} {label}"


def _camera_raw(name: str) -> str:
    return (
        f"{name} is a camera raw file: convert it to JPEG with a raw converter such as darktable"
        " or Adobe DNG Converter."
    )


def _select_tiff_page(image: Image.Image, content: bytes, name: str) -> Image.Image:
    """The main page: the first, unless that is a thumbnail of a larger one."""
    if _is_camera_raw(image):
        raise PhotoError(_camera_raw(name))
    sizes = list(_page_sizes(image))
    page = 0
    first, largest = sizes[0], max(sizes)
    if largest >= _THUMBNAIL_SHARE * first or (_tag(image, _SUBFILE_TYPE) & _REDUCED):
        page = sizes.index(largest)
    image.seek(page)
    if not _needs_libtiff(image):
        return image
    with _libtiff():
        image = Image.open(io.BytesIO(content), formats=("TIFF",))
        image.seek(page)
        return image


def _page_sizes(image: Image.Image) -> Iterator[int]:
    """Pixels of each readable page, up to `_MAX_PAGES`; leaves `image` at its first page."""
    for page in range(_MAX_PAGES):
        try:
            image.seek(page)
        except Exception:  # the end, or a page that Pillow cannot describe
            break
        yield image.width * image.height
    image.seek(0)


def _is_camera_raw(image: Image.Image) -> bool:
    """Whether the first page is raw sensor data, or the thumbnail that raw files start with."""
    is_thumbnail = bool(_tag(image, _SUBFILE_TYPE) & _REDUCED)
    return (
        _tag(image, _DNG_VERSION) != 0
        or _tag(image, _PHOTOMETRIC) in (_COLOR_FILTER_ARRAY, _LINEAR_RAW)
        or (is_thumbnail and _tag(image, _SUB_IFDS) != 0)
    )


def _needs_libtiff(image: Image.Image) -> bool:
    """Whether Pillow's own reader scrambles this page.

    It reads uncompressed planes of 16 bits as 8 bits, and uncompressed YCbCr as RGB.
    """
    if _tag(image, _COMPRESSION, 1) != _UNCOMPRESSED:
        return False
    separate = _tag(image, _PLANAR, 1) == _SEPARATE_PLANES
    return (separate and _tag(image, _BITS, 1) > 8) or _tag(image, _PHOTOMETRIC) == _YCBCR


def _tag(image: Image.Image, tag: int, default: int = 0) -> int:
    """First value of a TIFF tag as an integer."""
    assert isinstance(image, TiffImagePlugin.TiffImageFile)
    value = image.tag_v2.get(tag, default)
    if isinstance(value, tuple | bytes):
        value = value[0] if value else default
    return value if isinstance(value, int) else default


@contextmanager
def _libtiff() -> Iterator[None]:
    """Make Pillow open uncompressed TIFF files with libtiff, too."""
    with _libtiff_lock:
        before = TiffImagePlugin.READ_LIBTIFF
        TiffImagePlugin.READ_LIBTIFF = True
        try:
            yield
        finally:
            TiffImagePlugin.READ_LIBTIFF = before
