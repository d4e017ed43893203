"""File names of results: one stem for each input, and recognition of earlier results."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from ..media.photo import utf8_text

TABLE, PROBLEMS, MANIFEST = "people.csv", "problems.csv", "finished.jsonl"
UNFINISHED = ".unfinished-"
"""Start of the names of folders with the files of a running video."""

_PHOTO_ENDINGS = (".json", ".npz", ".glb", "_overlay.png")
_VIDEO_ENDINGS = (".json", ".npz", "_overlay.mp4")
# Stems whose files have the names of files of one person of the stem before.
_PERSON = re.compile(r"(.+)_(?:track_\d+(?:_smplx)?|person_\d+(?:_smplx|_rigged)?)", re.DOTALL)
_RESULT = re.compile(
    r"(.+?)(?:_overlay\.png|_overlay\.mp4|_track_\d+\.(?:bvh|glb)"
    r"|_(?:track|person)_\d+_smplx\.npz|_person_\d+(?:_rigged\.glb|\.obj|\.ply)"
    r"|\.json|\.npz|\.glb)",
    re.DOTALL,
)
_SOURCE = re.compile(rb'\{\s*"(?:photo|video)":\s*("(?:[^"\\]|\\.)*")')
_SOURCE_BYTES = 4000
# File systems allow 255 bytes; endings, a number and the suffix of temporary files come on top.
_LONGEST_STEM_BYTES = 190


@dataclass
class OutputNames:
    """Stems of output files that differ for all inputs of a job, photos and videos alike.

    Stems that differ only in case or Unicode normalization count as equal, as they do on some file
    systems. In `folder`, results of an input of another name are not overwritten; those of the
    same name are replaced, so that a second run gives the same names.

    Attributes:
        folder: where results are written; None for an archive.
        inputs: paths that no output may replace.
    """

    folder: Path | None = None
    inputs: Collection[Path] = ()
    _taken: set[str] = field(default_factory=set)
    _person_stems: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Index the inputs."""
        self._inputs = {os.path.abspath(path) for path in self.inputs}

    def photo(self, name: str) -> str:
        """Stem for the photo `name`, a file name or a relative path with `/`."""
        return self._stem(name, is_video=False)

    def video(self, name: str) -> str:
        """Stem for the video `name`."""
        return self._stem(name, is_video=True)

    def _stem(self, name: str, is_video: bool) -> str:
        parent, _, file_name = name.rpartition("/")
        stem = file_name[: file_name.rindex(".")] if "." in file_name.strip(".") else file_name
        stem = _shorten(stem or "unnamed")
        if parent:
            stem = f"{parent}/{stem}"
        candidate, number = stem, 1
        while not self._is_free(candidate, file_name, is_video):
            number += 1
            candidate = f"{stem}_{number}"
        self.reserve(candidate)
        return candidate

    def reserve(self, stem: str) -> None:
        """Give `stem` to no input from now on."""
        key = _key(stem)
        self._taken.add(key)
        if person := _PERSON.fullmatch(key):
            self._person_stems.add(person[1])

    def _is_free(self, stem: str, file_name: str, is_video: bool) -> bool:
        key = _key(stem)
        person = _PERSON.fullmatch(key)
        if key in self._taken or key in self._person_stems or (person and person[1] in self._taken):
            return False
        if self.folder is None:
            return True
        endings = _VIDEO_ENDINGS if is_video else _PHOTO_ENDINGS
        paths = [self.folder / (stem + ending) for ending in endings]
        if any(os.path.abspath(path) in self._inputs for path in paths):
            return False
        return _source_name(paths[0]) in (None, utf8_text(file_name))


def is_result(path: Path) -> bool:
    """Whether `path` was written by an earlier run: by its name and the files beside it."""
    if path.name in (TABLE, PROBLEMS, MANIFEST) or path.name.startswith(UNFINISHED):
        return True
    match = _RESULT.fullmatch(path.name)
    if match is None:
        return False
    summary = path.with_name(f"{match[1]}.json")
    return path.with_name(f"{match[1]}.npz").exists() and _source_name(summary) is not None


def _source_name(summary: Path) -> str | None:
    """Name of the photo or video that a `STEM.json` describes; None if it is not such a file."""
    try:
        with summary.open("rb") as file:
            match = _SOURCE.match(file.read(_SOURCE_BYTES))
        return None if match is None else str(json.loads(match[1])).rpartition("/")[2]
    except (OSError, ValueError):
        return None


def _shorten(stem: str) -> str:
    """At most `_LONGEST_STEM_BYTES` of `stem`, cut between characters."""
    if _num_bytes(stem) <= _LONGEST_STEM_BYTES:
        return stem
    while _num_bytes(stem) > _LONGEST_STEM_BYTES:
        stem = stem[:-1]
    return stem.rstrip(" .") or "unnamed"


def _num_bytes(stem: str) -> int:
    # `os.fsencode` fails on names of archives in a locale without their characters.
    return len(stem.encode("utf-8", "surrogateescape"))


def _key(stem: str) -> str:
    return unicodedata.normalize("NFC", stem).casefold()
