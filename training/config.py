"""Runs by name; each lists only what differs from `TrainConfig`.

A name may be followed by variants of the paper: "paper_phase1+naive+attention_full".
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from aios.network.config import (
    BUILTIN_CONFIG,
    STAGES,
    AiOSConfig,
    BackboneConfig,
    ConfigError,
    ImageConfig,
)
from aios.network.config_dict import with_overrides

from .data.augment import AugmentConfig
from .data.instance_crop import InstanceCrop
from .data.mixture import DataConfig
from .data.photo_mix import MIXTURES, PhotoConfig
from .engine.optim import OptimConfig
from .engine.recipe import Stage, TrainConfig
from .losses.denoising import DENOISING, DenoisingConfig
from .losses.loss_weights import LOSS_RULES, LOSS_WEIGHTS
from .losses.matcher import MATCHING

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

_EFFECTIVE_BATCH = 32


def _of_the_paper(recipe: str, phase: int, optim: OptimConfig, epochs: int) -> TrainConfig:
    """The network of the paper; `recipe` is "paper" or "released"."""
    return TrainConfig(
        model=AiOSConfig(),
        stages=(Stage(until=1.0, side=800, batch_size=2),),
        data=DataConfig(workers=4),
        photos=PhotoConfig(sets=MIXTURES[f"{recipe}-{phase}"]),
        optim=optim,
        loss_weights=LOSS_WEIGHTS[recipe],
        loss_rules=LOSS_RULES[recipe],
        matching=MATCHING[recipe],
        denoising=DENOISING[recipe],
        train_proposals=None,
        train_people=None,
        dense_tokens=0,
        learn_batch_norm=False,
        frozen_stages=0,
        first_guess="neutral",
        ema_decay=0.9997,
        effective_batch=_EFFECTIVE_BATCH,
        epochs=epochs,
        checkpoint_minutes=15.0,
        pictures_every=2000,
    )


def _step_schedule(learning_rate: float, *drops: int) -> OptimConfig:
    return OptimConfig(
        learning_rate=learning_rate,
        backbone_factor=0.1,
        offsets_factor=1.0,
        weight_decay=1e-4,
        warmup_steps=0,
        schedule="steps",
        drop_epochs=drops,
        clip_norm=0.1,
    )


CONFIGS: dict[str, TrainConfig] = {
    "builtin": TrainConfig(frozen_stages=2),
    "builtin_gpu": TrainConfig(
        stages=(
            Stage(until=0.2, side=160, batch_size=640, dense_only=True, person_share=(0.65, 1.2)),
            Stage(until=0.4, side=192, batch_size=640, person_share=(0.45, 1.15)),
            Stage(until=1.0, side=256, batch_size=640, scale_3d=1.5),
        ),
        data=DataConfig(workers=12, drawn_on_device=True, windows=4),
        denoising=DenoisingConfig(queries=0),
        optim=OptimConfig(warmup_steps=30),
        frozen_stages=2,
        ema_decay=0.99,
        precision="bf16",
        minutes=24.0,
        checkpoint_minutes=1.0,
        pictures_every=0,
        threads=2,
    ),
    "tiny": TrainConfig(
        model=TINY_MODEL,
        stages=(Stage(0.3, 64, 4, dense_only=True), Stage(1.0, 64, 4)),
        denoising=DenoisingConfig(queries=4),
        train_proposals=12,
        train_people=4,
        first_guess="neutral",
        steps=20,
        log_every=5,
        pictures_every=0,
        data=DataConfig(workers=0, augment=AugmentConfig(noise=0.0)),
    ),
    "overfit": TrainConfig(
        stages=(Stage(0.15, 160, dense_only=True), Stage(1.0, 160, scale_3d=3.0)),
        ema_decay=0.99,
        steps=800,
        pictures_every=0,
        data=DataConfig(workers=0),
    ),
    "paper_phase1": _of_the_paper("paper", 1, _step_schedule(1e-4, 50), 60),
    "paper_phase2": _of_the_paper("paper", 2, _step_schedule(1e-5, 25), 50),
    "released_phase1": _of_the_paper("released", 1, _step_schedule(1e-4, 30, 60), 60),
    "released_phase2": _of_the_paper("released", 2, _step_schedule(1.414e-5, 30, 60), 50),
}
CONFIGS["synthetic"] = replace(
    CONFIGS["released_phase1"],
    photos=PhotoConfig(sets=MIXTURES["synthetic"]),
)
CONFIGS["synthetic_small"] = replace(
    CONFIGS["synthetic"],
    model=BUILTIN_CONFIG,
    stages=(Stage(until=1.0, side=320, batch_size=8),),
    photos=PhotoConfig(
        sets=MIXTURES["synthetic"],
        crop=InstanceCrop(short_sides=(192, 224, 256, 288, 320), long_side=448),
    ),
    optim=replace(_step_schedule(2e-4, 50), backbone_factor=1.0),
    learn_batch_norm=True,
    frozen_stages=None,
    first_guess="mean_person",
)
"""By name: `builtin` made the weights that come with the program; `builtin_gpu` is its recipe for a
GPU, which draws its scenes itself; `tiny` is for tests; `overfit`
learns eight pictures by heart (see the file of that name).  The next four are the two phases of
the paper with the numbers of its text or of the released program.  `synthetic` is the released
program's first phase on synthetic people, for those who have no data set; `synthetic_small` is
the same with the network of the built-in weights, from nothing."""

VARIANTS: dict[str, dict[str, Any]] = {
    "naive": {"point_tokens": False},
    "attention_full": {"self_attention": "full"},
    "attention_inter_human": {"self_attention": "inter_human"},
    "smplx_all_stages": {"smplx_stages": STAGES},
    "smplx_third_stage": {"smplx_stages": STAGES[2:]},
}
"""Variants of the paper: what they change in the network.  Without one it is AiOS, which has its
own attention and SMPL-X in the second and third stage."""


def named_config(name: str, changes: list[str]) -> TrainConfig:
    """A run by name with changes of the form `part.key=value`, values as JSON or bare words.

    Raises:
        ConfigError: unknown name or key, a value of the wrong kind, or a contradiction.
    """
    base, *variants = name.split("+")
    if base not in CONFIGS:
        raise ConfigError(f"there is no run named {base!r}, only {', '.join(sorted(CONFIGS))}")
    config = CONFIGS[base]
    for variant in variants:
        if variant not in VARIANTS:
            known = ", ".join(sorted(VARIANTS))
            raise ConfigError(f"there is no variant named {variant!r}, only {known}")
        config = replace(config, model=replace(config.model, **VARIANTS[variant]))
    values = {}
    for change in changes:
        key, separator, text = change.partition("=")
        if not separator:
            raise ConfigError(f"--set wants key=value, got {change!r}")
        values[key] = _parse(text)
    return with_overrides(config, values)


def _parse(text: str) -> Any:  # noqa: ANN401 - JSON values have no narrower type
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
