"""Everything a training run is told, frozen; see `config` for the runs by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from aios.network.config import BUILTIN_CONFIG, AiOSConfig, ConfigError

from ..data.mixture import DataConfig
from ..data.photo_mix import PhotoConfig
from ..losses.denoising import DenoisingConfig
from ..losses.loss_weights import LossRules, LossWeights
from ..losses.matcher import MATCHING, MatchingConfig
from .optim import OptimConfig
from .precision import Precision


@dataclass(frozen=True)
class Stage:
    """A part of the run."""

    until: float
    """Share of the run at which it ends, 0-1."""
    side: int
    """Short side of its scenes in pixels; photos of data sets have sizes of their own."""
    batch_size: int = 8
    """Pictures that a process computes at once."""
    dense_only: bool = False
    """Train backbone, encoder and proposals by dense targets alone."""
    scale_3d: float = 1.0
    """Factor on everything that teaches SMPL-X parameters."""
    person_share: tuple[float, float] | None = None
    """Of a scene that one of its people fills, instead of what `data.augment` says: which way
    small people face is too hard a question to begin with."""


@dataclass(frozen=True)
class TrainConfig:
    """One run; the defaults are the recipe of the built-in weights."""

    model: AiOSConfig = BUILTIN_CONFIG
    stages: tuple[Stage, ...] = (
        Stage(until=0.5, side=160, batch_size=16, dense_only=True, person_share=(0.65, 1.2)),
        Stage(until=0.72, side=192, person_share=(0.45, 1.15)),
        Stage(until=1.0, side=256, scale_3d=1.5),
    )
    data: DataConfig = field(default_factory=DataConfig)
    """Scenes and photographs of single people; of a run on data sets only `workers` is used."""
    photos: PhotoConfig | None = None
    """A mixture of data sets; None: the run learns from `data`."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    loss_weights: LossWeights = field(default_factory=LossWeights)
    loss_rules: LossRules = field(default_factory=LossRules)
    matching: MatchingConfig = MATCHING["builtin"]
    denoising: DenoisingConfig = field(default_factory=DenoisingConfig)
    train_proposals: int | None = 48
    """Proposals kept while training, None for as many as the network keeps afterwards."""
    train_people: int | None = 8
    """People slots while training, likewise."""
    dense_tokens: int = 6
    """Encoder tokens that learn from each person; 0 switches dense targets off."""
    learn_batch_norm: bool = True
    """Real batch norm, for a backbone that starts from nothing; a pre-trained one keeps its own."""
    frozen_stages: int | None = None
    """Leave the backbone's stem (0) or also so many stages after it as they are, which suits a
    pre-trained one; None: all of it learns."""
    first_guess: Literal["mean_person", "neutral"] = "mean_person"
    """What an untrained network answers: an upright person with lowered arms, or zeros."""
    start: str | None = None
    """Weights to start from, see `start`: an own file or run, the paper's, or ED-Pose."""
    backbone: str | None = None
    """Classifier of ImageNet that the backbone starts from, see `imagenet`; `start` then gives
    what comes after the backbone and its projections."""
    ema_decay: float = 0.998
    precision: Precision = "float32"
    effective_batch: int = 0
    """Pictures a step of the optimiser sees, reached by accumulating gradients whatever the number
    of processes; 0: as many as the processes compute at once."""
    seed: int = 0
    minutes: float = 0.0
    """Length of the run in minutes of training; of `minutes`, `steps` and `epochs` one is given."""
    steps: int = 0
    """Length of the run in steps of the optimiser."""
    epochs: int = 0
    """Length of the run in times through the data."""
    checkpoint_minutes: float = 3.0
    log_every: int = 50
    """Steps between two lines of figures."""
    pictures_every: int = 500
    """Steps between two pictures of truth and prediction; 0: none."""
    threads: int = 1

    def __post_init__(self) -> None:
        """Check the parts against each other."""
        ends = [stage.until for stage in self.stages]
        if not ends or ends != sorted(ends) or ends[-1] != 1.0:
            raise ConfigError("stages must end at rising shares of the run, the last at 1.0")
        if any(stage.dense_only for stage in self.stages) and self.dense_tokens == 0:
            raise ConfigError("a dense_only stage needs dense_tokens above 0")
        if not 0 <= (self.frozen_stages or 0) <= len(self.model.backbone.depths):
            raise ConfigError("frozen_stages is not a number of stages of the backbone")
        proposals = self.train_proposals or self.model.num_proposals
        if (self.train_people or self.model.num_people) > proposals:
            raise ConfigError("train_people must not exceed train_proposals")
        if sum(bool(length) for length in (self.minutes, self.steps, self.epochs)) > 1:
            raise ConfigError("minutes, steps and epochs are three ways to say one thing: give one")
        if self.epochs and self.photos is None:
            raise ConfigError("scenes have no epochs: give minutes or steps")
        if self.optim.drop_epochs and self.photos is None:
            raise ConfigError("optim.drop_epochs count times through data sets, and there are none")
        if not self.dense_tokens and not self.matching.proposals:
            raise ConfigError(
                "no loss would train the proposals: set dense_tokens or matching.proposals"
            )

    def stage_at(self, progress: float) -> Stage:
        """The stage of a run that is done to `progress` (0-1)."""
        return next((s for s in self.stages if progress < s.until), self.stages[-1])

    def batches_a_step(self, stage: Stage, processes: int) -> int:
        """Batches that each process accumulates for one step of the optimiser.

        Raises:
            ConfigError: the effective batch cannot be reached exactly.
        """
        if not self.effective_batch:
            return 1
        at_once = stage.batch_size * processes
        if self.effective_batch % at_once:
            raise ConfigError(
                f"effective_batch {self.effective_batch} is no multiple of {processes} processes"
                f" x {stage.batch_size} pictures: choose another number of processes or batch_size"
            )
        return self.effective_batch // at_once
