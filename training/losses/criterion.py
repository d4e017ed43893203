"""Which loss is taken where: layers, matching, validity and weights come together here.

Terms and the layers they exist at follow the training specification, section 4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from aios.body.model import BodyModel
from aios.network.outputs import PERSON_CLASS, AiOSOutput, LayerOutput, ProposalOutput

from ..data.batch import Batch
from ..targets import Targets
from .box_terms import box_terms, class_term, denoising_terms, keypoint_terms, part_box_terms
from .denoising import DenoisingTargets
from .functions import box_iou, vector_l1
from .matched import Matched
from .matcher import Assignment, MatchCosts, MatchOutput, MatchTargets, match
from .projection import fit_weak_camera, project_joints
from .smplx_terms import joint_2d_terms, joint_3d_terms, parameter_terms, pose_bodies
from .validity import PARTS, Counts, annotation_masks
from .weights import LossWeights

_HANDS = ("left_hand", "right_hand")
_HAND_TERMS = ("keypoints", "oks", "joints_3d", "joints_3d_local", "joints_2d")
_WEIGHT_OF = {
    "class": "class_",
    **{f"{part}_boxes": "part_box" for part in PARTS},
    **{f"{part}_giou": "part_giou" for part in PARTS},
    **{f"{hand}_pose": "hands" for hand in _HANDS},
    **{f"{hand}_{term}": f"hand_{term}" for hand in _HANDS for term in _HAND_TERMS},
}
"""Name of a term -> field of `LossWeights`, where the two differ."""
_DIVISOR_OF = {
    "oks": "keypoints",
    **{f"{part}_oks": f"{part}_keypoints" for part in PARTS},
    **{f"{part}_giou": f"{part}_boxes" for part in PARTS},
    **{"root": "body_pose", "body": "body_pose", "jaw": "jaw_pose"},
    **{f"{part}_joints_3d_local": f"{part}_joints_3d" for part in ("body", *PARTS)},
}
"""Name of a term -> name among `validity.COUNTED`, where the two differ."""
_DIVISOR_BY_BODY = {
    **{f"{hand}_pose": "body_pose" for hand in _HANDS},
    **{"jaw": "body_pose", "betas": "body_pose", "expression": "body_pose"},
    **{f"{part}_joints_3d": "body_joints_3d" for part in PARTS},
    **{f"{part}_joints_3d_local": "body_joints_3d" for part in PARTS},
    **{f"{part}_joints_2d": "boxes" for part in ("body", *PARTS)},
}
"""The same for `LossWeights.parts_by_box`."""
_PENULTIMATE = (
    *(f"{part}_joints_3d" for part in PARTS),
    *(f"{hand}_joints_2d" for hand in _HANDS),
)


@dataclass(frozen=True)
class _Truth:
    """A batch and what follows from it alone."""

    batch: Batch
    masks: Mapping[str, Tensor]
    """(P, K) each, see `validity.annotation_masks`."""
    camera: Tensor
    """(P, 3) that the network should have said; means nothing where masks["camera"] is 0."""
    sizes_hw: Tensor
    """(P, 2) pixels of each person's picture."""


