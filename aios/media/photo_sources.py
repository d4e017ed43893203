"""Photos of a batch, from files, folders and zip archives of strangers."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .photo import PHOTO_SUFFIXES, PhotoError, PhotoSource, list_photos

MAX_FILES = 5000
"""An archive with more is refused."""
MAX_FILE_BYTES = 200_000_000
"""A file of an archive that unpacks to more is refused: no photo is so large."""

_LONGEST_NAME = 80
_MUST_NOT_BE = re.compile(r'[<>:"|?*\\\x00-\x1f\x7f]')
_LEFTOVERS = re.compile(r"(^|/)(__MACOSX/|\.(?!\.?/)|Thumbs\.db$|desktop\.ini$)", re.IGNORECASE)


class InputError(ValueError):
    """Nothing of a batch can be worked on; the message is one sentence for a person."""


@dataclass(frozen=True)
class PhotoItem:
    """One photo of a batch.

    Attributes:
        name: to be shown, maybe with folders before it.
        read: gives what `photo.read_photo` takes; may raise PhotoError.
    """

    name: str
    read: Callable[[], PhotoSource]


def items_from_paths(paths: Iterable[Path]) -> list[PhotoItem]:
    """Files and the photos directly in folders; see `photo.list_photos`."""
    return [
        PhotoItem(path.name, lambda path=path: path)  # type: ignore[misc]
        for path in list_photos(paths)
    ]


@contextmanager
def items_from_zip(path: Path) -> Iterator[list[PhotoItem]]:
    """Every file of an archive, unpacked into memory one at a time when it is read.

    What is no photo by its name says so when it is read; leftovers of systems are passed over.

    Raises:
        InputError: no archive, or one with too many files.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise InputError(f"{path.name} is not a zip archive that can be read.") from error
    with archive:
        files = [
            info
            for info in archive.infolist()
            if not info.is_dir() and not _LEFTOVERS.search(info.filename.replace("\\", "/"))
        ]
        if len(files) > MAX_FILES:
            raise InputError(
                f"{path.name} holds {len(files)} files: split it, {MAX_FILES} at most."
            )
        yield [
            PhotoItem(safe_name(info.filename), lambda info=info: _unpack(archive, info))  # type: ignore[misc]
            for info in files
        ]


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    name = safe_name(info.filename)
    if PurePosixPath(name).suffix.lower() not in PHOTO_SUFFIXES:
        raise PhotoError(f"{name} is no photo by its name.")
    if info.flag_bits & 1:
        raise PhotoError(f"{name} is locked with a password.")
    too_large = f"{name} unpacks to more than {MAX_FILE_BYTES // 1_000_000} MB."
    if info.file_size > MAX_FILE_BYTES:
        raise PhotoError(too_large)
    try:
        with archive.open(info) as file:
            # The size in the archive's list may be a lie.
            content = file.read(MAX_FILE_BYTES + 1)
    except (OSError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:
        raise PhotoError(f"{name} cannot be unpacked: it is damaged or oddly packed.") from error
    except zlib.error as error:
        raise PhotoError(f"{name} cannot be unpacked: it is damaged.") from error
    if len(content) > MAX_FILE_BYTES:
        raise PhotoError(too_large)
    return content


def safe_name(name: str) -> str:
    """A name from a stranger made harmless: relative, without steps upwards or odd characters.

    Folders stay, as in `holiday/beach.jpg`.
    """
    parts = []
    for part in name.replace("\\", "/").split("/"):
        part = _MUST_NOT_BE.sub("_", part).strip(" .") if part.strip(". ") else ""
        if part:
            stem, dot, suffix = part.rpartition(".")
            cut = stem[:_LONGEST_NAME] if dot else suffix[:_LONGEST_NAME]
            parts.append(f"{cut}.{suffix[:10]}" if dot else cut)
    return "/".join(parts[-4:]) or "unnamed"


def unique_stem(stem: str, taken: set[str]) -> str:
    """`stem`, or `stem_2` and so on where another of this run has that name already.

    Args:
        stem: start of file names.
        taken: names of this run, which the new one joins; large and small letters are the same,
            as they are to some file systems.
    """
    candidate, number = stem, 1
    while candidate.lower() in taken:
        number += 1
        candidate = f"{stem}_{number}"
    taken.add(candidate.lower())
    return candidate
