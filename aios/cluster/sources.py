"""Find the photos, archives and videos of the inputs, and read them.

An input is a folder, a text file or Parquet file of locations, an archive, a photo or a video. A
location is a path, an address (`https://`) or an object of a store that fsspec knows, such as
`s3://bucket/photo.jpg`.
"""

from __future__ import annotations

import posixpath
import tarfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import fsspec
import pyarrow.parquet as pq

from ..cli import StartError
from ..media.container import VIDEO_SUFFIXES
from ..media.photo import PhotoError, PhotoSource
from ..media.photo_sources import MAX_FILE_BYTES, PHOTO_SUFFIXES, PhotoItem

COLUMNS = ("location", "url", "path", "photo")
"""Names of the column of locations in a Parquet file; the first one that exists is read."""
_LISTS, _TABLES, _ARCHIVES = (".txt",), (".parquet",), (".tar", ".tar.gz", ".tgz")
_TRIES, _SECONDS_BETWEEN_TRIES = 3, 1.0


Kind = Literal["photo", "archive", "video"]


@dataclass(frozen=True)
class Source:
    """One photo, archive or video.

    Attributes:
        name: identifies it in all tables of results; unique.
        location: path or address.
        kind: by the suffix of the location.
    """

    name: str
    location: str
    kind: Kind


def find_sources(inputs: Iterable[str]) -> Iterator[Source]:
    """Sources of all inputs, in order; a folder stands for all files in and below it, by name.

    Files of other types in a folder are left out.

    Raises:
        StartError: an input does not exist or cannot be listed.
    """
    for location in inputs:
        try:
            filesystem, path = fsspec.core.url_to_fs(location)
            if filesystem.isdir(path):
                for file in sorted(filesystem.find(path)):
                    if (kind := _kind(file)) and not posixpath.basename(file).startswith("."):
                        yield _source(_full_location(filesystem, file), kind)
            elif location.lower().endswith(_LISTS):
                yield from _listed(location)
            elif location.lower().endswith(_TABLES):
                yield from _tabled(location)
            elif _is_remote(filesystem) or filesystem.exists(path):
                yield _source(_full_location(filesystem, path))
            else:
                raise StartError(f"There is no {location}.")
        except (OSError, ValueError, ImportError) as error:
            raise StartError(f"{location} cannot be listed: {error}") from error


def _source(location: str, kind: Kind | None = None, name: object = None) -> Source:
    # Bytes of a file name that are not UTF-8 cannot be stored in a table.
    printable = str(location if name is None else name).encode("utf-8", "backslashreplace")
    return Source(printable.decode(), location, kind or _kind(location) or "photo")


def _kind(location: str) -> Kind | None:
    name = location.lower().partition("?")[0]
    if name.endswith(_ARCHIVES):
        return "archive"
    suffix = posixpath.splitext(name)[1]
    if suffix in PHOTO_SUFFIXES:
        return "photo"
    return "video" if suffix in VIDEO_SUFFIXES else None


def _is_remote(filesystem: Any) -> bool:  # noqa: ANN401
    return not isinstance(filesystem, fsspec.implementations.local.LocalFileSystem)


def _full_location(filesystem: Any, path: str) -> str:  # noqa: ANN401
    return str(filesystem.unstrip_protocol(path)) if _is_remote(filesystem) else path


def _listed(location: str) -> Iterator[Source]:
    """Sources of a text file: one location in each line, relative to the folder of the file."""
    with fsspec.open(location, "rt", encoding="utf-8") as file:
        for line in file:
            if text := line.strip():
                yield _source(_relative_to(location, text))


