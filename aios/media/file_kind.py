"""Kind of a file by its first bytes, independent of its name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

HEAD_BYTES = 400
"""Bytes that `kind_of_bytes` needs."""


class Kind(Enum):
    """How a file is processed."""

    PHOTO = "photo"
    VIDEO = "video"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True)
class FileKind:
    """Kind of a file.

    Attributes:
        kind: photo, video, or a known format that is neither.
        label: name of the format, such as "JPEG".
    """

    kind: Kind
    label: str


_PHOTO, _VIDEO, _UNSUPPORTED = Kind.PHOTO, Kind.VIDEO, Kind.UNSUPPORTED
# First bytes as regular expressions; the first match counts.
_SIGNATURES = tuple(
    (re.compile(pattern, re.DOTALL), FileKind(kind, label))
    for pattern, kind, label in (
        (rb"\xff\xd8\xff", _PHOTO, "JPEG"),
        (rb"\x89PNG\r\n\x1a\n", _PHOTO, "PNG"),
        (rb"GIF8[79]a", _PHOTO, "GIF"),
        (rb"RIFF....WEBP", _PHOTO, "WebP"),
        (rb"BM.{12}[\x0c-\x7c]\0\0\0", _PHOTO, "BMP"),
        (rb"II\*\0.{4}CR|II\x1a\0\0\0HEAPCCDR|IIRO|IIRS|MMOR|IIU\0|FUJIFILM", _PHOTO, "camera raw"),
        (rb"II\*\0|MM\0\*|II\+\0|MM\0\+", _PHOTO, "TIFF"),
        (rb"P[1-6][\s#]", _PHOTO, "PPM"),
        (rb"RIFF....AVI |RIFF....AVIX", _VIDEO, "AVI"),
        (rb"\x1aE\xdf\xa3", _VIDEO, "Matroska"),
        (rb"....(moov|mdat|wide|free|skip|pnot)", _VIDEO, "QuickTime"),
        (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", _VIDEO, "ASF"),
        (rb"FLV\x01", _VIDEO, "FLV"),
        (rb"\x47.{187}\x47|.{4}\x47.{191}\x47", _VIDEO, "MPEG-TS"),
        (rb"\0\0\x01[\xba\xb3]", _VIDEO, "MPEG"),
        (rb"\x06\x0e\x2b\x34\x02\x05\x01\x01", _VIDEO, "MXF"),
        (rb"\0\0\0\x0cJXL |\xff\x0a", _UNSUPPORTED, "JPEG XL image"),
        (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", _UNSUPPORTED, "JPEG 2000 image"),
        (rb"8BPS", _UNSUPPORTED, "Photoshop document"),
        (rb"%PDF-", _UNSUPPORTED, "PDF document"),
        (rb"%!PS|\xc5\xd0\xd3\xc6", _UNSUPPORTED, "PostScript file"),
        (rb"PK\x03\x04|PK\x05\x06", _UNSUPPORTED, "ZIP archive"),
        (rb"\0\0\x01\0.\0", _UNSUPPORTED, "icon"),
        (rb"v/1\x01", _UNSUPPORTED, "OpenEXR image"),
        (rb"#\?RADIANCE|#\?RGBE", _UNSUPPORTED, "Radiance HDR image"),
        (rb"OggS", _UNSUPPORTED, "Ogg file"),
        (rb"ID3|fLaC", _UNSUPPORTED, "sound file"),  # their cover pictures are no photos
    )
)
_JPEG_START = re.compile(rb"\xff\xd8\xff[\xc0-\xfe]")
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}
_STILL_BRANDS = {b"mif1", b"msf1", b"miaf"}


def kind_of_bytes(head: bytes) -> FileKind | None:
    """Kind of a file from its first `HEAD_BYTES`; None for an unknown format.

    An animated GIF or PNG is reported as a photo here; see `kind_of_file`.
    """
    if head[4:8] == b"ftyp":
        return _kind_of_brands(brands(head))
    for pattern, kind in _SIGNATURES:
        if pattern.match(head):
            return kind
    return FileKind(Kind.PHOTO, "JPEG") if jpeg_start(head) is not None else None


def jpeg_start(content: bytes) -> int | None:
    """Position of the first marker of a JPEG in the first `HEAD_BYTES`; None without one.

    Programs that send files may put other bytes before it, such as a line break.
    """
    found = _JPEG_START.search(content, 0, HEAD_BYTES)
    return None if found is None else found.start()


def kind_of_file(path: Path) -> FileKind | None:
    """Kind of a file from its content; animated GIF and PNG files are videos.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        kind = kind_of_bytes(file.read(HEAD_BYTES))
    if kind is not None and kind.label in ("GIF", "PNG") and _is_animated(path, kind.label):
        return FileKind(Kind.VIDEO, f"animated {kind.label}")
    return kind


def brands(head: bytes) -> list[bytes]:
    """Major and compatible brands of an ISO base media file (MP4, MOV, AVIF, HEIC)."""
    size = int.from_bytes(head[:4], "big")
    box = head[: min(size, len(head))] if size >= 16 else head[:16]
    return [box[8:12], *(box[start : start + 4] for start in range(16, len(box) - 3, 4))]


def _kind_of_brands(names: list[bytes]) -> FileKind:
    if names[0] == b"crx ":
        return FileKind(Kind.PHOTO, "camera raw")
    if _HEIC_BRANDS & set(names[:1]) or (
        _STILL_BRANDS & set(names[:1]) and _HEIC_BRANDS & set(names)
    ):
        return FileKind(Kind.PHOTO, "HEIC")
    if _AVIF_BRANDS & set(names):
        return FileKind(Kind.PHOTO, "AVIF")
    if names[0] in _STILL_BRANDS:
        return FileKind(Kind.PHOTO, "HEIC")
    return FileKind(Kind.VIDEO, "MP4")


def _is_animated(path: Path, label: str) -> bool:
    from PIL import Image

    try:
        with Image.open(path, formats=(label,)) as image:
            return bool(getattr(image, "is_animated", False))
    except Exception:  # decoders raise nearly any class on damaged files; the reader reports it
        return False
