"""Find the body model file in the folders in which people keep it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from ..resources import STANDIN_BODY
from .file import FILE_NAMES, HINT, BodyModelError

ENVIRONMENT_VARIABLE = "AIOS_SMPLX"

_DEPTH, _MAX_ENTRIES = 3, 5000
"""Levels of subfolders that are searched, and files and folders that are looked at."""
_NEUTRAL = re.compile(r"smplx[ _-]?(neutral.*|n)\.(npz|pkl)", re.I)
_NEUTRAL_IN_FOLDER = re.compile(r"neutral/model\.(npz|pkl)", re.I)
_BODY_MODEL = re.compile(r".*(smpl|mano|flame).*\.(npz|pkl|zip)|(fe)?male/model\.(npz|pkl)", re.I)
_GENDER = re.compile(r"(?<![a-z])(fe)?male(?![a-z])", re.I)
_ARCHIVES = (".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".7z", ".rar")


def find_body_file(source: str | Path | None) -> Path:
    """Find the body model file.

    Args:
        source: `.npz` or `.pkl` file, or a folder with `SMPLX_NEUTRAL.npz` or `.pkl` in it or in
            its subfolders; names may be in lower case, have a suffix such as `_2020`, or be
            `neutral/model.npz`.  None takes the environment variable AIOS_SMPLX, else the
            stand-in.

    Raises:
        BodyModelError: no such file, or a body of another gender.
    """
    if source is None:
        source = os.environ.get(ENVIRONMENT_VARIABLE) or STANDIN_BODY
    path = Path(source).expanduser()
    if path.is_dir():
        path = _find_in_folder(path)
    if not path.is_file():
        raise BodyModelError(f"no body model at {path}: expected {FILE_NAMES[0]}; {HINT}")
    # The arrays of a file do not tell the gender.
    folder = path.parent.name if re.fullmatch("(fe)?male", path.parent.name, re.I) else ""
    if gender := _GENDER.search(path.name) or _GENDER.search(folder):
        raise BodyModelError(
            f"{path} is the {gender[0].lower()} SMPL-X body by its name, but AiOS predicts shapes"
            f" of the neutral one; {HINT}"
        )
    _check_suffix(path)
    return path


def _check_suffix(path: Path) -> None:
    suffix = path.suffix.lower()
    if suffix in _ARCHIVES:
        raise BodyModelError(
            f"{path} is an archive: unpack it and give the {FILE_NAMES[0]} in it; {HINT}"
        )
    # Some programs name an .npz file .zip, which it is; the content decides.
    if suffix not in (".npz", ".pkl", ".zip"):
        raise BodyModelError(f"{path} must be an .npz or .pkl body model; {HINT}")


def _find_in_folder(folder: Path) -> Path:
    found: list[Path] = []
    others: list[str] = []
    for path in islice(_walk(folder, _DEPTH), _MAX_ENTRIES):
        place = f"{path.parent.name}/{path.name}"
        if _NEUTRAL.fullmatch(path.name) or _NEUTRAL_IN_FOLDER.fullmatch(place):
            found.append(path)
        elif _BODY_MODEL.fullmatch(path.name) or _BODY_MODEL.fullmatch(place):
            others.append(str(path.relative_to(folder)))
    files = (path for path in sorted(found, key=_preference) if path.is_file())
    if chosen := next(files, None):
        return chosen
    there = f"only {', '.join(sorted(others)[:5])}" if others else "no body model"
    raise BodyModelError(
        f"looked for {' or '.join(FILE_NAMES)} in {folder} and its subfolders, found {there}; "
        f"{HINT}"
    )


def _preference(path: Path) -> tuple[int, bool, str, str]:
    """Sorts by depth, then the usual name, then .npz before .pkl."""
    return len(path.parts), path.name not in FILE_NAMES, path.suffix.lower(), path.name


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    """Entries of a folder, then those of its subfolders, without hidden ones."""
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:  # a subfolder of somebody else
        return
    yield from entries
    if depth:
        for entry in entries:
            if entry.is_dir():
                yield from _walk(entry, depth - 1)
