"""Loss terms on 2D keypoints, before weighting."""

from __future__ import annotations

from torch import Tensor

from .keypoint_similarity import (
    BODY_OKS_SIGMAS,
    PART_OKS_SIGMAS,
    any_visible,
    object_keypoint_similarity,
)
from .l1_losses import image_points_l1
from .matched_people import MatchedPeople
from .validity import PARTS


def keypoint_terms(matched: MatchedPeople, in_box_units: bool) -> dict[str, Tensor]:
    """L1 and 1 - OKS of all keypoints that the layer predicts, (N,) each.

    OKS uses the area of the body box, for hands and face too.

    Args:
        matched: N people.
        in_box_units: see `image_points_l1`.
    """
    terms, people = {}, matched.people
    areas = people.boxes[:, 2:].prod(-1)
    for prefix in ("", *(f"{part}_" for part in PARTS)):
        predicted = matched.predicted(f"{prefix}keypoints_2d")
        if predicted is None:
            continue
        annotated = getattr(people, f"{prefix}keypoints_2d")
        mask = matched.masks[f"{prefix}keypoints"]
        terms[f"{prefix}keypoints"] = image_points_l1(
            predicted, annotated, mask, people.boxes, in_box_units
        )
        sigmas = PART_OKS_SIGMAS if prefix else BODY_OKS_SIGMAS
        oks = object_keypoint_similarity(predicted, annotated, mask, areas, sigmas)
        terms[f"{prefix}oks"] = (1 - oks) * any_visible(mask)
    return terms
