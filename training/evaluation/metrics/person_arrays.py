"""Arrays of the predicted and of the annotated people of one image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from aios.prediction import Prediction

NUM_METRIC_JOINTS = 127
"""The first 127 of the 144 joints: all but the face contour."""
_AGORA_MATCHED_JOINTS = 24
Conversion = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Maps SMPL-X vertices to vertices and joints of another body, see `SmplConversion`."""


class PeopleError(ValueError):
    """Arrays with a wrong shape or non-finite values."""


@dataclass(frozen=True)
class PredictedPeople:
    """m predicted people of one image, in any order; m may be 0.

    The camera frame is x right, y down, z forward.  Translations do not affect the metrics.
    """

    scores: np.ndarray
    """(m,) 0-1; all 1 in submissions, which have no scores."""
    joints_2d: np.ndarray
    """(m, 24 or more, 2) pixels at the resolution of the annotation."""
    joints_3d: np.ndarray
    """(m, 127, 3) metres, camera frame, SMPL-X order; (m, 24, 3) for SMPL."""
    vertices: np.ndarray
    """(m, V, 3) metres, camera frame."""

    def __post_init__(self) -> None:
        """Check shapes and finiteness."""
        _check(self, {"scores": 1, "joints_2d": 3, "joints_3d": 3, "vertices": 3})
        if len(self) and self.joints_2d.shape[1] < _AGORA_MATCHED_JOINTS:
            raise PeopleError(
                f"PredictedPeople.joints_2d has {self.joints_2d.shape[1]} joints, needs 24 or more"
            )

    def __len__(self) -> int:
        """Number of people."""
        return len(self.scores)

    def select(self, index: np.ndarray | slice) -> Self:
        """The people at `index` (a boolean mask, integers or a slice), in that order."""
        return type(self)(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    @classmethod
    def empty(cls) -> Self:
        """No people."""
        return cls(np.zeros(0), np.zeros((0, 24, 2)), np.zeros((0, 127, 3)), np.zeros((0, 1, 3)))

    @classmethod
    def from_prediction(
        cls,
        prediction: Prediction,
        resolution_wh: tuple[int, int] | None = None,
        conversion: Conversion | None = None,
    ) -> Self:
        """Convert the prediction for one image.

        Args:
            prediction: to be converted.
            resolution_wh: pixel resolution of the annotation, e.g. (3840, 2160) for AGORA at any
                image size; None if it is that of the image.
            conversion: `SmplConversion` to evaluate SMPL; None keeps SMPL-X.
        """
        vertices, joints = prediction.vertices, prediction.joints_3d[:, :NUM_METRIC_JOINTS]
        if conversion:
            vertices, joints = conversion(vertices)
        camera = prediction.camera
        width, height = resolution_wh or (camera.width, camera.height)
        factor = np.array([width / camera.width, height / camera.height])
        return cls(
            scores=prediction.people.scores,
            joints_2d=camera.project(joints.astype(np.float64)) * factor,
            joints_3d=joints,
            vertices=vertices,
        )


@dataclass(frozen=True)
class TruePeople:
    """n annotated people of one image; n may be 0."""

    joints_2d: np.ndarray
    """(n, J, 2) pixels, J = 127, or 24 for SMPL; the box of a person encloses all of them."""
    joints_3d: np.ndarray
    """(n, 127, 3) metres, camera frame, SMPL-X order; (n, 24, 3) for SMPL."""
    vertices: np.ndarray
    """(n, V, 3) metres, camera frame."""
    valid: np.ndarray
    """(n,) bool; people who are not valid are neither missed nor false positives."""
    occlusion: np.ndarray
    """(n,) occluded percentage, 0-100; NaN where unknown."""
    kid: np.ndarray
    """(n,) bool"""
    confidence: np.ndarray
    """(n, J) annotation confidence of each 2D joint, 0-1."""

    def __post_init__(self) -> None:
        """Check shapes and finiteness."""
        _check(self, {"joints_2d": 3, "joints_3d": 3, "vertices": 3, "valid": 1, "kid": 1})
        if self.confidence.shape != self.joints_2d.shape[:2]:
            raise PeopleError(f"TruePeople.confidence has shape {self.confidence.shape}")

    def __len__(self) -> int:
        """Number of people."""
        return len(self.valid)

    @classmethod
    def from_arrays(
        cls,
        joints_2d: np.ndarray,
        joints_3d: np.ndarray,
        vertices: np.ndarray,
        more: Mapping[str, np.ndarray] | None = None,
    ) -> Self:
        """Build annotated people, with defaults for optional fields.

        Args:
            joints_2d: as the field.
            joints_3d: as the field.
            vertices: as the field.
            more: any of `occlusion` (default unknown), `kid` (default False), `confidence`
                (default 1) and `valid` (default True).  By AGORA's rule, people occluded by more
                than 90 percent are not valid.
        """
        count = len(joints_2d)
        given = dict(more or {})
        occlusion = np.asarray(given.pop("occlusion", np.full(count, np.nan)), np.float64)
        valid = np.asarray(given.pop("valid", np.ones(count)), bool)
        if occlusion.shape != (count,):
            raise PeopleError(
                f"TruePeople.occlusion has shape {occlusion.shape} for {count} people"
            )
        seen = np.isnan(occlusion) | ((occlusion >= 0) & (occlusion <= 90))
        kid = np.asarray(given.pop("kid", np.zeros(count)), bool)
        confidence = given.pop("confidence", np.ones(np.shape(joints_2d)[:2]))
        if given:
            raise PeopleError(f"TruePeople has no field {', '.join(sorted(given))}")
        return cls(joints_2d, joints_3d, vertices, valid & seen, occlusion, kid, confidence)


def _check(people: PredictedPeople | TruePeople, dimensions: Mapping[str, int]) -> None:
    kind, count = type(people).__name__, len(people)
    for name, wanted in dimensions.items():
        value = getattr(people, name)
        if value.ndim != wanted or len(value) != count:
            raise PeopleError(
                f"{kind}.{name} has shape {value.shape} instead of {wanted} dimensions and {count} "
                f"people"
            )
        if not np.isfinite(value).all():
            person = int(np.flatnonzero(~np.isfinite(value).reshape(count, -1).all(1))[0])
            raise PeopleError(f"{kind}.{name} of person {person} has a value that is not finite")
