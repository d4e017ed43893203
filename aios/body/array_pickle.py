"""Read pickles of arrays, as used by licensed body model files, without executing their code."""

from __future__ import annotations

import io
import mmap
import pickle
import pickletools
import re
from typing import Any, BinaryIO, Literal, cast

import numpy as np

_MAX_OPERATIONS = 2_000_000
_MAX_DENSE = 100_000_000


class StoredArray:
    """Stand-in for a chumpy array or SciPy sparse matrix that keeps the pickled state only."""

    def __init__(self, *_args: object) -> None:
        """Ignore the constructor arguments of the real class."""
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: object) -> None:
        """Keep the pickled state."""
        self.state = state if isinstance(state, dict) else {}

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Shape of a sparse matrix as stated in the file; None for other arrays."""
        stated = self.state.get("_shape") or self.state.get("shape")
        return tuple(map(int, stated)) if isinstance(stated, tuple | list) else None

    def to_array(self) -> np.ndarray:
        """Dense array.

        Raises:
            KeyError, TypeError, ValueError, IndexError: the file is damaged.
        """
        if "x" in self.state:
            return np.asarray(self.state["x"])
        rows, columns, values, shape = self.entries()
        if shape[0] * shape[1] > _MAX_DENSE:
            raise ValueError("a sparse matrix of this size is not made dense")
        dense = np.zeros(shape)
        np.add.at(dense, (rows, columns), values)
        return dense

    def entries(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, int]]:
        """Row indices, column indices and values of a sparse matrix, and its shape.

        Raises:
            KeyError, TypeError, ValueError, IndexError: the file is damaged.
        """
        rows, columns = self.state.get("_shape") or self.state["shape"]
        if "row" in self.state or "coords" in self.state:
            first, second = self.state.get("coords") or (self.state["row"], self.state["col"])
            return first, second, self.state["data"], (rows, columns)
        along = self._by_column and columns or rows
        counts, minor = np.diff(self.state["indptr"]), self.state["indices"]
        if len(counts) != along or counts.min(initial=0) < 0 or counts.sum() != len(minor):
            raise ValueError("a sparse matrix is damaged")
        major = np.repeat(np.arange(along), counts)
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


def _bytearray(*arguments: object) -> bytearray:
    """Replacement for `bytearray` without the form that takes a number of bytes."""
    if not arguments:
        return bytearray()
    content = arguments[0]
    if isinstance(content, str):
        content = content.encode("latin1")
    if not isinstance(content, bytes):
        raise pickle.UnpicklingError("bytearray of another class than bytes")
    return bytearray(content)


def _no_set(*_arguments: object) -> None:
    """Replacement for `set`, with which chumpy marks the arrays to compute again."""


def _empty_array(*arguments: object) -> np.ndarray:
    """Replacement for NumPy's `_reconstruct`: contents follow as bytes, never as a size."""
    if arguments[1:] != ((0,), b"b") and arguments[1:] != ((0,), "b"):
        raise pickle.UnpicklingError("an array that is not empty at first")
    return np.zeros(0, "b")


class _Array:
    """Replacement for the class `numpy.ndarray`."""

    def __new__(cls, shape: Any, dtype: Any, buffer: object) -> np.ndarray:  # type: ignore[misc]  # noqa: ANN401
        """Array over given bytes; NumPy's class also allocates memory of any size."""
        if not isinstance(buffer, bytes | bytearray):
            raise pickle.UnpicklingError("an array without contents")
        return np.ndarray(shape, dtype, buffer)


_ALLOWED: dict[str, Any] = {
    "multiarray._reconstruct": _empty_array,
    "multiarray.scalar": np.float64(0).__reduce__()[0],
    "numeric._frombuffer": _from_buffer,
    "numpy.ndarray": _Array,
    "numpy.dtype": np.dtype,
    "_codecs.encode": lambda text, _encoding: text.encode("latin1"),
    "copyreg._reconstructor": _reconstruct,
    "copy_reg._reconstructor": _reconstruct,
    "builtins.bytearray": _bytearray,
    "__builtin__.bytearray": _bytearray,
    "builtins.set": _no_set,
    "__builtin__.set": _no_set,
    "builtins.object": object,
    "__builtin__.object": object,
    "csc_matrix": StoredArray,
    "csc_array": StoredArray,
    "csr_matrix": _StoredByRow,
    "csr_array": _StoredByRow,
    "coo_matrix": StoredArray,
    "coo_array": StoredArray,
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


def load_array_pickle(source: BinaryIO | bytes) -> object:
    """Load a pickle of built-in containers, NumPy arrays and `StoredArray`s.

    Args:
        source: an open file, or the content of one.

    Raises:
        pickle.UnpicklingError: the pickle needs another class, named in the message, or is built
            to exhaust memory.
        Exception: a damaged pickle can raise nearly any exception.
    """
    file = io.BytesIO(source) if isinstance(source, bytes) else _mapped(source)
    _check_operations(file)
    file.seek(0)
    return _Unpickler(cast(Any, file), encoding="latin1").load()


def _mapped(file: BinaryIO) -> io.BytesIO | mmap.mmap:
    """Content of a file, without a copy where the system allows.

    Reading more bytes than there are then allocates no memory.
    """
    try:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):  # no file of the system, or an empty one
        return io.BytesIO(file.read())


def _check_operations(file: io.BytesIO | mmap.mmap) -> None:
    """Refuse a pickle whose operations allocate more memory than the file has.

    The unpickler believes the stated length of a text and the largest number of its memo.
    """
    for count, (operation, argument, _) in enumerate(pickletools.genops(cast(Any, file))):
        if count > _MAX_OPERATIONS:
            raise pickle.UnpicklingError("more parts than arrays need")
        if (
            operation.name in ("PUT", "BINPUT", "LONG_BINPUT")
            and int(cast(Any, argument)) > _MAX_OPERATIONS
        ):
            raise pickle.UnpicklingError("a memo of more parts than arrays need")
