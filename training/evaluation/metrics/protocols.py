"""Evaluation protocols: AGORA's, for all people of an image, and the vertex-error protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from ...joints import BODY_JOINTS as BODY_POINTS
from .errors import (
    AGORA_ERRORS,
    AGORA_SMPL_ERRORS,
    VERTEX_ERRORS,
    InImage,
    agora_errors,
    agora_smpl_errors,
    vertex_errors,
)
from .matching import nearest_person
from .parts import BodyParts
from .person_arrays import PeopleError, PredictedPeople, TruePeople

_PAIRS_AT_ONCE = 16


PairErrors = Callable[[PredictedPeople, TruePeople, np.ndarray, BodyParts], dict[str, np.ndarray]]
"""Predicted and annotated people, (K, 2) pairs and vertex lists -> (K,) metres by error name."""


@dataclass(frozen=True)
class Protocol:
    """Matching rule and errors of a benchmark.

    Attributes:
        name: stored in record files.
        error_names: errors of each pair.
        pair_errors: computes them; None for the vertex errors, which depend on image visibility.
        needs: vertex lists that must not be empty.
        one_person: in mode `official` only the prediction with the best score is evaluated, at
            any score, as in the AiOS and SMPLer-X evaluations of these sets; no one is missed.
    """

    name: str
    error_names: tuple[str, ...]
    pair_errors: PairErrors | None = None
    needs: tuple[str, ...] = ("left_hand", "right_hand", "face")
    one_person: bool = False

    def errors(
        self,
        predicted: PredictedPeople,
        true: TruePeople,
        pairs: np.ndarray,
        parts: BodyParts,
        in_image: InImage | None = None,
    ) -> np.ndarray:
        """Compute the errors of each pair.

        Args:
            predicted: people of one image.
            true: people of the same image.
            pairs: (K, 2) indices of prediction and person.
            parts: vertex lists of the body model of both.
            in_image: visibility test of UBody, where only points inside the image enter the means.

        Returns:
            (K, E) metres, columns in the order of `error_names`.

        Raises:
            ValueError: `in_image` is given to a protocol that uses all vertices, or a required
                vertex list is empty.
        """
        if self.pair_errors and in_image:
            raise ValueError(f"The protocol {self.name} also uses vertices outside the image.")
        if empty := [name for name in self.needs if not len(getattr(parts, name))]:
            raise ValueError(f"The protocol {self.name} needs vertices of {', '.join(empty)}.")
        table = np.zeros((len(pairs), len(self.error_names)))
        for start in range(0, len(pairs), _PAIRS_AT_ONCE):
            some = pairs[start : start + _PAIRS_AT_ONCE]
            if self.pair_errors:
                found = self.pair_errors(predicted, true, some, parts)
            else:
                found = _vertex_errors_of_pairs(predicted, true, some, parts, in_image)
            for column, name in enumerate(self.error_names):
                table[start : start + len(some), column] = found[name]
        return table

    def assign(self, predicted: PredictedPeople, true: TruePeople) -> np.ndarray:
        """Assign the best prediction to a person under `one_person`: (0 or 1, 2) int64 indices."""
        if not self.one_person or not len(predicted) or not len(true):
            return np.zeros((0, 2), np.int64)
        points = list(BODY_POINTS)
        if predicted.joints_2d.shape[1] <= max(points):
            raise PeopleError(
                f"Assigning a prediction needs joints_2d up to joint {max(points)}, got "
                f"{predicted.joints_2d.shape[1]} joints."
            )
        best = int(predicted.scores.argmax())
        nearest = nearest_person(
            predicted.joints_2d[best, points],
            true.joints_2d[:, points],
            true.confidence[:, points],
            true.valid,
        )
        return np.array([] if nearest is None else [best, nearest], np.int64).reshape(-1, 2)


def _vertex_errors_of_pairs(
    predicted: PredictedPeople,
    true: TruePeople,
    pairs: np.ndarray,
    parts: BodyParts,
    in_image: InImage | None,
) -> dict[str, np.ndarray]:
    visible = partial(in_image, pairs[:, 0]) if in_image else None
    return vertex_errors(
        predicted.vertices[pairs[:, 0]], true.vertices[pairs[:, 1]], parts, visible
    )


AGORA = Protocol("agora", AGORA_ERRORS, agora_errors, ("body", "left_hand", "right_hand", "face"))
"""AGORA and BEDLAM, SMPL-X."""
AGORA_SMPL = Protocol("agora-smpl", AGORA_SMPL_ERRORS, agora_smpl_errors, ("body",))
"""The SMPL track of AGORA."""
VERTICES = Protocol("vertices", VERTEX_ERRORS, one_person=True)
"""EHF, UBody, ARCTIC, EgoBody, and the paper's ablations on AGORA."""
PROTOCOLS = {protocol.name: protocol for protocol in (AGORA, AGORA_SMPL, VERTICES)}
