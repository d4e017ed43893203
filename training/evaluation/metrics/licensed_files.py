"""Licensed files of the published benchmarks: names, download pages, and reading them."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from aios.body.array_pickle import StoredArray, load_array_pickle
from aios.body.file import NUM_VERTICES

from .parts import BodyParts, hand_regressor

_SMPLX_SITE = "https://smpl-x.is.tue.mpg.de (free registration)"
_SMPL_SITE = "https://smpl.is.tue.mpg.de (free registration)"
_DAMAGED = (
    *(pickle.UnpicklingError, zipfile.BadZipFile),
    *(OSError, EOFError, ValueError, KeyError, TypeError, IndexError),
    *(AttributeError, ImportError, UnicodeDecodeError),
)


class LicensedFileError(ValueError):
    """A licensed file is missing or unusable; the message names its source."""


@dataclass(frozen=True)
class LicensedFile:
    """A file that the program may not distribute.

    Attributes:
        name: file name of the download.
        purpose: metrics that need it, as the end of a sentence.
        source: download page, as the end of a sentence.
    """

    name: str
    purpose: str
    source: str

    def find(self, folder: Path) -> Path:
        """Return its path in `folder`.

        Raises:
            LicensedFileError: the file is missing.
        """
        path = folder / self.name
        if not path.is_file():
            raise LicensedFileError(
                f"{self.name} is not in {folder}: it is needed for {self.purpose}; get it from "
                f"{self.source}."
            )
        return path


LICENSED_FILES = {
    "hands": LicensedFile(
        "MANO_SMPLX_vertex_ids.pkl",
        "errors of the hands",
        f"the downloads 'MANO and FLAME vertex indices' at {_SMPLX_SITE}",
    ),
    "face": LicensedFile(
        "SMPL-X__FLAME_vertex_ids.npy",
        "errors of the face",
        f"the downloads 'MANO and FLAME vertex indices' at {_SMPLX_SITE}",
    ),
    "j14": LicensedFile(
        "SMPLX_to_J14.pkl",
        "PA-MPJPE of the body",
        f"the downloads of ExPose at https://expose.is.tue.mpg.de or of SMPL-X at {_SMPLX_SITE}",
    ),
    "body": LicensedFile(
        "body_verts_smplx.npy",
        "errors of the body on AGORA and BEDLAM",
        "the folder utils of https://github.com/pixelite1201/agora_evaluation",
    ),
    "smpl_body": LicensedFile(
        "body_verts_smpl.npy",
        "errors on the SMPL track of AGORA",
        "the folder utils of https://github.com/pixelite1201/agora_evaluation",
    ),
    "smplx2smpl": LicensedFile(
        "smplx2smpl.pkl",
        "turning SMPL-X meshes into SMPL meshes",
        "the downloads of https://bedlam.is.tue.mpg.de (free registration)",
    ),
    "smpl": LicensedFile(
        "SMPL_NEUTRAL.pkl",
        "joints of SMPL meshes",
        f"the downloads at {_SMPL_SITE}",
    ),
}
"""Files beside the body model, by topic."""


def read_arrays(path: Path, about: str) -> dict[str, np.ndarray]:
    """Read the arrays of an `.npz`, `.npy` or `.pkl` file without executing pickled code.

    Args:
        path: the file.
        about: key of `LICENSED_FILES`, for the error message.

    Returns:
        Dense arrays by name; an unnamed array has the name "".

    Raises:
        LicensedFileError: the file is missing or damaged.
    """
    return _read(path, about, lambda stored: stored.to_array(), np.asarray)


def read_sparse(path: Path, about: str) -> dict[str, csr_matrix]:
    """Read the matrices of a file as `read_arrays` does, but sparse.

    Returns:
        Matrices by name; other arrays are skipped.
    """

    def from_entries(stored: StoredArray) -> csr_matrix | None:
        if stored.shape is None:
            return None
        rows, columns, values, shape = stored.entries()
        return csr_matrix((values, (rows, columns)), shape)

    def from_array(value: np.ndarray) -> csr_matrix | None:
        return csr_matrix(value) if value.ndim == 2 and value.dtype.kind in "iuf" else None

    found = _read(path, about, from_entries, from_array)
    return {name: matrix for name, matrix in found.items() if matrix is not None}


def _read(
    path: Path,
    about: str,
    from_stored: Callable[[StoredArray], Any],
    from_array: Callable[[np.ndarray], Any],
) -> dict[str, Any]:
    """Apply one of the two functions to each array of a file."""
    file = LICENSED_FILES[about]
    if not path.is_file():
        file.find(path.parent)
        raise LicensedFileError(f"{path} does not exist; it is needed for {file.purpose}.")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                return {name: from_array(archive[name]) for name in archive.files}
        if path.suffix == ".npy":
            return {"": from_array(np.load(path, allow_pickle=False))}
        with path.open("rb") as stream:
            content = load_array_pickle(stream)
        named = content if isinstance(content, dict) else {"": content}
        return {
            name: from_stored(value) if isinstance(value, StoredArray) else from_array(value)
            for name, value in named.items()
            if isinstance(value, StoredArray | np.ndarray)
        }
    except _DAMAGED as error:
        raise LicensedFileError(
            f"{path} cannot be read as arrays ({error}): get {file.name} again from {file.source}."
        ) from error


def load_smplx_parts(folder: Path, joint_regressor: np.ndarray, needs: set[str]) -> BodyParts:
    """Load the published vertex lists of SMPL-X.

    Args:
        folder: folder of the licensed files.
        joint_regressor: (55, 10475) of the SMPL-X body.
        needs: subset of "body", "hands", "face" and "j14"; the other lists are empty.

    Raises:
        LicensedFileError: a required file is missing or has unexpected content.
    """
    nothing = np.zeros(0, np.int64)
    hands = {"left_hand": nothing, "right_hand": nothing}
    if "hands" in needs:
        found = read_arrays(LICENSED_FILES["hands"].find(folder), "hands")
        hands = {name: _indices(found.get(name), "hands") for name in hands}
    lists = {"body": nothing, "face": nothing}
    for name in lists.keys() & needs:
        content = read_arrays(LICENSED_FILES[name].find(folder), name)
        lists[name] = _indices(content.get(""), name)
    j14 = np.zeros((0, NUM_VERTICES))
    if "j14" in needs:
        found = read_arrays(LICENSED_FILES["j14"].find(folder), "j14")
        j14 = next(iter(found.values()), j14)
        if j14.shape != (14, NUM_VERTICES):
            raise _wrong("j14", f"no matrix of 14 x {NUM_VERTICES}")
    return BodyParts(
        **lists,
        **hands,
        joint_regressor=joint_regressor,
        j14_regressor=j14,
        left_hand_regressor=hand_regressor(joint_regressor, "left"),
        right_hand_regressor=hand_regressor(joint_regressor, "right"),
    )


def load_smpl_parts(folder: Path) -> BodyParts:
    """Load the published vertex list of the SMPL track.

    Raises:
        LicensedFileError: the file is missing or has unexpected content.
    """
    content = read_arrays(LICENSED_FILES["smpl_body"].find(folder), "smpl_body")
    return BodyParts.only_body(_indices(content.get(""), "smpl_body"))


def _indices(values: np.ndarray | None, about: str) -> np.ndarray:
    if values is None or values.ndim != 1 or values.dtype.kind not in "iu" or not values.size:
        raise _wrong(about, "no list of vertex numbers")
    if values.min() < 0 or values.max() >= NUM_VERTICES:
        raise _wrong(about, "vertex numbers outside of SMPL-X")
    return values.astype(np.int64)


def _wrong(about: str, what: str) -> LicensedFileError:
    file = LICENSED_FILES[about]
    return LicensedFileError(f"{file.name} holds {what}: get it again from {file.source}.")
