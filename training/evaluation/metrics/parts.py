"""Vertices and joints of body, hands and face, in SMPL-X numbering."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from aios.body.file import NUM_JOINTS

PELVIS, NECK, LEFT_WRIST, RIGHT_WRIST = 0, 12, 20, 21
HIPS = (1, 2)
BODY_JOINTS = slice(0, 22)
LEFT_HAND_JOINTS = (LEFT_WRIST, *range(25, 40))
RIGHT_HAND_JOINTS = (RIGHT_WRIST, *range(40, 55))
FACE_JOINTS = (NECK, *range(76, 127))
_HEAD, _JAW, _EYES = 15, 22, (23, 24)
_FINGERS = ("thumb", "index", "middle", "ring", "pinky")
_ROOTS = {
    "left": dict(zip(_FINGERS, (37, 25, 28, 34, 31), strict=True)),
    "right": dict(zip(_FINGERS, (52, 40, 43, 49, 46), strict=True)),
}
_TIPS = {
    "left": dict(zip(_FINGERS, (5361, 4933, 5058, 5169, 5286), strict=True)),
    "right": dict(zip(_FINGERS, (8079, 7669, 7794, 7905, 8022), strict=True)),
}


@dataclass(frozen=True)
class BodyParts:
    """Vertex lists and joint regressors of a body with V vertices.

    Lists that a benchmark does not need are empty.
    """

    body: np.ndarray
    """(B,) int64 vertex indices of everything but hands and head."""
    left_hand: np.ndarray
    """(778,) int64"""
    right_hand: np.ndarray
    """(778,) int64"""
    face: np.ndarray
    """(5023,) int64, face and head."""
    joint_regressor: np.ndarray
    """(55, V)"""
    j14_regressor: np.ndarray
    """(14, V), the 14 joints of LSP."""
    left_hand_regressor: np.ndarray
    """(21, V), wrist, then three joints and the tip of each finger."""
    right_hand_regressor: np.ndarray
    """(21, V)"""

    @classmethod
    def from_skinning(cls, weights: np.ndarray, joint_regressor: np.ndarray) -> Self:
        """Parts of a body without published lists, such as the stand-in.

        A vertex belongs to the joint with its largest skinning weight: wrists and fingers form
        the hands; head, jaw and eyes the face; the rest is body.  The LSP joints are 12 skeleton
        joints, the neck joint, and the head joint for the top of the head.

        Args:
            weights: (V, 55) skinning weights.
            joint_regressor: (55, V).
        """
        owner = weights.argmax(1)
        hands = {
            "left": np.isin(owner, LEFT_HAND_JOINTS),
            "right": np.isin(owner, RIGHT_HAND_JOINTS),
        }
        face = np.isin(owner, (_HEAD, _JAW, *_EYES))
        lsp = (8, 5, 2, 1, 4, 7, 21, 19, 17, 16, 18, 20, NECK, _HEAD)
        return cls(
            body=np.flatnonzero(~(hands["left"] | hands["right"] | face)),
            left_hand=np.flatnonzero(hands["left"]),
            right_hand=np.flatnonzero(hands["right"]),
            face=np.flatnonzero(face),
            joint_regressor=joint_regressor,
            j14_regressor=joint_regressor[list(lsp)],
            left_hand_regressor=hand_regressor(joint_regressor, "left"),
            right_hand_regressor=hand_regressor(joint_regressor, "right"),
        )

    @classmethod
    def only_body(cls, body: np.ndarray) -> Self:
        """Parts for the SMPL track, from (B,) body vertex indices of SMPL."""
        none, nowhere = np.zeros(0, np.int64), np.zeros((0, 0))
        return cls(body, none, none, none, nowhere, nowhere, nowhere, nowhere)


def hand_regressor(joint_regressor: np.ndarray, side: str) -> np.ndarray:
    """Regressor of the 21 joints of a hand: rows of the SMPL-X regressor and one vertex per tip.

    Args:
        joint_regressor: (55, 10475).
        side: "left" or "right".

    Returns:
        (21, 10475), wrist, then three joints and the tip of thumb, index, middle, ring and pinky.
    """
    if len(joint_regressor) != NUM_JOINTS:
        raise ValueError(
            f"The joint regressor has {len(joint_regressor)} rows instead of {NUM_JOINTS}."
        )
    rows = [joint_regressor[LEFT_WRIST if side == "left" else RIGHT_WRIST]]
    for finger in _FINGERS:
        root = _ROOTS[side][finger]
        tip = np.zeros_like(rows[0])
        tip[_TIPS[side][finger]] = 1
        rows += [*joint_regressor[root : root + 3], tip]
    return np.stack(rows)
