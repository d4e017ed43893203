"""The rules of the benchmarks: AGORA's for detected people, and those of the vertex errors."""

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
    InPicture,
    agora_errors,
    agora_smpl_errors,
    vertex_errors,
)
from .matching import nearest_person
from .parts import BodyParts
from .people import PeopleError, PredictedPeople, TruePeople

_PAIRS_AT_ONCE = 16


PairErrors = Callable[[PredictedPeople, TruePeople, np.ndarray, BodyParts], dict[str, np.ndarray]]
"""Predicted and annotated people, (K, 2) pairs and vertex lists -> (K,) metres under names."""


@dataclass(frozen=True)
class Protocol:
    """How the people of a picture are paired and what is measured.

    Attributes:
        name: under which records are filed.
        error_names: what is measured of each pair.
        pair_errors: what measures it; None for the vertex errors, which know pictures.
        needs: vertex lists that must not be empty.
        one_person: in mode `official` only the person with the best score counts, whatever the
            score, as the AiOS and SMPLer-X evaluations of these sets do; nobody is missed.
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
        in_picture: InPicture | None = None,
    ) -> np.ndarray:
        """What is measured of each pair.

        Args:
            predicted: people of one picture.
            true: people of the same picture.
            pairs: (K, 2) prediction and person.
            parts: vertex lists of the body that both are meshes of.
            in_picture: where only what lies in the picture counts (UBody).

        Returns:
            (K, E) metres, columns as `error_names`.

        Raises:
            ValueError: `in_picture` is given, but the protocol counts everything; or a vertex
                list is empty.
        """
        if self.pair_errors and in_picture:
            raise ValueError(f"The protocol {self.name} counts vertices outside the picture, too.")
        if empty := [name for name in self.needs if not len(getattr(parts, name))]:
            raise ValueError(f"The protocol {self.name} needs vertices of {', '.join(empty)}.")
        table = np.zeros((len(pairs), len(self.error_names)))
        for start in range(0, len(pairs), _PAIRS_AT_ONCE):
            some = pairs[start : start + _PAIRS_AT_ONCE]
            if self.pair_errors:
                found = self.pair_errors(predicted, true, some, parts)
            else:
                found = _vertex_errors_of_pairs(predicted, true, some, parts, in_picture)
            for column, name in enumerate(self.error_names):
                table[start : start + len(some), column] = found[name]
        return table

    def assign(self, predicted: PredictedPeople, true: TruePeople) -> np.ndarray:
        """(0 or 1, 2) int64: the best prediction and its person, where only one counts."""
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


def has_hands_and_face(name: str) -> bool:
    """Whether AGORA's annotation of hands and face in a picture of this name can be relied on.

    Only such pictures count on the SMPL-X track (`--onlybfh` of the official program).
    """
    return "bfh" in name or "smplx" in name


def _vertex_errors_of_pairs(
    predicted: PredictedPeople,
    true: TruePeople,
    pairs: np.ndarray,
    parts: BodyParts,
    in_picture: InPicture | None,
) -> dict[str, np.ndarray]:
    visible = partial(in_picture, pairs[:, 0]) if in_picture else None
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
