"""Body models of all genders, and their vertex lists."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import torch

from aios.body.file import read_body_file
from aios.body.location import find_body_file
from aios.body.model import BodyModel

from ..targets import FEMALE, MALE
from .benchmarks import Benchmark
from .metrics import (
    LICENSED_FILES,
    BodyParts,
    LicensedFileError,
    SmplConversion,
    load_smpl_parts,
    load_smplx_parts,
)
from .metrics.person_arrays import NUM_METRIC_JOINTS

_GENDERS = {MALE: "MALE", FEMALE: "FEMALE"}
_SITE = "https://smpl-x.is.tue.mpg.de (free registration)"
_BATCH_SIZE = 16


class Bodies:
    """The neutral body, and the male and female ones, loaded when needed.

    Attributes:
        neutral: body of the predictions.
    """

    def __init__(self, neutral: BodyModel, path: str | Path | None) -> None:
        """Store the neutral body and its path (None: default path of `BodyModel.load`)."""
        self.neutral = neutral
        self._path = find_body_file(path)
        self._others: dict[int, BodyModel] = {}

    def pose(
        self, parameters: Mapping[str, np.ndarray], gender: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Pose n annotated people.

        Args:
            parameters: as `BodyModel` takes them, each (n, numbers).
            gender: (n,) `NEUTRAL`, `MALE` or `FEMALE`.

        Returns:
            Vertices (n, V, 3) and joints (n, 127, 3), float32 metres.

        Raises:
            LicensedFileError: a gendered body is missing beside the neutral one.
        """
        count = len(gender)
        vertices: np.ndarray | None = None
        joints = np.zeros((count, NUM_METRIC_JOINTS, 3), np.float32)
        for kind in np.unique(gender).tolist():
            body = self._body_of(kind)
            people = np.flatnonzero(gender == kind)
            for start in range(0, len(people), _BATCH_SIZE):
                rows = people[start : start + _BATCH_SIZE]
                with torch.inference_mode():
                    posed = body({k: torch.from_numpy(v[rows]) for k, v in parameters.items()})
                if vertices is None:
                    vertices = np.zeros((count, *posed.vertices.shape[1:]), np.float32)
                vertices[rows] = posed.vertices.cpu().numpy()
                joints[rows] = posed.joints_3d[:, :NUM_METRIC_JOINTS].cpu().numpy()
        return (np.zeros((0, 1, 3), np.float32) if vertices is None else vertices), joints

    def _body_of(self, gender: int) -> BodyModel:
        if gender not in _GENDERS or self.neutral.is_standin:
            return self.neutral
        if gender not in self._others:
            names = [f"SMPLX_{_GENDERS[gender]}{suffix}" for suffix in (".npz", ".pkl")]
            found = [self._path.parent / name for name in names]
            path = next((path for path in found if path.is_file()), None)
            if path is None:
                raise LicensedFileError(
                    f"{names[0]} is not in {self._path.parent}: it is needed to pose people "
                    f"annotated with a gendered body; get it from {_SITE}."
                )
            self._others[gender] = BodyModel(*read_body_file(path))
        return self._others[gender]

    def parts(self, needs: Collection[str], folder: Path | None = None) -> BodyParts:
        """Load the published vertex lists, or derive those of the stand-in.

        Args:
            needs: subset of "body", "hands", "face" and "j14".
            folder: of the licensed lists; None takes that of the body.

        Raises:
            LicensedFileError: a list is missing or has unexpected content.
        """
        arrays = read_body_file(self._path).arrays
        # Rounded rows do not sum to 1, which would make the errors depend on the translation.
        regressor = arrays["J_regressor"].astype(np.float64)
        regressor /= regressor.sum(1, keepdims=True)
        if self.neutral.is_standin:
            return BodyParts.from_skinning(arrays["weights"], regressor)
        return load_smplx_parts(folder or self._path.parent, regressor, set(needs))

    def smpl(self, folder: Path | None = None) -> tuple[BodyParts, SmplConversion]:
        """Load the vertex lists of SMPL and the conversion from SMPL-X.

        Raises:
            LicensedFileError: a file is missing or has unexpected content.
        """
        where = folder or self._path.parent
        return load_smpl_parts(where), self.smpl_conversion(where)

    def smpl_conversion(self, folder: Path | None = None) -> SmplConversion:
        """Load the conversion from SMPL-X to SMPL.

        Raises:
            LicensedFileError: a file is missing or has unexpected content.
        """
        where = folder or self._path.parent
        files = (LICENSED_FILES[name].find(where) for name in ("smplx2smpl", "smpl"))
        return SmplConversion.load(*files)


def check_body(benchmark: Benchmark, body: BodyModel) -> None:
    """Check that benchmarks on real data use the SMPL-X body.

    Raises:
        LicensedFileError: only the stand-in body is available.
    """
    if body.is_standin and benchmark.kind != "synthetic":
        raise LicensedFileError(
            f"{benchmark.name} needs SMPL-X, but only the stand-in body is available: give --body "
            f"the folder of SMPLX_NEUTRAL.npz, which you can download from {_SITE}."
        )
