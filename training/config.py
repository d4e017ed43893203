"""Everything a training run is told, frozen; runs are named and list only what differs."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from aios.config import BUILTIN_CONFIG, AiOSConfig, BackboneConfig, ConfigError, ImageConfig

from .data import DataConfig
from .data.augment import AugmentConfig
from .denoising import DenoisingConfig
from .matcher import MatchCosts
from .optim import OptimConfig
from .weights import LossWeights


@dataclass(frozen=True)
class Stage:
    """A part of the run."""

    until: float
    """Share of the run at which it ends, 0-1."""
    side: int
    """Short side of its pictures in pixels."""
    batch_size: int = 8
    """Pictures a step and process."""
    dense_only: bool = False
    """Train backbone, encoder and proposals by dense targets alone."""
    scale_3d: float = 1.0
    """Factor on everything that teaches SMPL-X parameters."""


@dataclass(frozen=True)
class TrainConfig:
    """One run."""

    model: AiOSConfig = BUILTIN_CONFIG
    stages: tuple[Stage, ...] = (
        Stage(until=0.28, side=160, dense_only=True),
        Stage(until=0.55, side=192, scale_3d=0.5),
        Stage(until=0.78, side=224),
        Stage(until=1.0, side=256, scale_3d=1.5),
    )
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    weights: LossWeights = field(default_factory=LossWeights)
    costs: MatchCosts = MatchCosts(6.0, 5.0, 2.0, 0.5, 1.0, box_with_keypoints=True)
    """Mostly class: of several queries on one person the same must win again and again."""
    denoising: DenoisingConfig = field(default_factory=DenoisingConfig)
    train_proposals: int = 48
    """Proposals kept while training; the network keeps its own number afterwards."""
    train_people: int = 8
    """People slots while training, likewise."""
    dense_tokens: int = 6
    """Encoder tokens that learn from each person; 0 switches dense targets off."""
    ema_decay: float = 0.998
    start: str | None = None
    """Weights file in this project's own form to start from; None starts from nothing."""
    seed: int = 0
    minutes: float = 0.0
    """Length of the run in minutes of training; 0 leaves it to `steps`."""
    steps: int = 0
    """Length of the run in steps; 0 leaves it to `minutes`."""
    checkpoint_minutes: float = 3.0
    log_every: int = 50
    threads: int = 1

    def __post_init__(self) -> None:
        """Check the parts against each other."""
        ends = [stage.until for stage in self.stages]
        if not ends or ends != sorted(ends) or ends[-1] != 1.0:
            raise ConfigError("stages must end at rising shares of the run, the last at 1.0")
        if any(stage.dense_only for stage in self.stages) and self.dense_tokens == 0:
            raise ConfigError("a dense_only stage needs dense_tokens above 0")
        if self.train_people > self.train_proposals:
            raise ConfigError("train_people must not exceed train_proposals")

    def stage_at(self, progress: float) -> Stage:
        """The stage of a run that is done to `progress` (0-1)."""
        return next((s for s in self.stages if progress < s.until), self.stages[-1])


TINY_MODEL = AiOSConfig(
    image=ImageConfig(short_side=64, long_side=96),
    backbone=BackboneConfig(
        block="basic",
        depths=(1, 1, 1, 1),
        widths=(8, 8, 16, 16),
        stem_width=8,
        feature_stages=(2, 3),
    ),
    num_levels=2,
    hidden_dim=32,
    num_heads=4,
    feedforward_dim=64,
    encoder_layers=1,
    locate_layers=1,
    refine_body_layers=1,
    refine_whole_body_layers=1,
    num_proposals=12,
    num_people=4,
    proposal_size=0.15,
    focal_length=200.0,
)

CONFIGS: dict[str, TrainConfig] = {
    "builtin": TrainConfig(),
    "tiny": TrainConfig(
        model=TINY_MODEL,
        stages=(Stage(0.3, 64, 4, dense_only=True), Stage(1.0, 64, 4)),
        denoising=DenoisingConfig(queries=4),
        train_proposals=12,
        train_people=4,
        steps=20,
        threads=1,
        log_every=5,
        data=DataConfig(workers=0, augment=AugmentConfig(noise=0.0)),
    ),
}
"""Runs by name: `builtin` made the weights that come with the program, `tiny` is for tests."""


def named_config(name: str, changes: list[str]) -> TrainConfig:
    """A run by name with changes of the form `part.key=value`, values as JSON or bare words.

    Raises:
        ConfigError: unknown name or key, a value of the wrong kind, or a contradiction.
    """
    if name not in CONFIGS:
        raise ConfigError(f"there is no run named {name!r}, only {', '.join(sorted(CONFIGS))}")
    config = CONFIGS[name]
    for change in changes:
        key, separator, text = change.partition("=")
        if not separator:
            raise ConfigError(f"--set wants key=value, got {change!r}")
        config = _changed(config, key.split("."), key, _parse(text))
    return config


def _parse(text: str) -> Any:  # noqa: ANN401 - JSON values have no narrower type
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _changed(config: Any, path: list[str], key: str, value: Any) -> Any:  # noqa: ANN401
    """A copy of a frozen dataclass with one field, maybe of a part of it, set."""
    hints = get_type_hints(type(config))
    name, rest = path[0], path[1:]
    if name not in hints:
        raise ConfigError(f"unknown key {key!r}: {type(config).__name__} has no field {name!r}")
    if rest:
        part = getattr(config, name)
        if not dataclasses.is_dataclass(part):
            raise ConfigError(f"unknown key {key!r}: {name!r} has no parts")
        value = _changed(part, rest, key, value)
    else:
        value = _converted(hints[name], value, key)
    try:
        return dataclasses.replace(config, **{name: value})
    except ValueError as error:
        raise ConfigError(f"--set {key}: {error}") from error


def _converted(hint: Any, value: Any, key: str) -> Any:  # noqa: ANN401
    if isinstance(hint, types.UnionType):
        allowed = typing.get_args(hint)
    else:
        allowed = (hint,)
    for kind in allowed:
        if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if kind is tuple or typing.get_origin(kind) is tuple:
            if isinstance(value, list):
                return _tuple(kind, value, key)
            continue
        if isinstance(kind, type) and type(value) is kind:
            return value
    raise ConfigError(f"--set {key}: {value!r} is not of the kind this key wants")


def _tuple(kind: Any, values: list, key: str) -> tuple:  # noqa: ANN401
    entries = typing.get_args(kind)
    entry = entries[0] if entries else None
    if dataclasses.is_dataclass(entry):
        try:
            return tuple(entry(**value) for value in values)  # type: ignore[operator]
        except TypeError as error:
            raise ConfigError(f"--set {key}: {error}") from error
    return tuple(_converted(entry, value, key) if entry else value for value in values)
