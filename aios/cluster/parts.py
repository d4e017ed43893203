"""Divide the inputs into parts: the units of work, each with files of results of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from .sources import Source

Kind = Literal["photos", "archive", "clip"]


@dataclass(frozen=True)
class Part:
    """A unit of work.

    Attributes:
        kind: a number of photos, one archive of photos, or one video.
        sources: the photos; one source for an archive or a video.
    """

    kind: Kind
    sources: tuple[Source, ...]

    @property
    def key(self) -> str:
        """Stem of the files of results: the same sources give the same key."""
        digest = hashlib.blake2b(digest_size=12)
        for source in self.sources:
            digest.update(source.name.encode() + b"\0")
        return f"{self.kind}-{digest.hexdigest()}"

    def to_json(self) -> str:
        """Text for `from_json`."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Inverse of `to_json`."""
        values: dict[str, Any] = json.loads(text)
        return cls(values["kind"], tuple(Source(**source) for source in values["sources"]))


def build_parts(sources: Iterable[Source], photos_per_part: int) -> list[Part]:
    """All parts of the inputs, in order; a source that is listed twice is taken once.

    Args:
        sources: of the inputs.
        photos_per_part: number of photos in a part of single photos.
    """
    parts: list[Part] = []
    photos: list[Source] = []
    seen: set[bytes] = set()
    for source in sources:
        digest = name_digest(source.name)
        if digest in seen:
            continue
        seen.add(digest)
        if source.kind == "photo":
            photos.append(source)
        else:
            parts.append(Part("archive" if source.kind == "archive" else "clip", (source,)))
    return [*_groups(photos, photos_per_part), *parts]


def unfinished_parts(
    parts: Sequence[Part], finished: Collection[str], finished_photos: Iterator[str]
) -> list[Part]:
    """The parts left to do.

    Args:
        parts: all parts of the inputs.
        finished: keys of finished parts.
        finished_photos: names of all finished single photos; read only if the inputs have changed
            since those parts were built.
    """
    left = [part for part in parts if part.key not in finished]
    known = {part.key for part in parts}
    changed = any(key.startswith("photos-") and key not in known for key in finished)
    if not (changed and left):
        return left
    # Photos of earlier parts are spread over the new ones: build those of the other photos.
    done = {name_digest(name) for name in finished_photos}
    photos = [
        source
        for part in parts
        if part.kind == "photos"
        for source in part.sources
        if name_digest(source.name) not in done
    ]
    size = max(len(part.sources) for part in parts)
    return [*_groups(photos, size), *(part for part in left if part.kind != "photos")]


def name_digest(name: str) -> bytes:
    """16 bytes that stand for a name in sets of many."""
    return hashlib.blake2b(name.encode(), digest_size=16).digest()


def _groups(photos: Sequence[Source], size: int) -> Iterator[Part]:
    for start in range(0, len(photos), size):
        yield Part("photos", tuple(photos[start : start + size]))
