"""Losses on classes, boxes and keypoints (training specification, section 4)."""

from __future__ import annotations

import torch
from torch import Tensor

from aios.geometry.boxes import cxcywh_to_xyxy, intersection_and_union
from aios.network.outputs import PERSON_CLASS, LayerOutput

from ..data.batch import Batch
from .denoising import DenoisingTargets
from .functions import (
    BODY_OKS_SIGMAS,
    PART_OKS_SIGMAS,
    box_giou,
    object_keypoint_similarity,
    sigmoid_focal_loss,
    vector_l1,
    visible_share,
)
from .matched import Matched
from .matcher import Assignment
from .projection import point_distance
from .validity import PARTS

_COVERED = 0.3


def class_term(
    class_logits: Tensor, boxes: Tensor, pairs: Assignment, batch: Batch, unannotated: float
) -> Tensor:
    """Focal loss of all queries, one number: matched ones are people, all others nothing.

    Args:
        class_logits: (B, Q, 2).
        boxes: (B, Q, 4).
        pairs: who is matched.
        batch: what is true.
        unannotated: weight of queries away from everyone annotated where others may be.
    """
    labels = torch.zeros_like(class_logits)
    labels[pairs.image_index, pairs.query_index, PERSON_CLASS] = 1.0
    focal = sigmoid_focal_loss(class_logits, labels)
    if unannotated != 1:
        away = _away(boxes.detach(), batch)
        away[pairs.image_index, pairs.query_index] = False
        focal = focal * torch.where(away, unannotated, 1.0)[..., None]
    return focal.sum()


def _away(boxes: Tensor, batch: Batch) -> Tensor:
    """(B, Q) bool: hardly on anyone annotated, in a picture that may show other people."""
    own = cxcywh_to_xyxy(boxes[batch.image_index])
    wanted = cxcywh_to_xyxy(batch.targets.boxes)[:, None]
    shared, _ = intersection_and_union(own, wanted)
    covered = shared / (own[..., 2:] - own[..., :2]).prod(-1).clamp(min=1e-6)
    near = torch.zeros_like(boxes[..., 0])
    near.index_add_(0, batch.image_index, (covered > _COVERED).to(near.dtype))
    return (near == 0) & batch.ignore_unmatched[:, None]


def box_terms(boxes: Tensor, pairs: Assignment, batch: Batch, valid: Tensor) -> dict[str, Tensor]:
    """L1 and 1 - GIoU of body boxes (B, Q, 4) times their validity (P, 1); (N,) each."""
    own = boxes[pairs.image_index, pairs.query_index]
    wanted = batch.targets.boxes[pairs.person_index]
    weight = valid[pairs.person_index, 0]
    return {
        "box": vector_l1(own, wanted) * weight,
        "giou": (1 - box_giou(own, wanted)) * weight,
    }


def part_box_terms(group: Matched) -> dict[str, Tensor]:
    """L1 and 1 - GIoU of the boxes of hands and face, as far as the layer has them; (N,) each."""
    terms = {}
    for part in PARTS:
        boxes, wanted = group.predicted(f"{part}_boxes"), getattr(group.people, f"{part}_boxes")
        if boxes is not None:
            valid = group.masks[f"{part}_boxes"][:, 0]
            terms[f"{part}_boxes"] = vector_l1(boxes, wanted) * valid
            terms[f"{part}_giou"] = (1 - box_giou(boxes, wanted)) * valid
    return terms


def keypoint_terms(group: Matched, in_box_units: bool) -> dict[str, Tensor]:
    """L1 and 1 - OKS of all keypoints that the layer has; (N,) each.

    OKS is measured in the area of the body's box, for hands and face too.

    Args:
        group: matched people.
        in_box_units: mean distance in sides of the person's box; else the sum in 0-1.
    """
    terms, people = {}, group.people
    areas = people.boxes[:, 2:].prod(-1)
    for prefix in ("", *(f"{part}_" for part in PARTS)):
        points = group.predicted(f"{prefix}keypoints_2d")
        if points is None:
            continue
        wanted, mask = getattr(people, f"{prefix}keypoints_2d"), group.masks[f"{prefix}keypoints"]
        terms[f"{prefix}keypoints"] = point_distance(
            points, wanted, mask, people.boxes, in_box_units
        )
        sigmas = PART_OKS_SIGMAS if prefix else BODY_OKS_SIGMAS
        oks = object_keypoint_similarity(points, wanted, mask, areas, sigmas)
        terms[f"{prefix}oks"] = (1 - oks) * visible_share(mask)
    return terms


def denoising_terms(
    layer: LayerOutput, wanted: DenoisingTargets, random_boxes: bool
) -> dict[str, Tensor]:
    """Focal, L1 and 1 - GIoU of the extra queries, one number each.

    Args:
        layer: with the answers of the extra queries; without them there is no term.
        wanted: what they should answer; in pictures without people that nobody is there.
        random_boxes: teach the boxes in pictures without people too.
    """
    logits, boxes = layer.prefix_class_logits, layer.prefix_boxes
    if logits is None or boxes is None:
        return {}
    person = wanted.is_person.to(logits.dtype)
    labels = torch.zeros_like(logits)
    labels[..., PERSON_CLASS] = person
    taught = torch.ones_like(person) if random_boxes else person
    return {
        "denoising_class": sigmoid_focal_loss(logits, labels).sum(),
        "denoising_box": (vector_l1(boxes, wanted.boxes) * taught).sum(),
        "denoising_giou": ((1 - box_giou(boxes, wanted.boxes)) * taught).sum(),
    }