def _tabled(location: str) -> Iterator[Source]:
    """Sources of a Parquet file: a column of locations, and optionally `id` for their names."""
    with fsspec.open(location, "rb") as opened:
        table = pq.ParquetFile(opened)
        names = table.schema_arrow.names
        column = next((name for name in COLUMNS if name in names), None)
        if column is None:
            raise ValueError(f"it has none of the columns {', '.join(COLUMNS)}.")
        wanted = [column, "id"] if "id" in names else [column]
        for batch in table.iter_batches(columns=wanted):
            places = batch.column(column).to_pylist()
            labels = batch.column("id").to_pylist() if "id" in names else [None] * len(places)
            for place, label in zip(places, labels, strict=True):
                yield _source(_relative_to(location, place), name=label)


def _relative_to(location: str, text: str) -> str:
    if "://" in text or posixpath.isabs(text):
        return text
    filesystem, path = fsspec.core.url_to_fs(location)
    return _full_location(filesystem, posixpath.normpath(posixpath.join(path, "..", text)))


def photo_items(sources: Iterable[Source]) -> Iterator[PhotoItem]:
    """Single photos, read when they are decoded."""
    for source in sources:
        yield PhotoItem(source.name, lambda source=source: read_source(source))  # type: ignore[misc]


def archive_items(source: Source) -> Iterator[PhotoItem]:
    """Photos of a TAR archive, as of a WebDataset, in the order in which they are stored.

    Files of other types are left out. A damaged archive ends with an item that cannot be read.
    """
    try:
        with (
            fsspec.open(source.location, "rb") as file,
            tarfile.open(fileobj=file, mode="r|*") as archive,
        ):
            for member in archive:
                if member.isfile() and _kind(member.name) == "photo":
                    name = f"{source.name}#{member.name}"
                    yield PhotoItem(name, _member_reader(archive, member, name))
    except (OSError, EOFError, ValueError, ImportError, tarfile.TarError) as error:
        sentence = f"{source.name} is damaged or cannot be read: {error}"
        yield PhotoItem(source.name, _failing_reader(sentence))


def _member_reader(archive: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> Any:  # noqa: ANN401
    if member.size > MAX_FILE_BYTES:
        return _failing_reader(f"{name} has more than {MAX_FILE_BYTES // 1_000_000} MB.")
    file = archive.extractfile(member)
    content = b"" if file is None else file.read()
    return lambda: content


def _failing_reader(sentence: str) -> Any:  # noqa: ANN401
    def read() -> PhotoSource:
        raise PhotoError(sentence)

    return read


def read_source(source: Source) -> PhotoSource:
    """Input of `read_photo`: a local path, or the bytes of a remote file.

    Remote files are tried several times, since networks and stores fail now and then.

    Raises:
        PhotoError: the file cannot be read or is too large.
    """
    try:
        filesystem, path = fsspec.core.url_to_fs(source.location)
        if not _is_remote(filesystem):
            return Path(path)
    except (ImportError, ValueError) as error:
        raise PhotoError(f"{source.name} cannot be read: {error}") from error
    for attempt in range(_TRIES):
        try:
            with fsspec.open(source.location, "rb", **_stream_options(source.location)) as file:
                content = bytes(file.read(MAX_FILE_BYTES + 1))
            break
        except Exception as error:  # each store raises exceptions of its own
            if _is_missing(error):
                raise PhotoError(f"{source.name} does not exist.") from error
            if attempt == _TRIES - 1:
                raise PhotoError(f"{source.name} cannot be read: {error}") from error
            time.sleep(_SECONDS_BETWEEN_TRIES * 4**attempt)
    if len(content) > MAX_FILE_BYTES:
        raise PhotoError(f"{source.name} has more than {MAX_FILE_BYTES // 1_000_000} MB.")
    return content


def _is_missing(error: Exception) -> bool:
    # fsspec raises the same error if a web server fails; the cause has the status.
    status = getattr(error.__cause__, "status", 404)
    return isinstance(error, FileNotFoundError) and status in (404, 410)


def _stream_options(location: str) -> dict[str, Any]:
    # Of a web address, any other block size first asks for the size, then for parts.
    return {"block_size": 0} if location.startswith(("http://", "https://")) else {}
