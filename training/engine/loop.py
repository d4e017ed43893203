"""The training loop: step, tell, checkpoint, resume."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from aios.body.model import BodyModel
from aios.network.config_dict import config_to_dict
from aios.weights.checkpoint import CheckpointError

from ..data.batch import Batch
from ..losses.validity import Counts
from .checkpointing import checkpoints, load_checkpoint, save_checkpoint
from .distributed import (
    device,
    mean_over_processes,
    parallel,
    rank,
    sum_over_processes,
    world_size,
)
from .ema import build_average
from .journal import Journal
from .learner import Learner, StepShare
from .optim import Position, build_optimizer, learning_rate_factor, set_learning_rate
from .pictures import truth_and_prediction
from .precision import build_scaler
from .recipe import Stage, TrainConfig
from .stream import Stream

logger = logging.getLogger(__name__)

MAY_CHANGE = (
    *("minutes", "steps", "epochs", "start", "backbone", "checkpoint_minutes", "log_every"),
    *("pictures_every", "threads", "data.workers", "data.real", "data.cache"),
    *("photos.root", "photos.trust_pickle"),
)
"""Fields that a resumed run may have otherwise: its length, where its data lie, what it tells."""


class NonFiniteLossError(RuntimeError):
    """The loss or a gradient is no number any more; the batch lies beside the checkpoints."""


class Trainer:
    """One run in one folder; every process has one.

    Batch number n of the run depends on the seed and n alone, and so does chance while it is
    learned from.  Step s takes batches s * A * W to (s + 1) * A * W, A accumulated in each of W
    processes, so a run goes on exactly from its step number, and sees the same whatever W is.
    """

    def __init__(self, config: TrainConfig, folder: Path, body_model: BodyModel) -> None:
        """Build everything and continue from the newest checkpoint in `folder`, if there is one."""
        torch.manual_seed(config.seed)
        self.rank, self.world_size, self.device = rank(), world_size(), device()
        self.config, self.folder, self.body_model = config, folder, body_model
        for stage in config.stages:
            config.batches_a_step(stage, self.world_size)
        found = checkpoints(folder)
        first = replace(config, start=None, backbone=None) if found else config
        self.learner = Learner(first, body_model).to(self.device)
        self.parallel = parallel(self.learner)
        self.optimizer = build_optimizer(self.learner, config.optim)
        self.scaler = build_scaler(config.precision, self.device)
        self.average = build_average(self.learner.model, config.ema_decay)
        self.step, self.seconds = 0, 0.0
        self.steps_an_epoch = 0
        folder.mkdir(parents=True, exist_ok=True)
        if found:
            self._resume(found[-1])
        elif not self.rank:
            text = json.dumps(config_to_dict(config), indent=1)
            (folder / "config.json").write_text(text)
        self.journal = Journal(folder, self.step)

    @property
    def progress(self) -> float:
        """Share of the run that is done, 0-1."""
        config = self.config
        if config.minutes:
            return min(self.seconds / (60 * config.minutes), 1.0)
        steps = config.steps or config.epochs * self.steps_an_epoch
        return min(self.step / steps, 1.0) if steps else 0.0

    @property
    def position(self) -> Position:
        """Where the schedule is."""
        epoch = self.step // self.steps_an_epoch if self.steps_an_epoch else 0
        return Position(self.step, self.progress, epoch)

    def run(self, stream: Stream) -> None:
        """Train until the run is done, then write the last checkpoint."""
        self.steps_an_epoch = self._steps_an_epoch(stream)
        last_saved = self.seconds
        while self.progress < 1.0:
            stage = self.config.stage_at(self.progress)
            start = time.perf_counter()
            for batches in self._steps(stream, stage):
                self.train_step(batches, stage)
                self.seconds += self._shared(time.perf_counter() - start)
                start = time.perf_counter()
                self._show(batches[-1])
                if self.seconds - last_saved > 60 * self.config.checkpoint_minutes:
                    self.save()
                    last_saved = self.seconds
                if self.progress >= 1.0 or self.config.stage_at(self.progress) is not stage:
                    break
        self.save()
        self.journal.close()

    def _shared(self, seconds: float) -> float:
        """Time decides only where the length of the run is a time; then all must agree on it."""
        return mean_over_processes(seconds) if self.config.minutes else seconds

    def train_step(self, batches: Sequence[Batch], stage: Stage) -> float:
        """One step of the optimiser over this process's batches; gives their part of the loss.

        Raises:
            NonFiniteLossError: instead of stepping on numbers that are none.
        """
        config = self.config
        factor = learning_rate_factor(self.position, config.optim)
        set_learning_rate(self.optimizer, config.optim.learning_rate * factor)
        self.learner.train()
        self.optimizer.zero_grad(set_to_none=True)
        batches = [batch.to(self.device) for batch in batches]
        total, losses = self._accumulate(batches, stage)
        self.scaler.unscale_(self.optimizer)
        parameters = [p for p in self.learner.parameters() if p.grad is not None]
        norm = nn.utils.clip_grad_norm_(parameters, config.optim.clip_norm)
        if not bool(torch.isfinite(total)) or not self._usable(norm):
            self._stop(batches, losses, "the gradient")
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.average.update_parameters(self.learner.model)
        self.step += 1
        known = {
            "norm": float(norm),
            "learning_rate": config.optim.learning_rate * factor,
            "minutes": self.seconds / 60,
        }
        self.journal.end_step(self.step, self.progress, config.log_every, known)
        return float(total)

    def _usable(self, norm: Tensor) -> bool:
        """Whether a step may follow; with fp16 an infinite gradient only lowers the scale."""
        if bool(torch.isfinite(norm)):
            return True
        return self.scaler.is_enabled() and self.scaler.get_scale() > 1.0

    def _accumulate(self, batches: list[Batch], stage: Stage) -> tuple[Tensor, dict[str, Tensor]]:
        """Add up gradients; losses are divided by the counts of the whole step in all processes."""
        counted = torch.stack([self.learner.criterion.count(b).values for b in batches]).sum(0)
        share = 1 / (len(batches) * self.world_size)
        step = StepShare(Counts(sum_over_processes(counted)), share)
        total = torch.zeros((), device=self.device)
        losses: dict[str, Tensor] = {}
        for number, batch in enumerate(batches):
            self._seed(number, len(batches))
            last = number == len(batches) - 1
            with nullcontext() if last else self._unsynchronised():
                loss, losses = self._score(batch, stage, step)
                # Gradients are averaged over the processes, but losses add up over them.
                self.scaler.scale(loss * self.world_size).backward()
            total = total + loss.detach()
            self.journal.add(losses, len(batch))
        return total, losses

    def _score(
        self, batch: Batch, stage: Stage, step: StepShare
    ) -> tuple[Tensor, dict[str, Tensor]]:
        try:
            return self.parallel(batch, stage, step)
        except FloatingPointError:
            self._stop([batch], {}, "the network's answer")
            raise

    def _unsynchronised(self) -> AbstractContextManager[None]:
        if isinstance(self.parallel, DistributedDataParallel):
            return self.parallel.no_sync()
        return nullcontext()

    def _seed(self, number: int, count: int) -> None:
        """Chance depends on the number of the batch in the run alone."""
        batch = (self.step * count + number) * self.world_size + self.rank
        seed = np.random.SeedSequence([self.config.seed, batch]).generate_state(1, np.uint64)
        torch.manual_seed(int(seed[0] >> np.uint64(1)))

    def save(self) -> None:
        """Write everything that a later call needs to go on; the first process does it."""
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
            },
        )

    def _resume(self, path: Path) -> None:
        state = load_checkpoint(path)
        _check_same(json.loads(state["config"]), config_to_dict(self.config), path)
        self.learner.load_state_dict(state["learner"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.average.module.load_state_dict(state["average"]["state"])
        self.average.n_averaged.fill_(state["average"]["updates"] + 1)
        self.step, self.seconds = state["step"], state["seconds"]
        logger.info("continuing %s at step %d", path.name, self.step)

    def _steps_an_epoch(self, stream: Stream) -> int:
        stage = self.config.stages[0]
        together = stage.batch_size * self.world_size
        together *= self.config.batches_a_step(stage, self.world_size)
        return -(-stream.epoch_pictures // together)

    def _steps(self, stream: Stream, stage: Stage) -> Iterator[list[Batch]]:
        """The batches of this process, those of one step after those of another."""
        count = self.config.batches_a_step(stage, self.world_size)
        first = self.step * count * self.world_size + self.rank
        loaded = stream.load(stage, first, self.world_size)
        while step := list(islice(loaded, count)):
            yield step

    def _show(self, batch: Batch) -> None:
        every = self.config.pictures_every
        if self.rank or not every or self.step % every:
            return
        model = self.average.module
        image = truth_and_prediction(model, batch.to(self.device), self.body_model)
        self.journal.picture(self.step, image)

    def _stop(self, batches: Sequence[Batch], losses: dict[str, Tensor], what: str) -> None:
        path = self.folder / f"not_finite_{self.rank}.pt"
        torch.save(
            {
                "pictures": [batch.pictures.cpu() for batch in batches],
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
    """A run goes on with the settings it began with."""
    first, second = _fields(before), _fields(now)
    other = sorted(n for n in first.keys() | second.keys() if first.get(n) != second.get(n))
    if other := [name for name in other if name not in MAY_CHANGE]:
        raise CheckpointError(
            f"{path} was written with other settings of {', '.join(other)};"
            " give the same again, or choose another folder"
        )


def _fields(plain: dict, prefix: str = "") -> dict[str, object]:
    """Every value of a nested dictionary by its place."""
    found: dict[str, object] = {}
    for name, value in plain.items():
        place = f"{prefix}{name}"
        found |= _fields(value, f"{place}.") if isinstance(value, dict) else {place: value}
    return found
