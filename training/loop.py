"""The training loop: step, log, checkpoint, resume."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from aios.body_model import BodyModel
from aios.checkpoint import load_strictly, read_own
from aios.image import ImageBatch
from aios.model import AiOS
from aios.outputs import EncodedImage, ProposalOutput

from .batch import Batch
from .batch_norm import use_batch_norm
from .checkpointing import (
    CheckpointError,
    checkpoints,
    load_checkpoint,
    save_checkpoint,
)
from .config import Stage, TrainConfig
from .criterion import Criterion
from .data import Sources, TrainBatches, load_batches
from .denoising import Denoising
from .dense import DenseHead, dense_terms
from .distributed import average_gradients, mean_over_processes, rank, world_size
from .ema import WeightAverage
from .initialise import initialise
from .optim import build_optimizer, learning_rate_factor, set_learning_rate

logger = logging.getLogger(__name__)


class NonFiniteLossError(RuntimeError):
    """The loss or a gradient is no number any more; the batch lies beside the checkpoints."""


class Learner(nn.Module):
    """The network and what exists only while it learns."""

    def __init__(self, config: TrainConfig) -> None:
        """Fresh weights."""
        super().__init__()
        model = initialise(AiOS(config.model))
        if config.start:
            load_strictly(model, read_own(config.start)[1], config.start)
        self.model = use_batch_norm(model)
        # Convolutions of a CPU are about a seventh faster with the channels last.
        model.backbone.to(memory_format=torch.channels_last)
        model.proposals.num_proposals = config.train_proposals
        model.decoder.num_people = config.train_people
        self.dense = DenseHead(config.model.hidden_dim)
        self.denoising = Denoising(config.model.hidden_dim, config.denoising)


class Trainer:
    """One run in one folder."""

    def __init__(self, config: TrainConfig, folder: Path, body_model: BodyModel) -> None:
        """Build everything and continue from the newest checkpoint in `folder`, if there is one."""
        torch.manual_seed(config.seed)
        self.rank, self.world_size = rank(), world_size()
        self.config, self.folder = config, folder
        self.learner = Learner(config)
        self.criterion = Criterion(config.weights, config.costs, body_model)
        self.optimizer = build_optimizer(self.learner, config.optim)
        self.average = WeightAverage(self.learner.model, config.ema_decay)
        self.step, self.seconds = 0, 0.0
        folder.mkdir(parents=True, exist_ok=True)
        self._log: dict[str, float] = {}
        self._logged_pictures, self._logged_steps, self._logged_at = 0, 0, 0.0
        self._resume()

    @property
    def progress(self) -> float:
        """Share of the run that is done, 0-1."""
        shares = [0.0]
        if self.config.steps:
            shares.append(self.step / self.config.steps)
        if self.config.minutes:
            shares.append(self.seconds / (60 * self.config.minutes))
        return min(max(shares), 1.0)

    def run(self, sources: Sources) -> None:
        """Train until the run is done, then write the last checkpoint."""
        last_saved = self.seconds
        while self.progress < 1.0:
            stage = self.config.stage_at(self.progress)
            batches = self._batches(sources, stage)
            first = self.step * self.world_size + self.rank
            start = time.perf_counter()
            for batch in load_batches(batches, first, self.world_size, self.config.data.workers):
                self.train_step(batch, stage)
                self.seconds += mean_over_processes(time.perf_counter() - start)
                start = time.perf_counter()
                if self.seconds - last_saved > 60 * self.config.checkpoint_minutes:
                    self.save()
                    last_saved = self.seconds
                if self.progress >= 1.0 or self.config.stage_at(self.progress) is not stage:
                    break
        self.save()

    def train_step(self, batch: Batch, stage: Stage) -> float:
        """One step of the optimiser; gives the loss.

        Raises:
            NonFiniteLossError: instead of stepping on numbers that are none.
        """
        rate = self.config.optim.learning_rate
        factor = learning_rate_factor(self.step, self.progress, self.config.optim)
        set_learning_rate(self.optimizer, rate * factor)
        # Chance depends on the step alone, so that a resumed run draws what an unbroken one does.
        torch.manual_seed((self.config.seed * 1_000_003 + self.step) * 64 + self.rank)
        self.learner.train()
        losses = self.losses(batch, stage)
        total = torch.stack(list(losses.values())).sum()
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        average_gradients(list(self.learner.parameters()))
        parameters = [p for p in self.learner.parameters() if p.grad is not None]
        norm = nn.utils.clip_grad_norm_(parameters, self.config.optim.clip_norm)
        if not bool(torch.isfinite(total)) or not bool(torch.isfinite(norm)):
            self._stop(batch, losses)
        self.optimizer.step()
        self.average.update(self.learner.model)
        self.step += 1
        values = {name: float(loss.detach()) for name, loss in losses.items()}
        self._note(values | {"total": float(total.detach()), "norm": float(norm)}, len(batch))
        return float(total.detach())

    def losses(self, batch: Batch, stage: Stage) -> dict[str, Tensor]:
        """Weighted losses of one batch."""
        config, learner = self.config, self.learner
        images = batch.images(config.model.image)
        weights = config.weights
        if stage.dense_only:
            (encoded, proposals), losses = encode_only(learner.model, images), {}
        else:
            prefix, wanted = learner.denoising(batch) if config.denoising.queries else (None, None)
            output = learner.model(images, prefix, aux_outputs=True)
            encoded, proposals = output.encoded, output.proposals
            losses = self.criterion(output, batch, wanted, stage.scale_3d)
        if config.dense_tokens:
            terms = dense_terms(
                encoded,
                proposals,
                batch,
                learner.dense,
                config.dense_tokens,
                config.model.proposal_size,
                weights.unannotated_negative,
            )
            losses |= {name: term * getattr(weights, name) for name, term in terms.items()}
        return losses

    def save(self) -> None:
        """Write everything that a later call needs to go on; the first process does it."""
        if self.rank:
            return
        save_checkpoint(
            self.folder,
            self.step,
            {
                "config": json.dumps(dataclasses.asdict(self.config)),
                "learner": self.learner.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "average": self.average.state_dict(),
                "step": self.step,
                "seconds": self.seconds,
            },
        )

    def _resume(self) -> None:
        found = checkpoints(self.folder)
        if not found:
            if not self.rank:
                text = json.dumps(dataclasses.asdict(self.config), indent=1)
                (self.folder / "config.json").write_text(text)
            return
        state = load_checkpoint(found[-1])
        model = json.loads(state["config"])["model"]
        if model != json.loads(json.dumps(dataclasses.asdict(self.config.model))):
            raise CheckpointError(
                f"{found[-1]} belongs to a network of other sizes; choose another folder"
            )
        self.learner.load_state_dict(state["learner"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.load_state_dict(state["average"])
        self.step, self.seconds = state["step"], state["seconds"]
        logger.info("continuing %s at step %d", found[-1].name, self.step)

    def _batches(self, sources: Sources, stage: Stage) -> TrainBatches:
        return TrainBatches(
            sources,
            self.config.data,
            self.config.model.image,
            self.config.model.focal_length,
            side=stage.side,
            batch_size=stage.batch_size,
            seed=self.config.seed,
        )

    def _note(self, values: dict[str, float], pictures: int) -> None:
        """Collect means and write a line to `log.jsonl` now and then."""
        for name, value in values.items():
            self._log[name] = self._log.get(name, 0.0) + value
        self._logged_pictures += pictures * self.world_size
        self._logged_steps += 1
        if self.rank or self.step % self.config.log_every:
            return
        now = time.perf_counter()
        rate = self._logged_pictures / (now - self._logged_at) if self._logged_at else 0.0
        means = {k: round(v / self._logged_steps, 5) for k, v in self._log.items()}
        line = {"step": self.step, "minutes": round(self.seconds / 60, 2), "pictures_s": rate}
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(line | means) + "\n")
        logger.info(
            "step %d, %.1f min (%.0f %%), %.1f pictures/s, loss %.3f, gradient %.2f",
            *(self.step, self.seconds / 60, 100 * self.progress, rate),
            *(means["total"], means["norm"]),
        )
        self._log, self._logged_pictures, self._logged_steps = {}, 0, 0
        self._logged_at = now

    def _stop(self, batch: Batch, losses: dict[str, Tensor]) -> None:
        path = self.folder / f"not_finite_{self.rank}.pt"
        torch.save(
            {
                "pictures": batch.pictures,
                "losses": {name: float(loss.detach()) for name, loss in losses.items()},
                "learner": self.learner.state_dict(),
            },
            path,
        )
        wrong = [name for name, loss in losses.items() if not bool(torch.isfinite(loss))]
        raise NonFiniteLossError(
            f"at step {self.step} {', '.join(wrong) or 'the gradient'} is not finite; "
            f"batch and weights are in {path}"
        )


def encode_only(model: AiOS, images: ImageBatch) -> tuple[EncodedImage, ProposalOutput]:
    """The network up to its proposals."""
    levels = model.level_projections(model.backbone(images.pixels))
    encoded = model.encoder(levels, images.padding_mask)
    proposals, _ = model.proposals(encoded)
    return encoded, proposals
