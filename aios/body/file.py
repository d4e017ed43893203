"""Read a body model file in the SMPL-X layout (`.npz` or `.pkl`) without executing its code."""

from __future__ import annotations

import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from .array_layout import Layout, find_layout
from .array_pickle import StoredArray, load_array_pickle
from .npz_members import read_npz
from .plausible import find_implausible

NUM_VERTICES = 10475
NUM_JOINTS = 55

HINT = "get SMPLX_NEUTRAL.npz from https://smpl-x.is.tue.mpg.de (free registration)"
FILE_NAMES = ("SMPLX_NEUTRAL.npz", "SMPLX_NEUTRAL.pkl")
_POSE_FEATURES = 9 * (NUM_JOINTS - 1)
_SHAPES: dict[str, tuple[int | None, ...]] = {
    "v_template": (NUM_VERTICES, 3),
    "f": (None, 3),
    "shapedirs": (NUM_VERTICES, 3, None),
    "posedirs": (NUM_VERTICES, 3, _POSE_FEATURES),
    "J_regressor": (NUM_JOINTS, NUM_VERTICES),
    "weights": (NUM_VERTICES, NUM_JOINTS),
    "kintree_table": (2, NUM_JOINTS),
    "hands_meanl": (45,),
    "hands_meanr": (45,),
    "lmk_faces_idx": (51,),
    "lmk_bary_coords": (51, 3),
    "dynamic_lmk_faces_idx": (79, 17),
    "dynamic_lmk_bary_coords": (79, 17, 3),
}
_INTEGER = ("f", "kintree_table", "lmk_faces_idx", "dynamic_lmk_faces_idx")
_MAX_FREE_SIZE = 50_000
"""Most faces and shape components; SMPL-X has 20,908 and 400."""
_MAX_PICKLE_BYTES = 1_500_000_000
_START_BYTES = 64
_PICKLE_STARTS = (b"\x80", b"(", b"}")
_STANDIN_NOTE = "standin_note"
_DAMAGED = (AttributeError, EOFError, IndexError, KeyError, TypeError, ValueError)
_OTHER_MODELS = {6890: "SMPL or SMPL+H", 778: "MANO", 5023: "FLAME"}
_SHAPE_COMPONENTS = {20: 10, 400: 300}
"""Columns of `shapedirs` -> where its expression components start."""


class BodyModelError(ValueError):
    """Unusable body model file, or parameters that do not fit; the message names the remedy."""


class BodyArrays(NamedTuple):
    """Validated file: float32 and int64 arrays by file key, with `shapedirs` cut to 10 + 10."""

    arrays: dict[str, np.ndarray]
    is_standin: bool


