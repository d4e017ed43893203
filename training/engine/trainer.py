"""The training loop: steps, logging, checkpoints, resuming."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from aios.body.model import BodyModel
from aios.network.config_dict import config_to_dict
from aios.weights.checkpoint import CheckpointError

from ..data.batch import Batch
from ..losses.validity import Counts
from .checkpointing import checkpoints, damaged_text, load_checkpoint, save_checkpoint
from .distributed import (
    data_parallel,
    device,
    mean_over_processes,
    rank,
    sum_over_processes,
    world_size,
)
from .ema import build_average
from .history import flattened, origin
from .learner import Learner, StepShare
from .optim import (
    Position,
    build_optimizer,
    clip_gradients,
    learning_rate_factor,
    set_learning_rate,
)
from .precision import build_scaler
from .previews import draw_previews
from .stream import Stream
from .train_config import TrainConfig, TrainStage
from .training_log import TrainingLog

logger = logging.getLogger(__name__)

MAY_CHANGE = (
    *("minutes", "steps", "epochs", "start", "backbone", "checkpoint_minutes", "log_every"),
    *("preview_every", "threads", "data.workers", "data.real", "data.cache", "data.mocap.folder"),
    *("data.annotated", "data.annotated_images"),
    *("photos.root", "photos.trust_pickle"),
)
"""Fields that may change on resume: length of the run, paths of data, logging."""


class NonFiniteLossError(RuntimeError):
    """Loss, gradient or prediction is not finite; the batch is saved in the folder of the run."""


class Trainer:
    """One run in one folder; every process has its own trainer.

    Batch number n depends only on the seed and n, and so do the random numbers of its forward
    pass.  Step s takes batches s * A * W to (s + 1) * A * W: A accumulated batches in each of W
    processes.  A resumed run therefore continues exactly, and sees the same data for every W.
    """

    def __init__(self, config: TrainConfig, folder: Path, body_model: BodyModel) -> None:
        """Build everything; continue from the newest checkpoint in `folder` if there is one."""
        torch.manual_seed(config.seed)
        self.rank, self.world_size, self.device = rank(), world_size(), device()
        self.config, self.folder, self.body_model = config, folder, body_model
        for stage in config.stages:
            config.batches_per_step(stage, self.world_size)
        found = checkpoints(folder)
        first = replace(config, start=None, backbone=None) if found else config
        self.learner = Learner(first, body_model).to(self.device)
        self.parallel = data_parallel(self.learner)
        self.optimizer = build_optimizer(self.learner, config.optim)
        self.scaler = build_scaler(config.precision, self.device)
        self.average = build_average(self.learner.model, config.ema_decay)
        self.step, self.seconds, self.images = 0, 0.0, 0
        self.steps_per_epoch = 0
        folder.mkdir(parents=True, exist_ok=True)
        self.origin = {} if found else origin(config)
        if found:
            self._resume(found[-1])
        elif not self.rank:
            text = json.dumps(config_to_dict(config), indent=1)
            (folder / "config.json").write_text(text)
        self.log = TrainingLog(folder, self.step)

    @property
    def progress(self) -> float:
        """Finished share of the run, 0-1."""
        config = self.config
        if config.minutes:
            return min(self.seconds / (60 * config.minutes), 1.0)
        steps = config.steps or config.epochs * self.steps_per_epoch
        return min(self.step / steps, 1.0) if steps else 0.0

    @property
    def position(self) -> Position:
        """Position in the learning-rate schedule."""
        epoch = self.step // self.steps_per_epoch if self.steps_per_epoch else 0
        return Position(self.step, self.progress, epoch)

    def run(self, stream: Stream) -> None:
        """Train to the end of the run, then write the last checkpoint."""
        self.steps_per_epoch = self._steps_per_epoch(stream)
        last_saved = self.seconds
        while self.progress < 1.0:
            stage = self.config.stage_at(self.progress)
            start = time.perf_counter()
            for batches in self._steps(stream, stage):
                self.train_step(batches, stage)
                self.seconds += self._agreed(time.perf_counter() - start)
                start = time.perf_counter()
                self._draw(batches[-1])
                if self.seconds - last_saved > 60 * self.config.checkpoint_minutes:
                    self.save()
                    last_saved = self.seconds
                if self.progress >= 1.0 or self.config.stage_at(self.progress) is not stage:
                    break
        self.save()
        self.log.close()

    def _agreed(self, seconds: float) -> float:
        """Seconds that all processes agree on, if the length of the run is a time."""
        return mean_over_processes(seconds) if self.config.minutes else seconds

    def train_step(self, batches: Sequence[Batch], stage: TrainStage) -> float:
        """Take one optimizer step over this process's batches.

        Returns:
            This process's part of the loss.

        Raises:
            NonFiniteLossError: loss, gradient or prediction is not finite; weights are unchanged.
        """
        config = self.config
        factor = learning_rate_factor(self.position, config.optim)
        set_learning_rate(self.optimizer, config.optim.learning_rate * factor)
        self.learner.train()
        self.optimizer.zero_grad(set_to_none=True)
        batches = [batch.to(self.device) for batch in batches]
        total, losses = self.accumulate_gradients(batches, stage)
        self.scaler.unscale_(self.optimizer)
        norm = clip_gradients(self.optimizer, config.optim.clip_norm)
        if not bool(torch.isfinite(total)) or not self._is_usable(norm):
            self._stop(batches, losses, "the gradient")
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.average.update_parameters(self.learner.model)
        self.step += 1
        self.images += sum(len(batch) for batch in batches) * self.world_size
        state = {
            "norm": float(norm),
            "learning_rate": config.optim.learning_rate * factor,
            "minutes": self.seconds / 60,
        }
        self.log.end_step(self.step, self.progress, config.log_every, state)
        return float(total)

    def _is_usable(self, norm: Tensor) -> bool:
        """Whether to take the step; with fp16 an infinite gradient only lowers the loss scale."""
        if bool(torch.isfinite(norm)):
            return True
        return self.scaler.is_enabled() and self.scaler.get_scale() > 1.0

    def accumulate_gradients(
        self, batches: list[Batch], stage: TrainStage
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum gradients and losses over batches, divided by the counts of the whole step."""
        counted = torch.stack([self.learner.criterion.count(b).values for b in batches]).sum(0)
        share = 1 / (len(batches) * self.world_size)
        step = StepShare(Counts(sum_over_processes(counted)), share)
        total = torch.zeros((), device=self.device)
        losses: dict[str, Tensor] = {}
        for number, batch in enumerate(batches):
            self._seed(number, len(batches))
            last = number == len(batches) - 1
            with nullcontext() if last else self._without_gradient_exchange():
                loss, losses = self._score(batch, stage, step)
                # Gradients are averaged over processes, but losses must be summed over them.
                self.scaler.scale(loss * self.world_size).backward()
            total = total + loss.detach()
            self.log.add(losses, len(batch))
        return total, losses

    def _score(
        self, batch: Batch, stage: TrainStage, step: StepShare
    ) -> tuple[Tensor, dict[str, Tensor]]:
        try:
            return self.parallel(batch, stage, step)
        except FloatingPointError:
            self._stop([batch], {}, "the prediction")
            raise

    def _without_gradient_exchange(self) -> AbstractContextManager[None]:
        if isinstance(self.parallel, DistributedDataParallel):
            return self.parallel.no_sync()
        return nullcontext()

    def _seed(self, number: int, count: int) -> None:
        """Seed the random numbers of a batch by its number in the run."""
        batch = (self.step * count + number) * self.world_size + self.rank
        seed = np.random.SeedSequence([self.config.seed, batch]).generate_state(1, np.uint64)
        torch.manual_seed(int(seed[0] >> np.uint64(1)))

    def save(self) -> None:
        """Write a checkpoint to resume from; only process 0 does."""
        if self.rank:
            return
        save_checkpoint(
            self.folder,
            self.step,
            {
                "config": json.dumps(config_to_dict(self.config)),
                "learner": self.learner.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "average": {
                    "updates": int(self.average.n_averaged) - 1,
                    "state": self.average.module.state_dict(),
                },
                "step": self.step,
                "seconds": self.seconds,
                "images": self.images,
                "processes": self.world_size,
                "origin": self.origin,
            },
        )

    def _resume(self, path: Path) -> None:
        state = load_checkpoint(path)
        try:
            self._restore(state, path)
        except CheckpointError:
            raise
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(damaged_text(path, "parts are missing or differ")) from error
        logger.info("continuing %s at step %d", path.name, self.step)

    def _restore(self, state: dict[str, Any], path: Path) -> None:
        _check_same(json.loads(state["config"]), config_to_dict(self.config), path)
        self.learner.load_state_dict(state["learner"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.average.module.load_state_dict(state["average"]["state"])
        self.average.n_averaged.fill_(state["average"]["updates"] + 1)
        self.step, self.seconds = int(state["step"]), float(state["seconds"])
        self.images, self.origin = state["images"], state["origin"]

    def _steps_per_epoch(self, stream: Stream) -> int:
        stage = self.config.stages[0]
        images = stage.batch_size * self.world_size
        images *= self.config.batches_per_step(stage, self.world_size)
        return -(-stream.epoch_images // images)

    def _steps(self, stream: Stream, stage: TrainStage) -> Iterator[list[Batch]]:
        """Batches of this process, one list per step."""
        count = self.config.batches_per_step(stage, self.world_size)
        first = self.step * count * self.world_size + self.rank
        loaded = stream.load(stage, first, self.world_size)
        while step := list(islice(loaded, count)):
            yield step

    def _draw(self, batch: Batch) -> None:
        every = self.config.preview_every
        if self.rank or not every or self.step % every:
            return
        model = self.average.module
        image = draw_previews(model, batch.to(self.device), self.body_model)
        self.log.add_image(self.step, image)

    def _stop(self, batches: Sequence[Batch], losses: dict[str, Tensor], what: str) -> None:
        path = self.folder / f"not_finite_{self.rank}.pt"
        torch.save(
            {
                "images": [batch.pictures.cpu() for batch in batches],
                "targets": [vars(batch.targets) for batch in batches],
                "losses": {name: float(loss) for name, loss in losses.items()},
                "learner": self.learner.state_dict(),
            },
            path,
        )
        wrong = [name for name, loss in losses.items() if not bool(torch.isfinite(loss))]
        raise NonFiniteLossError(
            f"at step {self.step} {', '.join(wrong) or what} is not finite; "
            f"batches and weights are in {path}"
        )


def _check_same(before: dict, now: dict, path: Path) -> None:
    """Refuse to resume with other settings than at the start, except `MAY_CHANGE`."""
    first, second = flattened(before), flattened(now)
    other = sorted(n for n in first.keys() | second.keys() if first.get(n) != second.get(n))
    if other := [name for name in other if name not in MAY_CHANGE]:
        raise CheckpointError(
            f"{path} was written with other settings of {', '.join(other)};"
            " use the same settings, or another folder"
        )
