"""Sort the inputs of the command line into photos, videos and skipped files, by content."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..media.container import VIDEO_SUFFIXES
from ..media.file_kind import FileKind, Kind, kind_of_file
from ..media.photo import display_name
from ..media.photo_sources import PHOTO_SUFFIXES
from .output_names import is_result


@dataclass
class Inputs:
    """Files of a job, each listed once, in the order given.

    Attributes:
        photos: to be read as photos; paths that cannot be read are among them.
        videos: to be read as videos.
        skipped: (name, reason) of every other file and folder in the given folders, except
            results of earlier runs.
    """

    photos: list[Path] = field(default_factory=list)
    videos: list[Path] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)


def list_inputs(paths: Iterable[Path]) -> Inputs:
    """Sort `paths`; a folder stands for the files directly in it, by name.

    A path given directly is never skipped: reading it reports what is wrong with it.

    Raises:
        OSError: a folder cannot be listed.
    """
    found, seen = Inputs(), set[Path]()
    for path in paths:
        is_folder = path.is_dir()
        for file in sorted(path.iterdir()) if is_folder else [path]:
            if file in seen or (is_folder and is_result(file)):
                continue
            seen.add(file)
            kind = _kind(file)
            reason = _reason_to_skip(file, kind) if is_folder else ""
            if reason:
                found.skipped.append((display_name(file), reason))
            elif _is_video(file, kind):
                found.videos.append(file)
            else:
                found.photos.append(file)
    return found


def _reason_to_skip(file: Path, kind: FileKind | None) -> str:
    """Reason to skip a file of a folder; empty to process it."""
    if file.name.startswith("."):
        return "hidden file"
    if file.is_dir():
        return "folder; only files directly in a given folder are processed"
    if not file.is_file():
        return "not a regular file"
    supported = kind is not None and kind.kind is not Kind.UNSUPPORTED
    # Reading a broken photo or video gives the precise reason.
    if supported or file.suffix.lower() in PHOTO_SUFFIXES | VIDEO_SUFFIXES:
        return ""
    return "not a photo or video" if kind is None else f"{kind.label}, not a photo or video"


def _is_video(file: Path, kind: FileKind | None) -> bool:
    if kind is None or kind.kind is Kind.UNSUPPORTED:
        return file.suffix.lower() in VIDEO_SUFFIXES - PHOTO_SUFFIXES
    return kind.kind is Kind.VIDEO


def _kind(file: Path) -> FileKind | None:
    try:
        return kind_of_file(file) if file.is_file() else None
    except (OSError, ValueError):  # reading the file reports the reason
        return None
