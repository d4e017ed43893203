"""The network and everything that exists only in training: one batch in, its losses out."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aios.accelerate.install import accelerate_training
from aios.body.model import BodyModel
from aios.network.mobilenet import MobileNetV2
from aios.network.model import AiOS
from aios.network.outputs import AiOSOutput, EncodedImage, ProposalOutput

from ..data.batch import Batch
from ..losses.criterion import Criterion
from ..losses.denoising import Denoising, DenoisingTargets
from ..losses.dense_criterion import DenseCriterion
from ..losses.keypoint_map_terms import keypoint_map_terms
from ..losses.matcher import Matcher
from ..losses.validity import Counts
from .backbone_weights import load_backbone
from .batch_norm import use_batch_norm
from .frozen_backbone import FrozenBackbone, PartlyFrozenBackbone, is_frozen
from .initial_weights import IMAGE_FEATURES, load_initial_weights
from .mean_person import initialise_mean_person
from .precision import autocast, to_float32
from .train_config import TrainConfig, TrainStage

NEVER_TRAINED = {
    r"decoder\.heads\.(joint|hand_point|face_point)_size\.": (
        "sizes of points only place the reference points of the next layer, without gradient"
    ),
    r"decoder\.heads\.layers\.\d+\.smplx\.(hand_pose|expression)\.": (
        "stage refine_body poses mean hands and a neutral face"
    ),
    r"decoder\.heads\.layers\.\d+\.smplx\.jaw_pose\.": (
        "stage refine_body scores joints of the body only, which the jaw does not move"
    ),
}
"""Trainable tensors of the network without any gradient, and why; SMPL-X heads in stage
`refine_body` only."""


@dataclass(frozen=True)
class StepShare:
    """Part of one batch in an optimizer step over several batches and processes."""

    counts: Counts
    """Divisors of the whole step."""
    share: float
    """One divided by the number of batches of the step."""


class Learner(nn.Module):
    """Everything that a run trains; `forward` gives the losses of one batch.

    Network, matcher and criterion follow each other in `forward`.  The body model poses predicted
    parameters and is not part of the state.
    """

    def __init__(self, config: TrainConfig, body_model: BodyModel) -> None:
        """Start with random weights, or with those of `config.start` and `config.backbone`."""
        super().__init__()
        self.config = config
        model = AiOS(config.model)
        if config.initial_prediction == "mean_person":
            initialise_mean_person(model)
        self.denoising = Denoising(config.model.hidden_dim, config.denoising)
        if config.backbone:
            load_backbone(config.backbone, model.backbone)
        if config.start:
            fresh = IMAGE_FEATURES if config.backbone else ()
            load_initial_weights(config.start, model, self.denoising.labels, fresh)
        self.map_teacher = self._prepare_backbone(model)
        model.proposals.num_proposals = config.train_proposals or config.model.num_proposals
        model.decoder.num_people = config.train_people or config.model.num_people
        accelerate_training(model)
        self.model = model
        self.matcher = Matcher(config.matching)
        self.criterion = Criterion(config.loss_weights, config.loss_rules, body_model)
        self.dense_criterion = None
        if config.dense_tokens:
            self.dense_criterion = DenseCriterion(
                config.model.hidden_dim,
                config.loss_weights,
                tokens_per_person=config.dense_tokens,
                proposal_size=config.model.proposal_size,
                unannotated_negative=config.loss_rules.unannotated_negative,
            )

    def _prepare_backbone(self, model: AiOS) -> FrozenBackbone | None:
        """Freeze parts of the backbone, in place, and copy the teacher of its keypoint maps."""
        config, stages = self.config, self.config.frozen_stages
        frozen = [] if stages is None else model.backbone.first_layers(stages)
        for layer in frozen:
            layer.requires_grad_(False)
        teacher = None
        if config.keep_keypoint_maps and not is_frozen(model.backbone):
            teacher = FrozenBackbone(copy.deepcopy(model.backbone))
        if config.train_batch_norm:
            use_batch_norm(model, frozen)
        if is_frozen(model.backbone):
            model.backbone = FrozenBackbone(model.backbone)  # type: ignore[assignment]
        elif stages and isinstance(model.backbone, MobileNetV2):
            partly = PartlyFrozenBackbone(model.backbone, stages)
            model.backbone = partly  # type: ignore[assignment]
        else:
            # On a CPU, convolutions take a seventh less time with channels last.
            model.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return teacher

    def forward(
        self, batch: Batch, stage: TrainStage, step: StepShare
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the losses of one batch.

        Args:
            batch: on the network's device.
            stage: current part of the run.
            step: place of this batch in the optimizer step.

        Returns:
            The total to minimise, and its weighted parts by name without gradient; both add up
            over the batches of the step.
        """
        if stage.dense_only:
            encoded, proposals = self._encode(batch)
            losses = self._dense_losses(encoded, proposals, batch, step)
        else:
            output, denoising = self._predict(batch)
            matches = self.matcher(output, batch)
            losses = self.criterion(output, matches, batch, denoising, stage.scale_3d, step.counts)
            if self.dense_criterion is not None:
                losses |= self._dense_losses(output.encoded, output.proposals, batch, step)
            encoded = output.encoded
        losses |= self._map_losses(encoded, batch, step)
        total = torch.stack(list(losses.values())).sum()
        return total, {name: loss.detach() for name, loss in losses.items()}

    def _predict(self, batch: Batch) -> tuple[AiOSOutput, DenoisingTargets | None]:
        """Output of the whole network in float32, and the targets of its denoising queries."""
        with autocast(self.config.precision, batch.pictures.device):
            images = batch.images(self.config.model.image)
            prefix, denoising = None, None
            if self.config.denoising.queries:
                prefix, denoising = self.denoising(batch)
            output = self.model(images, prefix, aux_outputs=True)
        return to_float32(output), denoising

    def _encode(self, batch: Batch) -> tuple[EncodedImage, ProposalOutput]:
        """Encoder and proposals without decoder, float32."""
        with autocast(self.config.precision, batch.pictures.device):
            encoded = self.model.encode(batch.images(self.config.model.image))
            proposals, _ = self.model.proposals(encoded)
        return to_float32(encoded), to_float32(proposals)

    def _map_losses(
        self, encoded: EncodedImage, batch: Batch, step: StepShare
    ) -> dict[str, Tensor]:
        """Losses of the keypoint maps of a backbone in training; means, as the dense losses."""
        maps = encoded.keypoint_maps
        if maps is None or is_frozen(self.model.backbone):
            return {}
        kept = None
        if self.map_teacher is not None and bool(batch.ignore_unmatched.any()):
            taught = batch.ignore_unmatched
            with autocast(self.config.precision, batch.pictures.device):
                images = batch.images(self.config.model.image).pixels[taught]
                known = getattr(self.model.backbone, "known", ())
                known = [outputs[taught] for outputs in known]
                kept = to_float32(self.map_teacher.keypoint_maps(images, known))
        terms = keypoint_map_terms(maps, batch, kept)
        weights = self.config.loss_weights
        return {name: term * getattr(weights, name) * step.share for name, term in terms.items()}

    def _dense_losses(
        self, encoded: EncodedImage, proposals: ProposalOutput, batch: Batch, step: StepShare
    ) -> dict[str, Tensor]:
        """Dense losses are means over the batch: the step averages them over its batches."""
        assert self.dense_criterion is not None
        losses = self.dense_criterion(encoded, proposals, batch)
        return {name: loss * step.share for name, loss in losses.items()}
