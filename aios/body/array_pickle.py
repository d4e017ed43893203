"""Read pickles of arrays without running code from them: licensed files come in this form."""

from __future__ import annotations

import pickle
import re
from typing import Any, BinaryIO, Literal

import numpy as np


class StoredArray:
    """Takes the place of a chumpy array or a sparse matrix and only keeps what was stored."""

    def __init__(self, *_args: object) -> None:
        """Empty; the arguments of the real class are of no use."""
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: object) -> None:
        """Keep what the pickle says of the object."""
        self.state = state if isinstance(state, dict) else {}

    def to_array(self) -> np.ndarray:
        """The array itself, a sparse matrix as a dense one.

        Raises:
            KeyError, TypeError, ValueError, IndexError: the file is damaged.
        """
        if "x" in self.state:
            return np.asarray(self.state["x"])
        rows, columns, values, shape = self.entries()
        dense = np.zeros(shape)
        np.add.at(dense, (rows, columns), values)
        return dense

    def entries(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, int]]:
        """Rows, columns and values of what a sparse matrix stores, and its shape.

        Raises:
            KeyError, TypeError, ValueError, IndexError: the file is damaged.
        """
        rows, columns = self.state.get("_shape") or self.state["shape"]
        along = self._by_column and columns or rows
        major = np.repeat(np.arange(along), np.diff(self.state["indptr"]))
        minor = self.state["indices"]
        first, second = (minor, major) if self._by_column else (major, minor)
        return first, second, self.state["data"], (rows, columns)

    _by_column = True


class _StoredByRow(StoredArray):
    _by_column = False


def _plain_object(kind: type, *_args: object) -> object:
    """Stands for `copyreg._reconstructor`, for the classes of the list only."""
    if kind not in (StoredArray, _StoredByRow):
        raise pickle.UnpicklingError(f"object of {kind}")
    return kind()


def _from_buffer(
    data: bytes, dtype: np.dtype, shape: tuple[int, ...], order: Literal["C", "F"]
) -> np.ndarray:
    """Stands for the function of the same name that pickles of protocol 5 ask for."""
    return np.frombuffer(data, dtype).reshape(shape, order=order)


_ALLOWED: dict[str, Any] = {
    "multiarray._reconstruct": np.zeros(0).__reduce__()[0],
    "multiarray.scalar": np.float64(0).__reduce__()[0],
    "numeric._frombuffer": _from_buffer,
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
    "_codecs.encode": lambda text, _encoding: text.encode("latin1"),
    "copyreg._reconstructor": _plain_object,
    "copy_reg._reconstructor": _plain_object,
    "builtins.bytearray": bytearray,
    "builtins.object": object,
    "__builtin__.object": object,
    "csc_matrix": StoredArray,
    "csr_matrix": _StoredByRow,
    "chumpy.ch.Ch": StoredArray,
}


class _Unpickler(pickle.Unpickler):
    """Knows numpy arrays, sparse matrices and chumpy arrays; refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - as the base class
        key = f"{module}.{name}"
        if found := re.fullmatch(r"numpy\._?core\.(multiarray|numeric)", module):
            key = f"{found[1]}.{name}"
        elif module.startswith("scipy.sparse."):
            key = name
        if key not in _ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return _ALLOWED[key]


def load_array_pickle(file: BinaryIO) -> object:
    """What a pickle holds: plain containers, numpy arrays and `StoredArray`s.

    Raises:
        pickle.UnpicklingError: it holds something else, which is named.
        Exception: it is damaged, which can raise nearly anything.
    """
    return _Unpickler(file, encoding="latin1").load()
