"""Submission forms: file names and content that a leaderboard accepts.

Sources: https://github.com/pixelite1201/agora_evaluation (documentation and code) for AGORA, the
submission page of https://bedlam.is.tue.mpg.de for BEDLAM.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np

FOLDER = "predictions"
_PERSON = re.compile(rf"{FOLDER}/([^/]+)_personId_(\d+)\.pkl")
_SMALL = "_1280x720"
_FEWEST_JOINTS_2D = 24
_ROTATIONS = (
    *("global_orient", "body_pose", "left_hand_pose", "right_hand_pose"),
    *("jaw_pose", "leye_pose", "reye_pose"),
)
_GENDERS = ("neutral", "male", "female")
_BETAS = (10, 299)
Entry = Mapping[str, Any]
"""Content of the pickle of one person."""


class SubmissionError(ValueError):
    """The leaderboard would refuse a submission."""


@dataclass(frozen=True)
class SubmissionForm:
    """Submission form of one leaderboard.

    Attributes:
        name: of the form.
        num_vertices: of a mesh.
        num_joints: of `allSmplJoints3d`.
        resolution_wh: pixel resolution of 2D joints at any image size; None means that of the
            image.
        parameters: shapes of the body parameters that may replace the mesh; None if a mesh is
            required.
    """

    name: str
    num_vertices: int
    num_joints: int
    resolution_wh: tuple[int, int] | None
    parameters: Mapping[str, tuple[int, ...]] | None

    def image_name(self, path: PurePath | str) -> str:
        """Name of an image on the leaderboard.

        Args:
            path: of the image; for BEDLAM `.../SCENE/png/SEQUENCE/FRAME.png`.

        Raises:
            SubmissionError: the path of a BEDLAM image is too short.
        """
        path = PurePath(path)
        if self.name != "bedlam":
            return f"{path.stem.replace(_SMALL, '')}.png"
        if len(path.parts) < 4:
            raise SubmissionError(
                f"{path} is not SCENE/png/SEQUENCE/FRAME.png: the name needs the BEDLAM scene."
            )
        return f"{path.parts[-4]}_frameID_{path.stem}.png"

    def fault(self, entry: object) -> str | None:
        """Error in the entry of one person, as the end of a sentence; None if it is valid."""
        if not isinstance(entry, Mapping):
            return f"holds a {type(entry).__name__} instead of a dictionary"
        if "joints" not in entry:
            return "lacks joints, the 24 joints in pixels used for matching"
        if found := _array_fault(entry["joints"], "joints", None):
            return found
        shape = entry["joints"].shape
        if len(shape) != 2 or shape[0] < _FEWEST_JOINTS_2D or shape[1] != 2:
            return f"has joints of shape {shape} instead of (24, 2) pixels"
        if "verts" in entry or "allSmplJoints3d" in entry:
            return self._mesh_fault(entry)
        if "params" in entry:
            return self._parameter_fault(entry)
        return "has neither verts and allSmplJoints3d nor params"

    def _mesh_fault(self, entry: Entry) -> str | None:
        wanted = {"verts": (self.num_vertices, 3), "allSmplJoints3d": (self.num_joints, 3)}
        for name, shape in wanted.items():
            if name not in entry:
                other = next(key for key in wanted if key != name)
                return f"has {other} but lacks {name}: a mesh needs both"
            if found := _array_fault(entry[name], name, shape):
                return found
        return None

    def _parameter_fault(self, entry: Entry) -> str | None:
        if self.parameters is None:
            return f"has params, but {self.name} takes only verts and allSmplJoints3d"
        params = entry["params"]
        if not isinstance(params, Mapping):
            return f"has params of type {type(params).__name__} instead of a dictionary"
        try:
            wanted = self._parameter_shapes(entry)
        except ValueError as error:
            return str(error)
        if lacks := sorted(set(wanted) - set(params)):
            return f"has params that lack {', '.join(lacks)}"
        if unknown := sorted(map(str, set(params) - set(wanted) - {"transl"})):
            return f"has unknown params: {', '.join(unknown)}"
        faults = (_array_fault(params[name], name, shape) for name, shape in wanted.items())
        return next((found for found in faults if found), None)

    def _parameter_shapes(self, entry: Entry) -> dict[str, tuple[int, ...]]:
        """Shapes required by the options of an entry; a ValueError is the end of a sentence."""
        assert self.parameters is not None
        wanted = dict(self.parameters)
        gender = str(option(entry, "gender", "neutral"))
        if gender not in _GENDERS:
            raise ValueError(f"has gender {gender!r} instead of one of {', '.join(_GENDERS)}")
        betas = int(option(entry, "num_betas", _BETAS[0]))
        if not _BETAS[0] <= betas <= _BETAS[1]:
            raise ValueError(f"has num_betas {betas} instead of {_BETAS[0]} to {_BETAS[1]}")
        wanted["betas"] = (1, betas + bool(option(entry, "kid_flag", False)))
        if not option(entry, "pose2rot", True):
            for name in set(_ROTATIONS) & set(wanted):
                wanted[name] = (1, int(np.prod(wanted[name])) // 3, 3, 3)
        return wanted


def option(entry: Entry, name: str, otherwise: Any) -> Any:  # noqa: ANN401 - a pickled value
    """Read an optional value, a scalar or an array of one element."""
    value = entry.get(name, otherwise)
    if not isinstance(value, np.ndarray):
        return value
    if value.size != 1:
        raise ValueError(f"has {name} with {value.size} values instead of one")
    return value.reshape(-1)[0]


def _array_fault(value: object, name: str, shape: tuple[int, ...] | None) -> str | None:
    if not isinstance(value, np.ndarray):
        return f"has {name} of type {type(value).__name__} instead of a numpy array"
    if shape is not None and value.shape != shape:
        return f"has {name} of shape {value.shape} instead of {shape}"
    if value.dtype.kind not in "fiu" or not np.isfinite(value).all():
        return f"has values in {name} that are not finite numbers"
    return None


def file_name(image: str, person: int) -> str:
    """Path in the zip of a person, given by its index in an image (`NAME.png`)."""
    return f"{FOLDER}/{image.removesuffix('.png')}_personId_{person}.pkl"


def parse_name(name: str) -> tuple[str, int] | None:
    """Image name (`NAME.png`) and person index of a path in the zip; None for other paths."""
    found = _PERSON.fullmatch(name)
    return (f"{found[1]}.png", int(found[2])) if found else None


_SMPLX_PARAMETERS = {
    **{"transl": (1, 3), "betas": (1, 10), "expression": (1, 10)},
    **{"global_orient": (1, 3), "body_pose": (1, 63), "jaw_pose": (1, 3)},
    **{"left_hand_pose": (1, 45), "right_hand_pose": (1, 45)},
    **{"leye_pose": (1, 3), "reye_pose": (1, 3)},
}
_SMPL_PARAMETERS = {
    **{"global_orient": (1, 1, 3), "body_pose": (1, 23, 3)},
    "betas": (1, 10),
}
AGORA = SubmissionForm("agora", 10475, 127, (3840, 2160), _SMPLX_PARAMETERS)
AGORA_SMPL = SubmissionForm("agora-smpl", 6890, 24, (3840, 2160), _SMPL_PARAMETERS)
BEDLAM = SubmissionForm("bedlam", 10475, 127, None, None)
FORMS = {form.name: form for form in (AGORA, AGORA_SMPL, BEDLAM)}
