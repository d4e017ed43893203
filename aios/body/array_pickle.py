"""Read pickles of arrays, as used by licensed body model files, without executing their code."""

from __future__ import annotations

import pickle
import re
from typing import Any, BinaryIO, Literal

import numpy as np


class StoredArray:
    """Stand-in for a chumpy array or SciPy sparse matrix that keeps the pickled state only."""

    def __init__(self, *_args: object) -> None:
        """Ignore the constructor arguments of the real class."""
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: object) -> None:
        """Keep the pickled state."""
        self.state = state if isinstance(state, dict) else {}

    def to_array(self) -> np.ndarray:
        """Dense array.

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
        """Row indices, column indices and values of a sparse matrix, and its shape.

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


def _reconstruct(kind: type, *_args: object) -> object:
    """Replacement for `copyreg._reconstructor`, restricted to stored arrays."""
    if kind not in (StoredArray, _StoredByRow):
        raise pickle.UnpicklingError(f"object of {kind}")
    return kind()


def _from_buffer(
    data: bytes, dtype: np.dtype, shape: tuple[int, ...], order: Literal["C", "F"]
) -> np.ndarray:
    """Replacement for the NumPy function of this name, used by pickle protocol 5."""
    return np.frombuffer(data, dtype).reshape(shape, order=order)


_ALLOWED: dict[str, Any] = {
    "multiarray._reconstruct": np.zeros(0).__reduce__()[0],
    "multiarray.scalar": np.float64(0).__reduce__()[0],
    "numeric._frombuffer": _from_buffer,
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
    "_codecs.encode": lambda text, _encoding: text.encode("latin1"),
    "copyreg._reconstructor": _reconstruct,
    "copy_reg._reconstructor": _reconstruct,
    "builtins.bytearray": bytearray,
    "builtins.object": object,
    "__builtin__.object": object,
    "csc_matrix": StoredArray,
    "csr_matrix": _StoredByRow,
    "chumpy.ch.Ch": StoredArray,
}


class _Unpickler(pickle.Unpickler):
    """Unpickler for NumPy, sparse and chumpy arrays; refuses other classes."""

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
    """Load a pickle of built-in containers, NumPy arrays and `StoredArray`s.

    Raises:
        pickle.UnpicklingError: the pickle needs another class, named in the message.
        Exception: a damaged pickle can raise nearly any exception.
    """
    return _Unpickler(file, encoding="latin1").load()
