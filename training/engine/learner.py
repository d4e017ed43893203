"""The network and what exists only while it learns, from a batch to its losses."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from aios.body.model import BodyModel
from aios.network.model import AiOS
from aios.network.outputs import AiOSOutput, EncodedImage, ProposalOutput
from aios.network.preprocessing import ImageBatch

from ..data.batch import Batch
from ..losses.criterion import Criterion
from ..losses.denoising import Denoising, DenoisingTargets
from ..losses.dense import DenseHead, dense_terms
from ..losses.validity import Counts
from .batch_norm import use_batch_norm
from .imagenet import load_backbone
from .initialise import initialise
from .precision import autocast
from .recipe import Stage, TrainConfig
from .start import IMAGE_FEATURES, load_start

NEVER_TAUGHT = {
    r"decoder\.heads\.(joint|hand_point|face_point)_size\.": (
        "sizes of points say only where the next layer looks, and that has no gradient"
    ),
    r"decoder\.heads\.layers\.\d+\.smplx\.(hand_pose|expression)\.": (
        "stage refine_body poses mean hands and a face at rest"
    ),
    r"decoder\.heads\.layers\.\d+\.smplx\.jaw_pose\.": (
        "stage refine_body scores the joints of the body, which the jaw does not move"
    ),
}
"""Learnable tensors of the network that no loss moves, with the reason; heads of SMPL-X in
stage `refine_body` alone."""


@dataclass(frozen=True)
class StepShare:
    """What one batch is of a step that may see several, in one process or in many."""

    counts: Counts
    """Of all batches of the step."""
    share: float
    """One over their number."""


@dataclass(frozen=True)
class _Answer:
    """What the network said of a batch; before the decoder learns there is no output."""

    encoded: EncodedImage
    proposals: ProposalOutput
    output: AiOSOutput | None
    wanted: DenoisingTargets | None


class Learner(nn.Module):
    """Called with a batch, gives losses; its state is all that training changes.

    The body model poses predicted parameters and is no part of the state.
    """

    def __init__(self, config: TrainConfig, body_model: BodyModel) -> None:
        """Fresh weights or those of `config.start`."""
        super().__init__()
        self.config = config
        model = AiOS(config.model)
        if config.first_guess == "mean_person":
            initialise(model)
        self.denoising = Denoising(config.model.hidden_dim, config.denoising)
        if config.backbone:
            load_backbone(config.backbone, model.backbone)
        if config.start:
            fresh = IMAGE_FEATURES if config.backbone else ()
            load_start(config.start, model, self.denoising.labels, fresh)
        frozen = []
        if config.frozen_stages is not None:
            frozen = model.backbone.first_layers(config.frozen_stages)
        for layer in frozen:
            layer.requires_grad_(False)
        if config.learn_batch_norm:
            use_batch_norm(model, frozen)
        # Convolutions of a CPU are about a seventh faster with the channels last.
        model.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        model.proposals.num_proposals = config.train_proposals or config.model.num_proposals
        model.decoder.num_people = config.train_people or config.model.num_people
        self.model = model
        self.dense = DenseHead(config.model.hidden_dim) if config.dense_tokens else None
        self.criterion = Criterion(config.weights, config.costs, body_model)

    def forward(
        self, batch: Batch, stage: Stage, step: StepShare
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Score one batch.

        Args:
            batch: on the network's device.
            stage: the part of the run.
            step: what this batch is of the optimiser's step.

        Returns:
            The loss to minimise, and its weighted parts by name without gradient; both add up over
            the batches of the step.
        """
        with autocast(self.config.precision, batch.pictures.device):
            answer = self._answer(batch, stage)
        losses: dict[str, Tensor] = {}
        if answer.output is not None:
            losses |= self.criterion(
                answer.output, batch, answer.wanted, stage.scale_3d, counts=step.counts
            )
        if self.dense is not None:
            terms = self._dense_losses(self.dense, answer, batch)
            losses |= {name: term * step.share for name, term in terms.items()}
        total = torch.stack(list(losses.values())).sum()
        return total, {name: loss.detach() for name, loss in losses.items()}

    def _answer(self, batch: Batch, stage: Stage) -> _Answer:
        images = batch.images(self.config.model.image)
        if stage.dense_only:
            return _Answer(*encode_only(self.model, images), None, None)
        prefix, wanted = self.denoising(batch) if self.config.denoising.queries else (None, None)
        output = self.model(images, prefix, aux_outputs=True)
        return _Answer(output.encoded, output.proposals, output, wanted)

    def _dense_losses(self, head: DenseHead, answer: _Answer, batch: Batch) -> dict[str, Tensor]:
        """They are means over the tokens of this batch, whatever else the step sees."""
        encoded, proposals = answer.encoded, answer.proposals
        logits = proposals.token_class_logits.float()
        terms = dense_terms(
            replace(encoded, memory=encoded.memory.float()),
            replace(proposals, token_class_logits=logits, boxes=proposals.boxes.float()),
            batch,
            head,
            self.config.dense_tokens,
            self.config.model.proposal_size,
            self.config.weights.unannotated_negative,
        )
        return {name: term * getattr(self.config.weights, name) for name, term in terms.items()}


def encode_only(model: AiOS, images: ImageBatch) -> tuple[EncodedImage, ProposalOutput]:
    """The network up to its proposals."""
    levels = model.level_projections(model.backbone(images.pixels))
    encoded = model.encoder(levels, images.padding_mask)
    proposals, _ = model.proposals(encoded)
    return encoded, proposals
