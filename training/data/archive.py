"""Read `.npz` archives of annotations without running code from the pickles in them."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

_HARMLESS = {
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
    """Data that cannot be used; one sentence that names the file and says what to do."""


class _ArraysOnly(pickle.Unpickler):
    """Builds arrays, numbers, text, lists and dictionaries; anything else could be a program."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - any class
        if (module, name) not in _HARMLESS:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return super().find_class(module, name)


class Archive:
    """The arrays of an `.npz` file, each read when it is asked for.

    Dictionaries in it are read by an unpickler that builds arrays and plain values only, unless
    `trust_pickle`. Worker processes may share one: each opens the file for itself.
    """

    def __init__(self, path: Path, trust_pickle: bool = False) -> None:
        """Open a file.

        Raises:
            DataError: it is not there or no such archive.
        """
        self.path, self.trust_pickle = path, trust_pickle
        self._opened: tuple[int, zipfile.ZipFile] | None = None
        self.names = frozenset(n.removesuffix(".npy") for n in self._zip().namelist())

    def __contains__(self, name: object) -> bool:
        """Whether there is an array of this name."""
        return name in self.names

    def __getstate__(self) -> dict[str, object]:
        """Everything but the open file."""
        return self.__dict__ | {"_opened": None}

    def read(self, name: str) -> np.ndarray:
        """One array.

        Raises:
            DataError: it is absent, damaged, or holds objects that reading could run.
        """
        if name not in self.names:
            raise DataError(f"{self.path} has no array named {name!r}")
        try:
            with self._zip().open(f"{name}.npy") as file:
                return _read_array(file, self.trust_pickle)
        except pickle.UnpicklingError as error:
            raise DataError(
                f"{self.path}: {name!r} holds objects of another program ({error}), which reading "
                "could run; if you know where the file comes from, say --trust-pickle"
            ) from error
        except Exception as error:  # damaged archives and pickles raise nearly anything
            raise DataError(f"{self.path}: {name!r} cannot be read ({error})") from error

    def read_dictionary(self, name: str) -> dict[str, Any]:
        """A dictionary stored as an array of no dimension; empty if the archive has none.

        Raises:
            DataError: as `read`, or it is no dictionary.
        """
        if name not in self.names:
            return {}
        array = self.read(name)
        value = array.item() if array.ndim == 0 else None
        if not isinstance(value, dict):
            raise DataError(f"{self.path}: {name!r} should be a dictionary")
        return value

    def _zip(self) -> zipfile.ZipFile:
        # A file position shared by processes would give each the other's bytes.
        if self._opened is None or self._opened[0] != os.getpid():
            try:
                self._opened = (os.getpid(), zipfile.ZipFile(self.path))
            except OSError as error:
                reason = error.strerror or error
                raise DataError(f"{self.path} cannot be opened: {reason}") from error
            except zipfile.BadZipFile as error:
                raise DataError(f"{self.path} is no .npz archive, or not all of one") from error
        return self._opened[1]


def read_list(path: Path) -> list[str]:
    """The texts of an `.npy` file.

    Raises:
        DataError: it is not there, or holds something else.
    """
    try:
        with path.open("rb") as file:
            return [str(value) for value in np.ravel(_read_array(file, trust_pickle=False))]
    except Exception as error:  # as above
        raise DataError(f"{path} cannot be read as a list of names ({error})") from error


def _read_array(file: IO[bytes], trust_pickle: bool) -> np.ndarray:
    version = npy.read_magic(file)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    if read_header(file)[2].hasobject and not trust_pickle:
        return _ArraysOnly(file, encoding="latin1").load()
    file.seek(0)
    return npy.read_array(file, allow_pickle=trust_pickle)
