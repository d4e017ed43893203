"""Photos of a folder job: files and the contents of ZIP archives, read one at a time."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from .file_kind import HEAD_BYTES, Kind, kind_of_bytes
from .photo import PhotoError, PhotoSource, display_name

MAX_FILES = 5000
"""Archives with more files are refused."""
MAX_FILE_BYTES = 200_000_000
"""Files of an archive that unpack to more bytes are refused."""

PHOTO_SUFFIXES = frozenset(
    ".jpg .jpeg .jfif .png .apng .webp .gif .bmp .tif .tiff .avif .heic .heif .ppm .pgm .pbm"
    " .dng .nef .cr2 .cr3 .arw .orf .rw2 .raf".split()
)
"""Files of these names fail, rather than being skipped, if their content is not a photo."""

_LONGEST_NAME = 80
_UNSAFE = re.compile(r'[<>:"|?*\\\x00-\x1f\x7f]')
_SYSTEM_FILES = re.compile(r"(^|/)(__MACOSX/|\.(?!\.?/)|Thumbs\.db$|desktop\.ini$)", re.IGNORECASE)
_UTF8_NAME_HIGH = 0x08
"""Bit 11 of the flags in its high byte."""
_ENCRYPTED = 1
_CENTRAL_HEADER, _CENTRAL_BYTES = b"PK\x01\x02", 46
_LOCAL_HEADER, _LOCAL_BYTES = b"PK\x03\x04", 30


class InputError(ValueError):
    """Inputs that cannot be used as a whole; the message is one sentence for a person."""


@dataclass(frozen=True)
class PhotoItem:
    """One photo of a folder job.

    Attributes:
        name: for messages and tables; may contain folders.
        read: returns an input of `photo.read_photo`; may raise PhotoError.
    """

    name: str
    read: Callable[[], PhotoSource]


def items_from_paths(paths: Iterable[Path]) -> list[PhotoItem]:
    """One item for each file; it can be pickled."""
    return [PhotoItem(path.name, partial(Path, path)) for path in paths]


@contextmanager
def items_from_zip(path: Path) -> Iterator[list[PhotoItem]]:
    """Every file of an archive; each is unpacked into memory when it is read.

    Files that are not photos raise PhotoError when they are read; files of operating systems, such
    as `__MACOSX` and `Thumbs.db`, are left out.

    Raises:
        InputError: not an archive, or one with too many files.
    """
    name = display_name(path)
    try:
        file = _RawNames(path.open("rb"))
    except OSError as error:
        raise InputError(f"{name} is not a ZIP archive that can be read.") from error
    with file:
        try:
            archive = zipfile.ZipFile(cast(BinaryIO, file))
            file.patches_directory = False
        except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise InputError(f"{name} is not a ZIP archive that can be read.") from error
        with archive:
            files = [
                (entry_name(info), info)
                for info in archive.infolist()
                if not info.is_dir() and not _SYSTEM_FILES.search(info.filename.replace("\\", "/"))
            ]
            if len(files) > MAX_FILES:
                raise InputError(
                    f"{name} contains {len(files)} files: split it into archives of at most"
                    f" {MAX_FILES}."
                )
            yield [
                PhotoItem(entry, lambda info=info, entry=entry: _unpack(archive, info, entry))  # type: ignore[misc]
                for entry, info in files
            ]


def entry_name(info: zipfile.ZipInfo) -> str:
    """Safe name of an archive's file; its bytes may be UTF-8, GB 2312 or code page 437.

    Archivers of macOS and of Chinese Windows do not mark their encoding.
    """
    raw = info.orig_filename.encode("cp437")
    for encoding in ("utf-8", "gb2312"):
        try:
            return safe_name(raw.decode(encoding))
        except UnicodeDecodeError:
            continue
    return safe_name(raw.decode("cp437"))


class _RawNames(io.BufferedIOBase):
    """An archive file whose headers mark no name as UTF-8.

    `zipfile` then decodes all names as code page 437, which maps every byte to a character. With
    the marks, one name that is not valid UTF-8 would make the whole archive unreadable.

    Attributes:
        patches_directory: whether the central directory may be read; False once it has been.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.patches_directory = True

    def read(self, size: int | None = -1, /) -> bytes:
        content = self._file.read(-1 if size is None else size)
        if self.patches_directory and content[:4] == _CENTRAL_HEADER:
            return _without_utf8_marks(content)
        if size == _LOCAL_BYTES and content[:4] == _LOCAL_HEADER:
            return content[:7] + bytes([content[7] & ~_UTF8_NAME_HIGH]) + content[8:]
        return content

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()


def _without_utf8_marks(directory: bytes) -> bytes:
    patched, start = bytearray(directory), 0
    while patched[start : start + 4] == _CENTRAL_HEADER and start + _CENTRAL_BYTES <= len(patched):
        patched[start + 9] &= ~_UTF8_NAME_HIGH
        lengths = (
            int.from_bytes(patched[start + at : start + at + 2], "little") for at in (28, 30, 32)
        )
        start += _CENTRAL_BYTES + sum(lengths)
    return bytes(patched)


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> bytes:
    if info.flag_bits & _ENCRYPTED:
        raise PhotoError(f"{name} is encrypted with a password.")
    # Other decompressors cannot be stopped at a number of bytes.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise PhotoError(f"{name} uses a compression other than deflate: pack it as a plain ZIP.")
    too_large = f"{name} unpacks to more than {MAX_FILE_BYTES // 1_000_000} MB."
    if info.file_size > MAX_FILE_BYTES:
        raise PhotoError(too_large)
    try:
        with archive.open(info) as file:
            content = file.read(HEAD_BYTES)
            _check_is_photo(content, name)
            # The size in the archive's directory may be false.
            content += file.read(MAX_FILE_BYTES + 1 - len(content))
    except PhotoError:
        raise
    except MemoryError as error:
        raise PhotoError(f"There is not enough memory for {name}: make it smaller.") from error
    except (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile) as error:
        raise PhotoError(f"{name} cannot be unpacked: the archive is damaged.") from error
    except zlib.error as error:
        raise PhotoError(f"{name} cannot be unpacked: it is damaged.") from error
    if len(content) > MAX_FILE_BYTES:
        raise PhotoError(too_large)
    return content


def _check_is_photo(head: bytes, name: str) -> None:
    """Refuse contents that are no photo, before the rest is unpacked."""
    if Path(name).suffix.lower() in PHOTO_SUFFIXES:
        return  # reading it as a photo gives the precise reason
    kind = kind_of_bytes(head)
    if kind is None:
        raise PhotoError(f"{name} is not a photo.")
    if kind.kind is not Kind.PHOTO:
        raise PhotoError(f"{name} is not a photo ({kind.label}).")


def safe_name(name: str) -> str:
    """A relative path without upward steps and unsafe characters, from an untrusted name.

    Folders are kept, as in `holiday/beach.jpg`.
    """
    parts = []
    for part in name.replace("\\", "/").split("/"):
        part = _UNSAFE.sub("_", part).strip(" .") if part.strip(". ") else ""
        if part:
            stem, dot, suffix = part.rpartition(".")
            cut = stem[:_LONGEST_NAME] if dot else suffix[:_LONGEST_NAME]
            parts.append(f"{cut}.{suffix[:10]}" if dot else cut)
    return "/".join(parts[-4:]) or "unnamed"
