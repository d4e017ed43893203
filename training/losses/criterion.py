"""Weighted losses of a batch, given the network's output and the matched pairs.

Every term is summed over people, divided by the number of people who have its annotation, and
multiplied by its weight.  `loss_weights` lists which terms exist at which decoder layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from aios.body.model import BodyModel
from aios.network.outputs import AiOSOutput, LayerOutput, ProposalOutput

from ..data.batch import Batch
from ..targets import Targets
from .box_overlap import box_iou
from .denoising import DenoisingTargets
from .detection_terms import box_terms, class_term, denoising_terms, part_box_terms
from .keypoint_terms import keypoint_terms
from .l1_losses import vector_l1
from .loss_weights import LossRules, LossWeights
from .matched_people import MatchedPeople
from .matcher import Assignment, Matches
from .projection import fit_weak_camera, project_joints
from .smplx_terms import joint_2d_terms, joint_3d_terms, parameter_terms, pose_bodies
from .validity import PARTS, Counts, annotation_masks

_HANDS = ("left_hand", "right_hand")
_HAND_TERMS = ("keypoints", "oks", "joints_3d", "joints_3d_local", "joints_2d")
_WEIGHT_OF = {
    "class": "class_",
    **{f"{part}_boxes": "part_box" for part in PARTS},
    **{f"{part}_giou": "part_giou" for part in PARTS},
    **{f"{hand}_pose": "hands" for hand in _HANDS},
    **{f"{hand}_{term}": f"hand_{term}" for hand in _HANDS for term in _HAND_TERMS},
}
"""Term -> field of `LossWeights`, where the names differ."""
_DIVISOR_OF = {
    "oks": "keypoints",
    **{f"{part}_oks": f"{part}_keypoints" for part in PARTS},
    **{f"{part}_giou": f"{part}_boxes" for part in PARTS},
    **{"root": "body_pose", "body": "body_pose", "jaw": "jaw_pose"},
    **{f"{part}_joints_3d_local": f"{part}_joints_3d" for part in ("body", *PARTS)},
}
"""Term -> name among `validity.COUNTED`, where the names differ."""
_DIVISOR_WITH_BOXES = {
    **{f"{hand}_pose": "body_pose" for hand in _HANDS},
    **{"jaw": "body_pose", "betas": "body_pose", "expression": "body_pose"},
    **{f"{part}_joints_3d": "body_joints_3d" for part in PARTS},
    **{f"{part}_joints_3d_local": "body_joints_3d" for part in PARTS},
    **{f"{part}_joints_2d": "boxes" for part in ("body", *PARTS)},
}
"""Overrides of `_DIVISOR_OF` for `LossRules.parts_need_box`."""
_PENULTIMATE_TERMS = (
    *(f"{part}_joints_3d" for part in PARTS),
    *(f"{hand}_joints_2d" for hand in _HANDS),
)


@dataclass(frozen=True)
class _Annotations:
    """A batch of P people with everything derived from it alone."""

    batch: Batch
    masks: Mapping[str, Tensor]
    """(P, K) each, see `validity.annotation_masks`."""
    weak_camera: Tensor
    """(P, 3) target of the predicted camera; meaningless where masks["camera"] is 0."""
    sizes_hw: Tensor
    """(P, 2) pixels of each person's un-padded image."""


