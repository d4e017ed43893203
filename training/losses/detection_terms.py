"""Loss terms on class and boxes, before weighting."""

from __future__ import annotations

import torch
from torch import Tensor

from aios.geometry.boxes import cxcywh_to_xyxy, intersection_and_union
from aios.network.outputs import PERSON_CLASS, LayerOutput

from ..data.batch import Batch
from .box_overlap import box_giou
from .denoising import DenoisingTargets
from .focal_loss import sigmoid_focal_loss
from .l1_losses import vector_l1
from .matched_people import MatchedPeople
from .matcher import Assignment
from .validity import PARTS

_COVERED_SHARE = 0.3
"""Share of a query's box inside an annotated box from which the query is on that person."""


def class_term(
    class_logits: Tensor, boxes: Tensor, pairs: Assignment, batch: Batch, unannotated: float
) -> Tensor:
    """Focal loss summed over all queries: matched queries are people, all others background.

    Args:
        class_logits: (B, Q, 2).
        boxes: (B, Q, 4).
        pairs: matched queries.
        batch: annotations.
        unannotated: factor on unmatched queries that may be on a person without annotation.

    Returns:
        Scalar.
    """
    labels = torch.zeros_like(class_logits)
    labels[pairs.image_index, pairs.query_index, PERSON_CLASS] = 1.0
    focal = sigmoid_focal_loss(class_logits, labels)
    if unannotated != 1:
        away = _away_from_annotated(boxes.detach(), batch)
        away[pairs.image_index, pairs.query_index] = False
        focal = focal * torch.where(away, unannotated, 1.0)[..., None]
    return focal.sum()


def _away_from_annotated(boxes: Tensor, batch: Batch) -> Tensor:
    """(B, Q) bool: away from every annotated person, in an image where others may be."""
    own = cxcywh_to_xyxy(boxes[batch.image_index])
    annotated = cxcywh_to_xyxy(batch.targets.boxes)[:, None]
    shared, _ = intersection_and_union(own, annotated)
    covered = shared / (own[..., 2:] - own[..., :2]).prod(-1).clamp(min=1e-6)
    near = torch.zeros_like(boxes[..., 0])
    near.index_add_(0, batch.image_index, (covered > _COVERED_SHARE).to(near.dtype))
    return (near == 0) & batch.ignore_unmatched[:, None]


def box_terms(boxes: Tensor, pairs: Assignment, batch: Batch, valid: Tensor) -> dict[str, Tensor]:
    """L1 and 1 - GIoU of body boxes, (N,) each.

    Args:
        boxes: (B, Q, 4) predicted.
        pairs: N matched pairs.
        batch: annotations of P people.
        valid: (P, 1) weights 0-1.
    """
    predicted = boxes[pairs.image_index, pairs.query_index]
    annotated = batch.targets.boxes[pairs.person_index]
    weight = valid[pairs.person_index, 0]
    return {
        "box": vector_l1(predicted, annotated) * weight,
        "giou": (1 - box_giou(predicted, annotated)) * weight,
    }


def part_box_terms(matched: MatchedPeople) -> dict[str, Tensor]:
    """L1 and 1 - GIoU of the hand and face boxes that the layer predicts, (N,) each."""
    terms = {}
    for part in PARTS:
        predicted = matched.predicted(f"{part}_boxes")
        if predicted is not None:
            annotated = getattr(matched.people, f"{part}_boxes")
            valid = matched.masks[f"{part}_boxes"][:, 0]
            terms[f"{part}_boxes"] = vector_l1(predicted, annotated) * valid
            terms[f"{part}_giou"] = (1 - box_giou(predicted, annotated)) * valid
    return terms


def denoising_terms(
    layer: LayerOutput, targets: DenoisingTargets, random_boxes: bool
) -> dict[str, Tensor]:
    """Focal loss, L1 and 1 - GIoU summed over the denoising queries; scalars.

    Args:
        layer: no term if it has no denoising queries.
        targets: undisturbed labels and boxes.
        random_boxes: score boxes in images without people too.
    """
    logits, boxes = layer.prefix_class_logits, layer.prefix_boxes
    if logits is None or boxes is None:
        return {}
    person = targets.is_person.to(logits.dtype)
    labels = torch.zeros_like(logits)
    labels[..., PERSON_CLASS] = person
    scored = torch.ones_like(person) if random_boxes else person
    return {
        "denoising_class": sigmoid_focal_loss(logits, labels).sum(),
        "denoising_box": (vector_l1(boxes, targets.boxes) * scored).sum(),
        "denoising_giou": ((1 - box_giou(boxes, targets.boxes)) * scored).sum(),
    }
