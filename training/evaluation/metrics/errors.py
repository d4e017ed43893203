"""Joint and vertex errors of matched pairs of predicted and annotated people, in metres.

`agora_errors` follow the AGORA evaluation program (pixelite1201/agora_evaluation), `vertex_errors`
the evaluation of EHF, UBody, ARCTIC and EgoBody in SMPLer-X and AiOS (Sec. 4).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .alignment import distances, procrustes, root_aligned
from .parts import (
    BODY_JOINTS,
    FACE_JOINTS,
    HIPS,
    LEFT_HAND_JOINTS,
    LEFT_WRIST,
    NECK,
    PELVIS,
    RIGHT_HAND_JOINTS,
    RIGHT_WRIST,
    BodyParts,
)
from .person_arrays import PredictedPeople, TruePeople

InImage = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(K,) prediction indices and (K, N, 3) points of the matched true people -> (K, N) bool, True
where the camera of the prediction projects the point into the image."""

AGORA_SMPL_ERRORS = ("body_mpjpe", "body_mve")
AGORA_ERRORS = (
    *AGORA_SMPL_ERRORS,
    *("left_hand_mpjpe", "left_hand_mve", "right_hand_mpjpe", "right_hand_mve"),
    *("face_mpjpe", "face_mve"),
)
VERTEX_ERRORS = (
    *("pve_all", "pve_left_hand", "pve_right_hand", "pve_face"),
    *("pa_pve_all", "pa_pve_left_hand", "pa_pve_right_hand", "pa_pve_face"),
    *("pa_mpjpe_body", "pa_mpjpe_left_hand", "pa_mpjpe_right_hand"),
)
_VERTEX_PARTS = ("all", "left_hand", "right_hand", "face")
_JOINT_PARTS = ("body", "left_hand", "right_hand")


def agora_errors(
    predicted: PredictedPeople, true: TruePeople, pairs: np.ndarray, parts: BodyParts
) -> dict[str, np.ndarray]:
    """Joint and vertex errors of body, hands and face after aligning the root joint.

    Only the translation is aligned.  The root is the midpoint of the hips for the body, the wrist
    for a hand and the neck for the face.

    Args:
        predicted: people with the first 127 SMPL-X joints.
        true: people with the same joints.
        pairs: (K, 2) indices of prediction and person.
        parts: `body`, `left_hand`, `right_hand` and `face` are used.

    Returns:
        (K,) metres for each name in `AGORA_ERRORS`.
    """
    errors = _part_errors(predicted, true, pairs, ("body", BODY_JOINTS, HIPS, parts.body))
    hands_and_face = (
        ("left_hand", LEFT_HAND_JOINTS, (LEFT_WRIST,), parts.left_hand),
        ("right_hand", RIGHT_HAND_JOINTS, (RIGHT_WRIST,), parts.right_hand),
        ("face", FACE_JOINTS, (NECK,), parts.face),
    )
    for part in hands_and_face:
        errors |= _part_errors(predicted, true, pairs, part)
    return errors


def agora_smpl_errors(
    predicted: PredictedPeople, true: TruePeople, pairs: np.ndarray, parts: BodyParts
) -> dict[str, np.ndarray]:
    """Errors of SMPL (24 joints, `parts.body`): (K,) metres for each of `AGORA_SMPL_ERRORS`."""
    return _part_errors(predicted, true, pairs, ("body", slice(0, 24), HIPS, parts.body))