class Criterion:
    """Computes the losses of matched outputs; nothing in it is trained."""

    def __init__(
        self,
        weights: LossWeights,
        rules: LossRules,
        body_model: BodyModel,
        masks: Callable[[Targets, bool], dict[str, Tensor]] = annotation_masks,
    ) -> None:
        """Store the recipe.

        Args:
            weights: factor on each term.
            rules: how terms are computed and divided.
            body_model: poses the predicted parameters; copied to the device of each batch.
            masks: validity of annotations, see `validity.annotation_masks`.
        """
        self.weights = weights
        self.rules = rules
        self._masks = masks
        self._divisor_names = _DIVISOR_OF | (_DIVISOR_WITH_BOXES if rules.parts_need_box else {})
        self._body_model = body_model
        self._bodies: dict[torch.device, BodyModel] = {}

    def count(self, batch: Batch) -> Counts:
        """Divisors of this batch, to be summed over the batches of a step; see `Counts`."""
        return Counts.of(self._annotations(batch).masks, len(batch))

    def __call__(
        self,
        output: AiOSOutput,
        matches: Matches,
        batch: Batch,
        denoising: DenoisingTargets | None = None,
        scale_3d: float = 1.0,
        counts: Counts | None = None,
    ) -> dict[str, Tensor]:
        """Weighted losses by name, scalars.

        Args:
            output: float32, with `aux_outputs`.
            matches: pairs of every layer, from `Matcher`.
            batch: annotations.
            denoising: targets of the denoising queries, if there are any.
            scale_3d: factor on all terms that use SMPL-X.
            counts: divisors of the whole optimizer step, see `Counts`; None uses those of this
                batch: of all its people for class and body box, of the matched people of each
                layer for everything else.

        Returns:
            `<term>` for the last layer, `<term>_<layer>` for earlier layers, `<term>_proposals`.
        """
        known = self._annotations(batch)
        step_counts = Counts.of(known.masks, len(batch)) if counts is None else counts
        losses: dict[str, Tensor] = {}
        if matches.proposals is not None:
            terms = self._detection_terms(output.proposals, matches.proposals, known, step_counts)
            losses |= self._weigh(terms, "_proposals")
        suffixes = [*(f"_{index}" for index in range(len(output.aux_outputs))), ""]
        posed: dict[str, tuple[MatchedPeople, Counts]] = {}
        for suffix, layer, pairs in zip(
            suffixes, (*output.aux_outputs, output.final), matches.layers, strict=True
        ):
            matched = self._matched_people(layer, pairs, known)
            divisors = self._divisors(matched, batch, counts)
            terms = self._detection_terms(layer, matched.pairs, known, step_counts)
            points = keypoint_terms(matched, self.rules.keypoints_in_box_units)
            terms |= self._divide(part_box_terms(matched) | points, divisors)
            if denoising is not None:
                terms |= self._denoising_terms(layer, denoising, step_counts)
            losses |= self._weigh(terms, suffix)
            if layer.smplx is not None:
                posed[suffix] = matched, divisors
        penultimate = f"_{len(output.aux_outputs) - 1}"
        return losses | self._smplx_losses(posed, known, scale_3d, penultimate)

    def _annotations(self, batch: Batch) -> _Annotations:
        targets = batch.targets
        masks = self._masks(targets, self.rules.parts_need_box)
        sizes_hw = batch.sizes_hw.to(targets.boxes.device)[batch.image_index].to(targets.boxes)
        camera, usable = targets.boxes.new_zeros(len(targets), 3), masks["boxes"] * 0
        if self.weights.camera:
            camera, fitted = fit_weak_camera(targets, batch.focal_length, sizes_hw)
            usable = fitted[:, None]
        return _Annotations(batch, masks | {"camera": usable}, camera, sizes_hw)

    def _matched_people(
        self, layer: LayerOutput, pairs: Assignment, known: _Annotations
    ) -> MatchedPeople:
        """The scored pairs: after stage `locate` their boxes must overlap by `min_overlap`."""
        targets = known.batch.targets
        if self.rules.min_overlap and layer.stage != "locate":
            boxes = layer.boxes[pairs.image_index, pairs.query_index].detach()
            overlap = box_iou(boxes, targets.boxes[pairs.person_index])
            pairs = pairs.select(overlap >= self.rules.min_overlap)
        masks = {name: mask[pairs.person_index] for name, mask in known.masks.items()}
        return MatchedPeople(layer, pairs, targets.select(pairs.person_index), masks)

    def _divisors(self, matched: MatchedPeople, batch: Batch, counts: Counts | None) -> Counts:
        """Divisors of all terms but class and body box.

        Pairs left out for `min_overlap` are known only in this batch, so with it the divisors are
        those of the batch's own pairs, scaled to the images of the step.
        """
        if counts is not None and not self.rules.min_overlap:
            return counts
        own = Counts.of(matched.masks, len(batch))
        return own if counts is None else own.times(counts["images"] / len(batch))

    def _detection_terms(
        self,
        output: LayerOutput | ProposalOutput,
        pairs: Assignment,
        known: _Annotations,
        counts: Counts,
    ) -> dict[str, Tensor]:
        """Class and body box, divided by all people."""
        terms = box_terms(output.boxes, pairs, known.batch, known.masks["boxes"])
        unannotated = self.rules.unannotated_negative
        terms["class"] = class_term(
            output.class_logits, output.boxes, pairs, known.batch, unannotated
        )
        return {name: term.sum() / counts["people"] for name, term in terms.items()}

    def _denoising_terms(
        self, layer: LayerOutput, targets: DenoisingTargets, counts: Counts
    ) -> dict[str, Tensor]:
        divisor = counts["images"] * targets.boxes.shape[1] / self.rules.images_per_process
        terms = denoising_terms(layer, targets, self.rules.denoise_random_boxes)
        return {name: term / divisor for name, term in terms.items()}

    def _smplx_losses(
        self,
        posed: Mapping[str, tuple[MatchedPeople, Counts]],
        known: _Annotations,
        scale: float,
        penultimate: str,
    ) -> dict[str, Tensor]:
        """Weighted losses that use SMPL-X, all layers posed by one call of the body model.

        Args:
            posed: by name suffix of the layer.
            known: annotations.
            scale: factor on all of them.
            penultimate: suffix of the layer before the last.
        """
        losses: dict[str, Tensor] = {}
        if not posed:
            return losses
        rules, body_model = self.rules, self._body_on(known.weak_camera.device)
        groups = [matched for matched, _ in posed.values()]
        joints_of = pose_bodies(groups, body_model, rules.joints_train_shape)
        for (suffix, (matched, divisors)), joints_3d in zip(posed.items(), joints_of, strict=True):
            terms = self._divide(self._body_terms(matched, joints_3d, known), divisors)
            if suffix == penultimate:
                for name in terms.keys() & set(_PENULTIMATE_TERMS):
                    terms[name] = terms[name] * rules.penultimate_factor
            losses |= self._weigh(terms, suffix, scale)
        return losses

    def _body_terms(
        self, matched: MatchedPeople, joints_3d: Tensor, known: _Annotations
    ) -> dict[str, Tensor]:
        """Parameters, 3D and 2D joints, and camera of one layer, (N,) each."""
        rules, weights = self.rules, self.weights
        local = bool(
            weights.body_joints_3d_local
            or weights.hand_joints_3d_local
            or weights.face_joints_3d_local
        )
        terms = parameter_terms(matched) | joint_3d_terms(matched, joints_3d, local)
        if not (matched.whole_body or rules.shape_before_whole_body):
            del terms["betas"]
        person, camera = matched.pairs.person_index, matched.smplx.weak_camera
        projected = project_joints(
            joints_3d,
            camera,
            known.batch.focal_length,
            known.sizes_hw[person],
            rules.min_camera_scale,
        )
        terms |= joint_2d_terms(matched, projected, rules.keypoints_in_box_units)
        distance = vector_l1(camera, known.weak_camera[person])
        terms["camera"] = distance * matched.masks["camera"][:, 0]
        return terms

    def _body_on(self, device: torch.device) -> BodyModel:
        if device not in self._bodies:
            self._bodies[device] = self._body_model.to(device)
        return self._bodies[device]

    def _divide(self, terms: dict[str, Tensor], counts: Counts) -> dict[str, Tensor]:
        """Sum over people, divided by the number of people who have the annotation."""
        return {
            name: term.sum() / counts[self._divisor_names.get(name, name)]
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
