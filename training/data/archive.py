"""Reading of `.npz` annotation archives without executing code from their pickles."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

_SAFE_GLOBALS = {
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("_codecs", "encode"),
    ("collections", "OrderedDict"),
}


class DataError(ValueError):
    """Data cannot be used; the message is one sentence that names the file."""


class _ArraysOnly(pickle.Unpickler):
    """Unpickles arrays, numbers, text, lists and dictionaries, and refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - any class
        if (module, name) not in _SAFE_GLOBALS:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return super().find_class(module, name)


class Archive:
    """The arrays of an `.npz` file, read on demand.

    Dictionaries are read by an unpickler restricted to arrays and plain values, unless
    `trust_pickle` is set. Worker processes may share an archive: each opens the file itself.
    """

    def __init__(self, path: Path, trust_pickle: bool = False) -> None:
        """Open a file.

        Raises:
            DataError: the file is missing or no `.npz` archive.
        """
        self.path, self.trust_pickle = path, trust_pickle
        self._opened: tuple[int, zipfile.ZipFile] | None = None
        self.names = frozenset(n.removesuffix(".npy") for n in self._zip().namelist())

    def __contains__(self, name: object) -> bool:
        """Whether the archive has an array of this name."""
        return name in self.names

    def __getstate__(self) -> dict[str, object]:
        """State without the open file, which processes cannot share."""
        return self.__dict__ | {"_opened": None}

    def read(self, name: str) -> np.ndarray:
        """Read one array.

        Raises:
            DataError: it is missing, damaged, or holds objects that could execute code.
        """
        if name not in self.names:
            raise DataError(f"{self.path} has no array named {name!r}")
        try:
            with self._zip().open(f"{name}.npy") as file:
                return _read_array(file, self.trust_pickle)
        except pickle.UnpicklingError as error:
            raise DataError(
                f"{self.path}: {name!r} holds Python objects ({error}) that can execute code "
                "when read; if you trust the source of the file, add --trust-pickle"
            ) from error
        except Exception as error:  # damaged archives and pickles raise almost any exception
            raise DataError(f"{self.path}: {name!r} cannot be read ({error})") from error

    def read_dictionary(self, name: str) -> dict[str, Any]:
        """Read a dictionary stored as a 0-d array; empty if it is missing.

        Raises:
            DataError: as in `read`, or the content is no dictionary.
        """
        if name not in self.names:
            return {}
        array = self.read(name)
        value = array.item() if array.ndim == 0 else None
        if not isinstance(value, dict):
            raise DataError(f"{self.path}: {name!r} should be a dictionary")
        return value

    def _zip(self) -> zipfile.ZipFile:
        # Forked processes would share the file position, so each opens the file again.
        if self._opened is None or self._opened[0] != os.getpid():
            try:
                self._opened = (os.getpid(), zipfile.ZipFile(self.path))
            except OSError as error:
                reason = error.strerror or error
                raise DataError(f"{self.path} cannot be opened: {reason}") from error
            except zipfile.BadZipFile as error:
                raise DataError(f"{self.path} is not a complete .npz archive") from error
        return self._opened[1]


def read_list(path: Path) -> list[str]:
    """Read the strings of an `.npy` file.

    Raises:
        DataError: the file is missing or has other content.
    """
    try:
        with path.open("rb") as file:
            return [str(value) for value in np.ravel(_read_array(file, trust_pickle=False))]
    except Exception as error:  # as in `Archive.read`
        raise DataError(f"{path} cannot be read as a list of names ({error})") from error


def _read_array(file: IO[bytes], trust_pickle: bool) -> np.ndarray:
    version = npy.read_magic(file)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    if read_header(file)[2].hasobject and not trust_pickle:
        return _ArraysOnly(file, encoding="latin1").load()
    file.seek(0)
    return npy.read_array(file, allow_pickle=trust_pickle)
