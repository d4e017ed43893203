"""The folder or bucket of results."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet as pq

from ..cli import StartError
from ..export.photo_files import write_file

DESCRIPTION = "dataset.json"
TABLES = ("people", "photos", "failed", "tracks", "videos")
MESHES, ATTEMPTS = "meshes", "attempts"
_MARKERS = ("photos", "videos")
"""Tables that are written last: a part is finished if its file of one of them exists."""


class Store:
    """Files of results, each written completely or not at all.

    Attributes:
        location: address, or absolute path, which is the same in every process of the machine.
    """

    def __init__(self, location: str) -> None:
        """Use a path or an address such as `s3://bucket/folder`.

        Raises:
            StartError: fsspec knows no such store.
        """
        try:
            self._files, self._root = fsspec.core.url_to_fs(location)
        except (ImportError, ValueError) as error:
            raise StartError(f"{location} cannot be used: {error}") from error
        self._is_local = isinstance(self._files, fsspec.implementations.local.LocalFileSystem)
        self.location = self._root if self._is_local else location

    def write(self, name: str, content: bytes) -> None:
        """Write one file; `name` is relative, with `/`.

        Raises:
            OSError: it cannot be written.
        """
        path = self._path(name)
        if self._is_local:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            write_file(Path(path), content)
        else:  # an object appears when it is complete
            self._files.pipe_file(path, content)

    def read(self, name: str) -> bytes | None:
        """Content of one file; None if it does not exist."""
        try:
            return bytes(self._files.cat_file(self._path(name)))
        except FileNotFoundError:
            return None

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; missing ones are ignored."""
        for name in names:
            if self._files.exists(self._path(name)):
                self._files.rm_file(self._path(name))

    def exists(self, name: str) -> bool:
        """Whether a file exists."""
        return bool(self._files.exists(self._path(name)))

    def keys(self, table: str) -> set[str]:
        """Keys of the parts with a file in `table`."""
        folder = self._path(table)
        self._files.invalidate_cache()
        try:
            paths = self._files.ls(folder, detail=False)
        except FileNotFoundError:
            return set()
        names = (path.rpartition("/")[2] for path in paths)
        return {name.removesuffix(".parquet") for name in names if name.endswith(".parquet")}

    def finished(self) -> set[str]:
        """Keys of finished parts."""
        return self.keys("photos") | self.keys("videos")

    def column(self, table: str, name: str) -> Iterator[str]:
        """Values of one column of all files of `table`."""
        for key in sorted(self.keys(table)):
            with self._files.open(self._path(file_name(table, key)), "rb") as file:
                yield from pq.read_table(file, columns=[name]).column(name).to_pylist()

    def drop_parts(self, keys: Iterable[str]) -> None:
        """Remove the tables of parts, the markers first."""
        ordered = [*_MARKERS, *(table for table in TABLES if table not in _MARKERS)]
        for key in keys:
            self.remove(file_name(table, key) for table in ordered)

    def drop_unfinished(self) -> None:
        """Remove tables of parts that an earlier run did not finish, and notes on attempts."""
        everything = set().union(*(self.keys(table) for table in TABLES))
        self.drop_parts(everything - self.finished())
        self._drop_folder(ATTEMPTS)

    def drop_everything(self) -> None:
        """Remove all results."""
        for name in (*TABLES, MESHES, ATTEMPTS):
            self._drop_folder(name)
        self.remove([DESCRIPTION])

    def describe(self, description: dict[str, Any]) -> None:
        """Record what the results depend on.

        Raises:
            StartError: the store has results of other settings, or cannot be written to.
        """
        try:
            content = self.read(DESCRIPTION)
            if content is None:
                self.write(DESCRIPTION, json.dumps(description, indent=1).encode())
            elif json.loads(content) != description:
                raise StartError(
                    "The output has results of other weights, settings or version: give another"
                    " one, or --overwrite."
                )
        except (OSError, ValueError) as error:
            raise StartError(f"The output cannot be used: {error}") from error

    def _drop_folder(self, name: str) -> None:
        if self._files.exists(self._path(name)):
            self._files.rm(self._path(name), recursive=True)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


def file_name(table: str, key: str) -> str:
    """Name of the file of a part in a table."""
    return f"{table}/{key}.parquet"
