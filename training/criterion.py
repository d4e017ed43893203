"""Which loss is taken where: layers, matching, validity and weights come together here.

Terms and the layers they exist at follow the training specification, section 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aios.body_model import BodyModel
from aios.boxes import cxcywh_to_xyxy
from aios.outputs import PERSON_CLASS, AiOSOutput, LayerOutput, ProposalOutput

from .batch import Batch
from .denoising import DenoisingTargets
from .losses import (
    BODY_OKS_SIGMAS,
    PART_OKS_SIGMAS,
    box_giou,
    box_iou,
    object_keypoint_similarity,
    sigmoid_focal_loss,
    vector_l1,
)
from .matcher import Assignment, MatchCosts, MatchTargets, match
from .smplx_terms import (
    Matched,
    fit_weak_camera,
    joint_2d_terms,
    joint_3d_terms,
    parameter_terms,
    point_distance,
    pose_bodies,
    project_joints,
    select_smplx,
)
from .targets import Targets
from .weights import LossWeights

_PARTS = ("left_hand", "right_hand", "face")
_OVERLAP = 0.3
_WEIGHT_OF = {
    "left_hand_boxes": "part_box",
    "right_hand_boxes": "part_box",
    "face_boxes": "part_box",
    "left_hand_giou": "part_giou",
    "right_hand_giou": "part_giou",
    "face_giou": "part_giou",
    "left_hand_keypoints": "hand_keypoints",
    "right_hand_keypoints": "hand_keypoints",
    "left_hand_oks": "hand_oks",
    "right_hand_oks": "hand_oks",
    "class": "class_",
}


@dataclass(frozen=True)
class LossReport:
    """The total to minimise and every weighted part of it by name."""

    total: Tensor
    parts: dict[str, float]


class Criterion:
    """Scores the network's answers on a batch."""

    def __init__(self, weights: LossWeights, costs: MatchCosts, body_model: BodyModel) -> None:
        """`body_model` poses the predicted parameters; it is not trained."""
        self.weights = weights
        self.costs = costs
        self.body_model = body_model

    def __call__(
        self,
        output: AiOSOutput,
        batch: Batch,
        denoising: DenoisingTargets | None = None,
        scale_3d: float = 1.0,
    ) -> dict[str, Tensor]:
        """Weighted losses by name, each one number.

        Args:
            output: with `aux_outputs`.
            batch: what is true.
            denoising: what the prefix queries should answer, if there were any.
            scale_3d: factor on everything that SMPL-X parameters are taught by.

        Returns:
            Names are `<term>` for the last layer, `<term>_<layer>` before it, `<term>_proposals`.
        """
        targets = MatchTargets(
            batch.image_index,
            batch.targets.boxes,
            batch.targets.keypoints_2d,
            batch.targets.keypoints_visible,
        )
        losses: dict[str, Tensor] = {}
        if self.weights.one_to_one_proposals:
            terms, _ = self._detection(output.proposals, batch, targets)
            losses |= self._weigh(terms, "_proposals")
        posed: list[tuple[str, Matched]] = []
        layers = (*output.aux_outputs, output.final)
        for index, layer in enumerate(layers):
            suffix = "" if layer is output.final else f"_{index}"
            terms, pairs = self._detection(layer, batch, targets)
            people = batch.targets.select(pairs.person_index)
            if layer.keypoints_2d is not None:
                terms |= self._points(layer, pairs, people)
            if denoising is not None:
                terms |= self._denoising(layer, denoising)
            losses |= self._weigh(terms, suffix)
            if layer.smplx is not None and len(people):
                smplx = select_smplx(layer.smplx, pairs.image_index, pairs.query_index)
                whole = layer.stage == "refine_whole_body"
                posed.append((suffix, Matched(smplx, people, whole)))
        return losses | self._bodies(posed, batch, scale_3d)

    def _weigh(
        self, terms: dict[str, Tensor], suffix: str, scale: float = 1.0
    ) -> dict[str, Tensor]:
        weighted = {}
        for name, term in terms.items():
            weight = getattr(self.weights, _WEIGHT_OF.get(name, name)) * scale
            if weight:
                weighted[name + suffix] = term * weight
        return weighted

    def _detection(
        self, layer: LayerOutput | ProposalOutput, batch: Batch, targets: MatchTargets
    ) -> tuple[dict[str, Tensor], Assignment]:
        """Match, then class and body box."""
        keypoints = layer.keypoints_2d if isinstance(layer, LayerOutput) else None
        person_logits = layer.class_logits[..., PERSON_CLASS]
        pairs = match(person_logits, layer.boxes, keypoints, targets, self.costs)
        if keypoints is not None:
            pairs = self._overlapping(pairs, layer.boxes, targets)
        people = max(len(batch.targets), 1)
        labels = torch.zeros_like(layer.class_logits)
        labels[pairs.image_index, pairs.query_index, PERSON_CLASS] = 1.0
        weight = self._class_weight(layer.boxes.detach(), batch)
        weight[pairs.image_index, pairs.query_index] = 1.0
        focal = sigmoid_focal_loss(layer.class_logits, labels) * weight[..., None]
        boxes = layer.boxes[pairs.image_index, pairs.query_index]
        wanted = batch.targets.boxes[pairs.person_index]
        valid = batch.targets.box_valid[pairs.person_index].float()
        terms = {
            "class": focal.sum() / people,
            "box": (vector_l1(boxes, wanted) * valid).sum() / people,
            "giou": ((1 - box_giou(boxes, wanted)) * valid).sum() / people,
        }
        return terms, pairs

    def _overlapping(self, pairs: Assignment, boxes: Tensor, targets: MatchTargets) -> Assignment:
        """The pairs whose boxes overlap by `least_overlap` or more."""
        own = boxes[pairs.image_index, pairs.query_index].detach()
        keep = box_iou(own, targets.boxes[pairs.person_index]) >= self.weights.least_overlap
        return Assignment(
            pairs.image_index[keep], pairs.query_index[keep], pairs.person_index[keep]
        )

    def _class_weight(self, boxes: Tensor, batch: Batch) -> Tensor:
        """(B, Q) weights: less for queries away from everyone annotated where others may be."""
        weight = torch.ones_like(boxes[..., 0])
        if not bool(batch.ignore_unmatched.any()):
            return weight
        near = torch.zeros_like(weight)
        own = cxcywh_to_xyxy(boxes[batch.image_index])
        wanted = cxcywh_to_xyxy(batch.targets.boxes)[:, None]
        low = torch.maximum(own[..., :2], wanted[..., :2])
        high = torch.minimum(own[..., 2:], wanted[..., 2:])
        shared = (high - low).clamp(min=0).prod(-1)
        covered = shared / (own[..., 2:] - own[..., :2]).prod(-1).clamp(min=1e-6)
        near.index_add_(0, batch.image_index, (covered > _OVERLAP).float())
        away = (near == 0) & batch.ignore_unmatched[:, None]
        return weight.masked_fill(away, self.weights.unannotated_negative)

    def _points(self, layer: LayerOutput, pairs: Assignment, people: Targets) -> dict[str, Tensor]:
        """Part boxes and all 2D keypoints of matched people."""

        def matched(name: str) -> Tensor:
            return getattr(layer, name)[pairs.image_index, pairs.query_index]

        terms = self._keypoints("", matched("keypoints_2d"), people, BODY_OKS_SIGMAS)
        for part in _PARTS:
            boxes, wanted = matched(f"{part}_boxes"), getattr(people, f"{part}_boxes")
            valid = getattr(people, f"{part}_box_valid").float()
            divisor = valid.sum().clamp(min=1.0)
            terms[f"{part}_boxes"] = (vector_l1(boxes, wanted) * valid).sum() / divisor
            terms[f"{part}_giou"] = ((1 - box_giou(boxes, wanted)) * valid).sum() / divisor
            if getattr(layer, f"{part}_keypoints_2d") is not None:
                points = matched(f"{part}_keypoints_2d")
                terms |= self._keypoints(f"{part}_", points, people, PART_OKS_SIGMAS)
        return terms

    def _keypoints(
        self, part: str, points: Tensor, people: Targets, sigmas: tuple[float, ...]
    ) -> dict[str, Tensor]:
        """L1 and OKS of one keypoint set; `part` is "" for the body or "left_hand_" and so on."""
        wanted = getattr(people, f"{part}keypoints_2d")
        visible = getattr(people, f"{part}keypoints_visible")
        if part:
            visible = visible * getattr(people, f"{part}box_valid").float()[:, None]
        any_visible = (visible.sum(-1) > 0).float()
        divisor = any_visible.sum().clamp(min=1.0)
        in_box = self.weights.keypoints_in_box_units
        distance = point_distance(points, wanted, visible, people.boxes, in_box)
        areas = people.boxes[:, 2:].prod(-1)
        oks = object_keypoint_similarity(points, wanted, visible, areas, sigmas)
        return {
            f"{part}keypoints": distance.sum() / divisor,
            f"{part}oks": ((1 - oks) * any_visible).sum() / divisor,
        }

    def _denoising(self, layer: LayerOutput, wanted: DenoisingTargets) -> dict[str, Tensor]:
        logits, boxes = layer.prefix_class_logits, layer.prefix_boxes
        if logits is None or boxes is None:
            return {}
        labels = torch.zeros_like(logits)
        labels[..., PERSON_CLASS] = wanted.is_person.float()
        valid = wanted.is_person.float()
        divisor = max(valid.numel(), 1)
        distance = vector_l1(boxes, wanted.boxes) * valid
        giou = (1 - box_giou(boxes, wanted.boxes)) * valid
        return {
            "denoising_class": sigmoid_focal_loss(logits, labels).sum() / divisor,
            "denoising_box": distance.sum() / divisor,
            "denoising_giou": giou.sum() / divisor,
        }

    def _bodies(
        self, posed: list[tuple[str, Matched]], batch: Batch, scale: float
    ) -> dict[str, Tensor]:
        """Everything that needs SMPL-X, for all layers by one call of the body model."""
        losses: dict[str, Tensor] = {}
        if not posed:
            return losses
        joints_of = pose_bodies([group for _, group in posed], self.body_model)
        for (suffix, group), joints_3d in zip(posed, joints_of, strict=True):
            people = group.targets
            known = people.smplx_valid.float().sum().clamp(min=1.0)
            known_3d = people.joints_3d_valid.float().sum().clamp(min=1.0)
            parameters = {k: v.sum() / known for k, v in parameter_terms(group).items()}
            joints = {k: v.sum() / known_3d for k, v in joint_3d_terms(group, joints_3d).items()}
            camera = group.smplx.weak_camera
            projected = project_joints(joints_3d, camera, batch.focal_length, batch.size_hw)
            in_box = self.weights.keypoints_in_box_units
            flat = {
                k: v.sum() / max(len(people), 1)
                for k, v in joint_2d_terms(group, projected, in_box).items()
            }
            wanted, told = fit_weak_camera(people, batch.focal_length, batch.size_hw)
            distance = vector_l1(camera, wanted) * told
            flat["camera"] = distance.sum() / told.sum().clamp(min=1.0)
            losses |= self._weigh(parameters | joints | flat, suffix, scale)
        return losses


def report(losses: dict[str, Tensor]) -> LossReport:
    """Sum the weighted losses."""
    total = torch.stack(list(losses.values())).sum()
    return LossReport(total, {name: float(value.detach()) for name, value in losses.items()})