class Criterion:
    """Scores the network's answers on a batch."""

    def __init__(
        self,
        weights: LossWeights,
        costs: MatchCosts,
        body_model: BodyModel,
        masks: Callable[[Targets, bool], dict[str, Tensor]] = annotation_masks,
    ) -> None:
        """Nothing here is trained.

        Args:
            weights: of the terms.
            costs: of the matching.
            body_model: poses the predicted parameters; follows them to their device.
            masks: says what is annotated, see `validity.annotation_masks`.
        """
        self.weights = weights
        self.costs = costs
        self._masks = masks
        self._divisors = _DIVISOR_OF | (_DIVISOR_BY_BODY if weights.parts_by_box else {})
        self._body_model = body_model
        self._bodies: dict[torch.device, BodyModel] = {}

    def count(self, batch: Batch) -> Counts:
        """What the losses of a step that sees `batch` among others are divided by; see `Counts`."""
        return Counts.of(self._truth(batch).masks, len(batch))

    def __call__(
        self,
        output: AiOSOutput,
        batch: Batch,
        denoising: DenoisingTargets | None = None,
        scale_3d: float = 1.0,
        counts: Counts | None = None,
    ) -> dict[str, Tensor]:
        """Weighted losses by name, each one number.

        Args:
            output: with `aux_outputs`; half precision is scored in single.
            batch: what is true.
            denoising: what the prefix queries should answer, if there were any.
            scale_3d: factor on everything that SMPL-X parameters are taught by.
            counts: divisors of the whole step where it sees more than this batch (`Counts` says
                how); None divides by what this batch has, parts, keypoints and SMPL-X of each
                output by what the people have whom it is matched with.

        Returns:
            Names are `<term>` for the last layer, `<term>_<layer>` before it, `<term>_proposals`.
        """
        truth = self._truth(batch)
        whole = Counts.of(truth.masks, len(batch)) if counts is None else counts
        layers = [_in_single(layer) for layer in (*output.aux_outputs, output.final)]
        proposals = [_in_single(output.proposals)] if self.weights.one_to_one_proposals else []
        pairs = self._match([*layers, *proposals], batch)
        losses: dict[str, Tensor] = {}
        for answer, chosen in zip(proposals, pairs[len(layers) :], strict=True):
            losses |= self._weigh(self._detection(answer, chosen, truth, whole), "_proposals")
        bodies: list[tuple[str, Matched, Counts]] = []
        for index, layer in enumerate(layers):
            suffix = "" if index == len(layers) - 1 else f"_{index}"
            group = self._matched(layer, pairs[index], truth)
            divisors = self._divisors_of(group, batch, counts)
            terms = self._detection(layer, group.pairs, truth, whole)
            points = keypoint_terms(group, self.weights.keypoints_in_box_units)
            terms |= self._average(part_box_terms(group) | points, divisors)
            if denoising is not None:
                terms |= self._denoising(layer, denoising, whole)
            losses |= self._weigh(terms, suffix)
            if layer.smplx is not None:
                bodies.append((suffix, group, divisors))
        before_last = f"_{len(layers) - 2}"
        for suffix, terms in self._bodies_terms(bodies, truth):
            late = self.weights.penultimate_parts if suffix == before_last else 1.0
            terms = {k: v * late if k in _PENULTIMATE else v for k, v in terms.items()}
            losses |= self._weigh(terms, suffix, scale_3d)
        return losses

    def _truth(self, batch: Batch) -> _Truth:
        """What is annotated, and the camera that fits it, if cameras are taught."""
        targets = batch.targets
        masks = self._masks(targets, self.weights.parts_by_box)
        sizes_hw = batch.sizes_hw.to(targets.boxes.device)[batch.image_index].to(targets.boxes)
        camera, told = targets.boxes.new_zeros(len(targets), 3), masks["boxes"] * 0
        if self.weights.camera:
            camera, fits = fit_weak_camera(targets, batch.focal_length, sizes_hw)
            told = fits[:, None]
        return _Truth(batch, masks | {"camera": told}, camera, sizes_hw)

    def _match(
        self, outputs: Sequence[LayerOutput | ProposalOutput], batch: Batch
    ) -> list[Assignment]:
        """One assignment for each decoder layer or proposal output."""
        targets = batch.targets
        people = MatchTargets(
            batch.image_index, targets.boxes, targets.keypoints_2d, targets.keypoints_visible
        )
        answers = [
            MatchOutput(
                output.class_logits[..., PERSON_CLASS],
                output.boxes,
                getattr(output, "keypoints_2d", None),
            )
            for output in outputs
        ]
        return match(answers, people, self.costs)

    def _matched(self, layer: LayerOutput, pairs: Assignment, truth: _Truth) -> Matched:
        """The pairs that teach: after stage `locate` their boxes must overlap by a little."""
        targets = truth.batch.targets
        if self.weights.least_overlap and layer.stage != "locate":
            boxes = layer.boxes[pairs.image_index, pairs.query_index].detach()
            overlap = box_iou(boxes, targets.boxes[pairs.person_index])
            pairs = pairs.select(overlap >= self.weights.least_overlap)
        masks = {name: mask[pairs.person_index] for name, mask in truth.masks.items()}
        return Matched(layer, pairs, targets.select(pairs.person_index), masks)

    def _divisors_of(self, group: Matched, batch: Batch, counts: Counts | None) -> Counts:
        """Of everything after class and body box.

        Pairs left out for `least_overlap` are known to this batch alone, so then the answer is a
        mean over the batch's pairs, times the share that its pictures have in the step.
        """
        if counts is not None and not self.weights.least_overlap:
            return counts
        own = Counts.of(group.masks, len(batch))
        return own if counts is None else own.times(counts["images"] / len(batch))

    def _detection(
        self, output: LayerOutput | ProposalOutput, pairs: Assignment, truth: _Truth, whole: Counts
    ) -> dict[str, Tensor]:
        """Class and body box, divided by all people."""
        terms = box_terms(output.boxes, pairs, truth.batch, truth.masks["boxes"])
        unannotated = self.weights.unannotated_negative
        terms["class"] = class_term(
            output.class_logits, output.boxes, pairs, truth.batch, unannotated
        )
        return {name: term.sum() / whole["people"] for name, term in terms.items()}

    def _denoising(
        self, layer: LayerOutput, wanted: DenoisingTargets, whole: Counts
    ) -> dict[str, Tensor]:
        divisor = whole["images"] * wanted.boxes.shape[1] / self.weights.pictures_a_process
        terms = denoising_terms(layer, wanted, self.weights.denoise_random_boxes)
        return {name: term / divisor for name, term in terms.items()}

    def _bodies_terms(
        self, bodies: list[tuple[str, Matched, Counts]], truth: _Truth
    ) -> list[tuple[str, dict[str, Tensor]]]:
        """Everything that needs SMPL-X, for all layers by one call of the body model."""
        if not bodies:
            return []
        weights, answers = self.weights, []
        local = bool(
            weights.body_joints_3d_local
            or weights.hand_joints_3d_local
            or weights.face_joints_3d_local
        )
        body_model = self._body(truth.camera.device)
        groups = [group for _, group, _ in bodies]
        joints_of = pose_bodies(groups, body_model, weights.betas_by_joints)
        for (suffix, group, divisors), joints_3d in zip(bodies, joints_of, strict=True):
            terms = parameter_terms(group) | joint_3d_terms(group, joints_3d, local)
            if not (group.whole_body or weights.early_betas):
                del terms["betas"]
            index, camera = group.pairs.person_index, group.smplx.weak_camera
            projected = project_joints(
                joints_3d,
                camera,
                truth.batch.focal_length,
                truth.sizes_hw[index],
                weights.least_camera_scale,
            )
            terms |= joint_2d_terms(group, projected, weights.keypoints_in_box_units)
            terms["camera"] = vector_l1(camera, truth.camera[index]) * group.masks["camera"][:, 0]
            answers.append((suffix, self._average(terms, divisors)))
        return answers

    def _body(self, device: torch.device) -> BodyModel:
        if device not in self._bodies:
            self._bodies[device] = self._body_model.to(device)
        return self._bodies[device]

    def _average(self, terms: dict[str, Tensor], counts: Counts) -> dict[str, Tensor]:
        """Sums over people, divided by the number of those who have such an annotation."""
        return {
            name: term.sum() / counts[self._divisors.get(name, name)]
            for name, term in terms.items()
        }

    def _weigh(
        self, terms: dict[str, Tensor], suffix: str, scale: float = 1.0
    ) -> dict[str, Tensor]:
        weighted = {}
        for name, term in terms.items():
            weight = getattr(self.weights, _WEIGHT_OF.get(name, name)) * scale
            if weight:
                weighted[name + suffix] = term * weight
        return weighted


def _in_single(output: Any) -> Any:  # noqa: ANN401 - the same dataclass of tensors comes back
    """An output whose half-precision tensors became float32, fields of fields included."""
    changes: dict[str, Any] = {}
    for field in fields(output):
        value = getattr(output, field.name)
        if isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16):
            changes[field.name] = value.float()
        elif is_dataclass(value):
            changes[field.name] = _in_single(value)
    return replace(output, **changes)
