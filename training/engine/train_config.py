"""All settings of a training run, as frozen dataclasses; `training.config` has the named runs."""

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
class TrainStage:
    """A part of the run, e.g. of a curriculum from small to large images."""

    until: float
    """Finished share of the run at which the stage ends, 0-1."""
    side: int
    """Short side of scenes in pixels; `photos` of data sets have their own sizes."""
    batch_size: int = 8
    """Images per forward pass in each process."""
    dense_only: bool = False
    """Train only backbone, encoder and proposals, with dense targets."""
    scale_3d: float = 1.0
    """Factor on all losses that use SMPL-X."""
    person_share: tuple[float, float] | None = None
    """Range of a person's size in a scene, as a share of the image; overrides `data.augment`.  The
    orientation of small people is too hard to learn at the start of a run."""


@dataclass(frozen=True)
class TrainConfig:
    """One run; defaults of the recipe "builtin"."""

    model: AiOSConfig = BUILTIN_CONFIG
    stages: tuple[TrainStage, ...] = (
        TrainStage(until=0.5, side=160, batch_size=16, dense_only=True, person_share=(0.65, 1.2)),
        TrainStage(until=0.72, side=192, person_share=(0.45, 1.15)),
        TrainStage(until=1.0, side=256, scale_3d=1.5),
    )
    data: DataConfig = field(default_factory=DataConfig)
    """Synthetic scenes and photos of single people; with `photos` only `workers` is used."""
    photos: PhotoConfig | None = None
    """Mixture of data sets; None trains on `data`."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    loss_weights: LossWeights = field(default_factory=LossWeights)
    loss_rules: LossRules = field(default_factory=LossRules)
    matching: MatchingConfig = MATCHING["builtin"]
    denoising: DenoisingConfig = field(default_factory=DenoisingConfig)
    train_proposals: int | None = 48
    """Proposals in training; None for as many as at inference."""
    train_people: int | None = 8
    """People slots while training, likewise."""
    dense_tokens: int = 6
    """Encoder tokens that learn from each person; 0 switches dense losses off."""
    train_batch_norm: bool = True
    """Train batch norm, for a backbone with random weights; False keeps it frozen."""
    frozen_stages: int | None = None
    """Freeze the backbone's stem (0) and this many stages after it; None trains all of it."""
    keep_keypoint_maps: bool = False
    """Hold the backbone's keypoint maps to those of the backbone that the run starts from, in
    images where not everyone is annotated, see `keypoint_map_terms`."""
    initial_prediction: Literal["mean_person", "neutral"] = "mean_person"
    """Prediction of an untrained network: an upright person with lowered arms, or zeros."""
    start: str | None = None
    """Weights to start from, see `initial_weights`: a run, a weights file, AiOS or ED-Pose."""
    backbone: str | None = None
    """Classifier or MoveNet that the backbone starts from, see `backbone_weights`; `start` then
    gives everything after the backbone and its projections."""
    ema_decay: float = 0.998
    precision: Precision = "float32"
    effective_batch: int = 0
    """Images per optimizer step, reached by accumulating gradients for any number of processes; 0
    takes one batch per process."""
    seed: int = 0
    minutes: float = 0.0
    """Length of the run in minutes of training; set one of `minutes`, `steps` and `epochs`."""
    steps: int = 0
    """Length of the run in optimizer steps."""
    epochs: int = 0
    """Length of the run in epochs of the largest data set."""
    checkpoint_minutes: float = 3.0
    log_every: int = 50
    """Steps between two log lines."""
    preview_every: int = 500
    """Steps between two images of annotation and prediction in TensorBoard; 0 for none."""
    threads: int = 1

    def __post_init__(self) -> None:
        """Check that the settings fit together."""
        self._check_numbers()
        ends = [stage.until for stage in self.stages]
        if not ends or ends != sorted(ends) or ends[-1] != 1.0:
            raise ConfigError("stages must end at rising shares of the run, the last at 1.0")
        if any(stage.dense_only for stage in self.stages) and self.dense_tokens == 0:
            raise ConfigError("a dense_only stage needs dense_tokens above 0")
        if not 0 <= (self.frozen_stages or 0) <= len(self.model.backbone.depths):
            raise ConfigError(f"frozen_stages must be 0 to {len(self.model.backbone.depths)}")
        proposals = self.train_proposals or self.model.num_proposals
        if (self.train_people or self.model.num_people) > proposals:
            raise ConfigError("train_people must not exceed train_proposals")
        if sum(bool(length) for length in (self.minutes, self.steps, self.epochs)) > 1:
            raise ConfigError("minutes, steps and epochs exclude each other: set one of them")
        if self.epochs and self.photos is None:
            raise ConfigError("scenes have no epochs: set minutes or steps")
        if self.optim.drop_epochs and self.photos is None:
            raise ConfigError("optim.drop_epochs need a run on data sets (photos)")
        if not self.dense_tokens and not self.matching.proposals:
            raise ConfigError(
                "no loss would train the proposals: set dense_tokens or matching.proposals"
            )

    def _check_numbers(self) -> None:
        if any(stage.batch_size < 1 or stage.side < 1 for stage in self.stages):
            raise ConfigError("batch_size and side of a stage must be at least 1")
        for name in ("threads", "log_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in (
            *("minutes", "steps", "epochs", "checkpoint_minutes", "preview_every", "seed"),
            *("effective_batch", "dense_tokens"),
        ):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must not be negative, not {getattr(self, name)}")
        if self.data.workers < 0:
            raise ConfigError(f"data.workers must not be negative, not {self.data.workers}")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"ema_decay must be at least 0 and below 1, not {self.ema_decay}")

    def stage_at(self, progress: float) -> TrainStage:
        """Stage at a finished share `progress` of the run, 0-1."""
        return next((s for s in self.stages if progress < s.until), self.stages[-1])

    def batches_per_step(self, stage: TrainStage, processes: int) -> int:
        """Batches that each process accumulates for one optimizer step.

        Raises:
            ConfigError: the effective batch cannot be reached exactly.
        """
        if not self.effective_batch:
            return 1
        together = stage.batch_size * processes
        if self.effective_batch % together:
            raise ConfigError(
                f"effective_batch {self.effective_batch} is not a multiple of {processes} processes"
                f" x {stage.batch_size} images: change the number of processes or batch_size"
            )
        return self.effective_batch // together