def _part_errors(
    predicted: PredictedPeople,
    true: TruePeople,
    pairs: np.ndarray,
    part: tuple[str, slice | tuple[int, ...], tuple[int, ...], np.ndarray],
) -> dict[str, np.ndarray]:
    """Errors of one part, given as (name, joints, root joints to be averaged, vertices)."""
    name, joints, root, vertices = part
    chosen = slice(None) if isinstance(joints, slice) else list(joints)
    window = joints if isinstance(joints, slice) else slice(None)
    first, second = pairs[:, 0], pairs[:, 1]
    predicted_joints = predicted.joints_3d[first].astype(np.float64)
    true_joints = true.joints_3d[second].astype(np.float64)
    predicted_root = predicted_joints[:, list(root)].mean(1)
    true_root = true_joints[:, list(root)].mean(1)

    def mean_error(ours: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        return distances(root_aligned(ours, predicted_root, true_root), wanted).mean(-1)

    return {
        f"{name}_mpjpe": mean_error(
            predicted_joints[:, window][:, chosen], true_joints[:, window][:, chosen]
        ),
        f"{name}_mve": mean_error(
            predicted.vertices[first[:, None], vertices], true.vertices[second[:, None], vertices]
        ),
    }


def vertex_errors(
    predicted: np.ndarray,
    true: np.ndarray,
    parts: BodyParts,
    visible: Callable[[np.ndarray], np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """PVE, PA-PVE and PA-MPJPE of the whole body, the hands and the face.

    PVE aligns pelvis, wrists or neck; PA fits a similarity to the points of each part.  All points
    enter the fit, only `visible` points enter the mean.

    Args:
        predicted: (K, V, 3) metres.
        true: (K, V, 3) metres.
        parts: all but `body` are used.
        visible: (K, N, 3) true points -> (K, N) bool, True on points in the mean; None takes all.

    Returns:
        (K,) metres for each of `VERTEX_ERRORS`; NaN where no point of the part is visible or the
        regressor of the 14 LSP joints is missing.
    """
    predicted, true = np.asarray(predicted, np.float64), np.asarray(true, np.float64)
    matrices = (
        parts.joint_regressor[[PELVIS, LEFT_WRIST, RIGHT_WRIST, NECK]],
        *(parts.j14_regressor, parts.left_hand_regressor, parts.right_hand_regressor),
    )
    predicted_roots, *predicted_joints = _regress(matrices, predicted)
    true_roots, *true_joints = _regress(matrices, true)
    seen = visible(true) if visible else None
    errors = {}
    lists: tuple[Any, ...] = (slice(None), parts.left_hand, parts.right_hand, parts.face)
    for column, (name, chosen) in enumerate(zip(_VERTEX_PARTS, lists, strict=True)):
        ours, wanted = predicted[:, chosen], true[:, chosen]
        counted = None if seen is None else seen[:, chosen]
        moved = root_aligned(ours, predicted_roots[:, column], true_roots[:, column])
        errors[f"pve_{name}"] = _masked_mean(distances(moved, wanted), counted)
        errors[f"pa_pve_{name}"] = _masked_mean(
            distances(procrustes(ours, wanted), wanted), counted
        )
    for name, ours, wanted in zip(_JOINT_PARTS, predicted_joints, true_joints, strict=True):
        if not wanted.shape[1]:
            errors[f"pa_mpjpe_{name}"] = np.full(len(true), np.nan)
            continue
        counted = visible(wanted) if visible else None
        gaps = distances(procrustes(ours, wanted), wanted)
        errors[f"pa_mpjpe_{name}"] = _masked_mean(gaps, counted)
    return {name: errors[name] for name in VERTEX_ERRORS}


def _regress(matrices: Sequence[np.ndarray], vertices: np.ndarray) -> list[np.ndarray]:
    """Apply each (J, V) matrix to (K, V, 3) -> (K, J, 3), skipping columns that are zero in all."""
    rows = np.concatenate(matrices).astype(np.float64)
    used = np.flatnonzero(rows.any(0))
    # One large product is three times faster than K products with three columns.
    flat = vertices[:, used].transpose(1, 0, 2).reshape(len(used), -1)
    joints = (rows[:, used] @ flat).reshape(len(rows), len(vertices), 3).transpose(1, 0, 2)
    return np.split(joints, np.cumsum([len(matrix) for matrix in matrices])[:-1], 1)


def _masked_mean(values: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Mean over the masked values, (K, N) -> (K,); NaN where the mask is empty."""
    if mask is None:
        return values.mean(-1)
    count = mask.sum(-1)
    total = np.where(mask, values, 0.0).sum(-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
