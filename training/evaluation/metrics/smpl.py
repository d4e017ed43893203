"""Conversion of SMPL-X meshes to SMPL meshes, for the SMPL track of AGORA."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from scipy.sparse import csr_matrix

from aios.body.file import NUM_VERTICES

from .licensed_files import LicensedFileError, read_sparse

NUM_SMPL_VERTICES = 6890
NUM_SMPL_JOINTS = 24
_MATRIX_NAMES = ("matrix", "mtx")


@dataclass(frozen=True)
class SmplConversion:
    """Linear map from SMPL-X vertices to SMPL vertices and joints.

    Attributes:
        matrix: (6890, 10475), sparse.
        joint_regressor: (24, 6890), sparse, of the neutral SMPL body.
    """

    matrix: csr_matrix
    joint_regressor: csr_matrix

    @classmethod
    def load(cls, matrix_file: Path, smpl_file: Path) -> Self:
        """Read the two licensed files.

        Args:
            matrix_file: `smplx2smpl.pkl` of BEDLAM (`matrix`) or `smplx2smpl_deftrafo_setup.pkl`
                of the smplx repository (`mtx`, first 10475 columns); or an `.npz` with one of
                these arrays.
            smpl_file: neutral SMPL body, `.pkl` or `.npz`, with `J_regressor`.

        Raises:
            LicensedFileError: a file is missing or has unexpected content.
        """
        found = read_sparse(matrix_file, "smplx2smpl")
        matrix = next((found[name] for name in _MATRIX_NAMES if name in found), None)
        if matrix is None or matrix.shape[0] != NUM_SMPL_VERTICES:
            raise LicensedFileError(
                f"{matrix_file} holds no {NUM_SMPL_VERTICES} x {NUM_VERTICES} array named matrix "
                f"or mtx, the map from SMPL-X to SMPL vertices."
            )
        if matrix.shape[1] < NUM_VERTICES:
            raise LicensedFileError(
                f"The array in {matrix_file} has {matrix.shape[1]} columns, fewer than "
                f"{NUM_VERTICES}: it does not convert from SMPL-X."
            )
        regressor = read_sparse(smpl_file, "smpl").get("J_regressor")
        if regressor is None or regressor.shape != (NUM_SMPL_JOINTS, NUM_SMPL_VERTICES):
            raise LicensedFileError(
                f"{smpl_file} holds no J_regressor of {NUM_SMPL_JOINTS} x {NUM_SMPL_VERTICES}: it "
                f"is no SMPL body."
            )
        return cls(matrix[:, :NUM_VERTICES], regressor)

    def __call__(self, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Convert SMPL-X vertices (P, 10475, 3) in any unit and frame.

        Returns:
            SMPL vertices (P, 6890, 3) and joints (P, 24, 3), float64.
        """
        converted = _apply(self.matrix, vertices)
        return converted, _apply(self.joint_regressor, converted)


def _apply(matrix: csr_matrix, points: np.ndarray) -> np.ndarray:
    """Product of (N, V) and (P, V, 3) -> (P, N, 3)."""
    people, count, _ = points.shape
    flat = points.astype(np.float64).transpose(1, 0, 2).reshape(count, 3 * people)
    return (matrix @ flat).reshape(matrix.shape[0], people, 3).transpose(1, 0, 2)