def read_body_file(path: Path) -> BodyArrays:
    """Read and validate the arrays that posing needs; the content counts, not the suffix.

    Raises:
        BodyModelError: the file is not a neutral SMPL-X model in the `.npz` or `.pkl` layout.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_START_BYTES)
        raw = _read_npz(path) if _is_archive(path, start) else _read_pickle(path)
        arrays = _validated(path, raw)
    except OSError as error:
        raise BodyModelError(f"cannot read {path}: {error.strerror or error}") from error
    except MemoryError as error:
        raise BodyModelError(
            f"there is not enough memory to read {path}: close other programs"
        ) from error
    if problem := find_implausible(arrays):
        raise BodyModelError(f"{path} is not an SMPL-X model: {problem}; {HINT}")
    return BodyArrays(arrays, _STANDIN_NOTE in raw)


def _is_archive(path: Path, start: bytes) -> bool:
    """Whether the content of a file is an archive, or else is to be read as a pickle.

    Raises:
        BodyModelError: it is neither, by its first bytes.
    """
    if start.startswith(b"PK"):
        return True
    if start.startswith(b"version https://git-lfs"):
        raise BodyModelError(f"{path} is a Git LFS pointer: fetch the file with `git lfs pull`")
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise BodyModelError(f"{path} is a web page, not a body model: log in first; {HINT}")
    return path.suffix.lower() == ".npz" and start[:1] not in _PICKLE_STARTS


def _validated(path: Path, raw: dict[str, Any]) -> dict[str, np.ndarray]:
    if "v_template" in raw:
        _check_vertex_count(path, len(np.atleast_1d(raw["v_template"])))
    missing = [name for name in _SHAPES if name not in raw]
    if missing:
        raise BodyModelError(
            f"{path} is not an SMPL-X model: it lacks {', '.join(missing)}; {HINT}"
        )
    arrays = {name: _checked(path, name, raw[name]) for name in _SHAPES}
    arrays["shapedirs"] = _ten_and_ten(path, arrays["shapedirs"])
    _check_indices(path, arrays)
    return arrays


def _check_vertex_count(path: Path, count: int) -> None:
    if count in _OTHER_MODELS:
        raise BodyModelError(
            f"{path} is a {_OTHER_MODELS[count]} model ({count} vertices), expected SMPL-X "
            f"({NUM_VERTICES}); {HINT}"
        )


def _checked(path: Path, name: str, value: np.ndarray) -> np.ndarray:
    value = _layout(path, name, value.shape).apply(value)
    if value.dtype.kind not in "iuf" or not np.isfinite(value).all():
        raise BodyModelError(f"{path} is damaged: {name} has values that are not finite numbers")
    if name not in _INTEGER:
        return np.ascontiguousarray(value, np.float32)
    whole = np.ascontiguousarray(value, np.int64)
    if not np.array_equal(whole, value):
        raise BodyModelError(f"{path} is damaged: {name} has numbers that are not whole")
    return whole


def _layout(path: Path, name: str, shape: tuple[int, ...]) -> Layout:
    """How the array `name` is read from one of `shape`.

    Raises:
        BodyModelError: it does not have the shape of SMPL-X.
    """
    if name == "v_template" and shape:
        _check_vertex_count(path, shape[0])
    expected = _SHAPES[name]
    layout = find_layout(shape, expected)
    if layout is None or any(
        wanted is None and size > _MAX_FREE_SIZE
        for size, wanted in zip(layout.shape, expected, strict=True)
    ):
        text = " x ".join(f"up to {_MAX_FREE_SIZE}" if n is None else str(n) for n in expected)
        raise BodyModelError(
            f"{path} is not an SMPL-X model: {name} has shape {shape}, expected {text}; {HINT}"
        )
    return layout


def _ten_and_ten(path: Path, shapedirs: np.ndarray) -> np.ndarray:
    """(V, 3, 20 or 400) -> (V, 3, 20): first ten components of shape and of expression."""
    start = _SHAPE_COMPONENTS.get(shapedirs.shape[-1])
    if start is None:
        raise BodyModelError(
            f"{path}: shapedirs has {shapedirs.shape[-1]} components, expected 10 + 10 or "
            f"300 + 100 (shape + expression); {HINT}"
        )
    return np.concatenate([shapedirs[..., :10], shapedirs[..., start : start + 10]], -1)


def _check_indices(path: Path, arrays: dict[str, np.ndarray]) -> None:
    parents = arrays["kintree_table"][0]
    num_faces = len(arrays["f"])
    valid = (
        _indices_below(arrays["f"], NUM_VERTICES)
        and _indices_below(arrays["lmk_faces_idx"], num_faces)
        and _indices_below(arrays["dynamic_lmk_faces_idx"], num_faces)
        and bool(((parents[1:] >= 0) & (parents[1:] < np.arange(1, NUM_JOINTS))).all())
    )
    if not valid:
        raise BodyModelError(
            f"{path} is damaged: it has indices of missing vertices, faces or joints"
        )


def _indices_below(indices: np.ndarray, count: int) -> bool:
    return indices.size > 0 and int(indices.min()) >= 0 and int(indices.max()) < count


def _read_npz(path: Path) -> dict[str, Any]:
    def check(name: str, shape: tuple[int, ...]) -> None:
        if name in _SHAPES:
            _layout(path, name, shape)

    try:
        # Official files also have pickled dictionaries, which are not read.
        raw = read_npz(path, (*_SHAPES, _STANDIN_NOTE), check)
        if not raw and _holds_a_model(path):
            raise BodyModelError(
                f"{path} is an archive that contains other files: unpack it and give the"
                f" {FILE_NAMES[0]} in it; {HINT}"
            )
        return _dense(path, raw)
    except BodyModelError:
        raise
    except pickle.UnpicklingError as error:
        raise BodyModelError(
            f"{path} has a pickled array that contains {error}, which was not run; {HINT}"
        ) from error
    except (*_DAMAGED, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise BodyModelError(f"{path} is not a readable .npz body model; {HINT}") from error


def _holds_a_model(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return not any(name.endswith(".npy") for name in archive.namelist())


def _read_pickle(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _MAX_PICKLE_BYTES:
        raise BodyModelError(f"{path} is too large for a body model; {HINT}")
    with path.open("rb") as file:
        content = _unpickle(path, file)
    if not isinstance(content, dict):
        raise BodyModelError(f"{path} is not a body model pickle; {HINT}")
    return _dense(path, {name: value for name, value in content.items() if name in _SHAPES})


def _dense(path: Path, stored: dict[str, Any]) -> dict[str, Any]:
    """Arrays from arrays, sparse matrices and chumpy arrays."""
    found = {}
    try:
        for name, value in stored.items():
            if isinstance(value, StoredArray):
                shape = value.shape
                if shape is not None:
                    _layout(path, name, shape)
                value = value.to_array()
            found[name] = np.asarray(value)
    except BodyModelError:
        raise
    except _DAMAGED as error:
        raise BodyModelError(f"{path} is damaged; {HINT}") from error
    return found


def _unpickle(path: Path, file: BinaryIO) -> object:
    try:
        return load_array_pickle(file)
    except pickle.UnpicklingError as error:
        raise BodyModelError(
            f"{path} is not a body model pickle, it contains {error}; {HINT}"
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle can raise nearly any exception
        raise BodyModelError(f"{path} is not a readable body model pickle; {HINT}") from error
