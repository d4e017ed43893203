"""Read `.npz` archives of unknown origin: sizes are checked before memory is allocated."""

from __future__ import annotations

import math
import pickle
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.lib import format as npy

from .array_pickle import load_array_pickle

_READERS: dict[tuple[int, int], Callable[[IO[bytes]], tuple[tuple[int, ...], bool, np.dtype]]] = {
    (1, 0): npy.read_array_header_1_0,
    (2, 0): npy.read_array_header_2_0,
}
_MAX_PICKLE_BYTES = 100_000_000

Check = Callable[[str, tuple[int, ...]], None]
"""Called with name and shape of an array before it is read; raises to refuse it."""


def read_npz(path: Path, names: Collection[str], check: Check) -> dict[str, Any]:
    """Read those of `names` that an archive has.

    Args:
        path: the archive.
        names: of the arrays.
        check: of the shape of each array of numbers.

    Returns:
        Arrays by name. A pickled array with one element gives that element, as far as
        `load_array_pickle` reads it.

    Raises:
        zipfile.BadZipFile, ValueError, EOFError, KeyError, NotImplementedError: damaged.
        pickle.UnpicklingError: a pickled array that needs another class.
        OSError: it cannot be read.
    """
    found: dict[str, Any] = {}
    with zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        for name in names:
            if name in members:
                with archive.open(members[name]) as file:
                    found[name] = _read_array(file, name, members[name].file_size, check)
    return found


def _read_array(file: IO[bytes], name: str, size: int, check: Check) -> Any:  # noqa: ANN401
    version = npy.read_magic(file)
    if version not in _READERS:
        raise ValueError(f"{name} has another version of the NumPy format")
    shape, is_fortran, dtype = _READERS[version](file)
    if dtype.hasobject:
        if size > _MAX_PICKLE_BYTES:
            raise pickle.UnpicklingError("a large pickled array")
        content = np.asarray(load_array_pickle(file.read(_MAX_PICKLE_BYTES)), dtype=object)
        return content.item() if content.size == 1 else content
    check(name, shape)
    count = math.prod(shape)
    if count * dtype.itemsize > size:
        raise ValueError(f"{name} is cut off")
    values = np.frombuffer(bytearray(file.read(count * dtype.itemsize)), dtype, count)
    order = "F" if is_fortran else "C"
    return values.reshape(shape, order=cast(Any, order))
