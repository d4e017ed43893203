"""Named training runs; each lists only its differences from the defaults of `TrainConfig`.

Variants of the paper follow the name: "paper_phase1+naive+attention_full".
"""

from __future__ import annotations

import json
import math
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

from .data.augment import AugmentConfig, Framing
from .data.instance_crop import InstanceCrop
from .data.mixture import DataConfig
from .data.photo_mix import MIXTURES, PhotoConfig
from .engine.optim import OptimConfig
from .engine.train_config import TrainConfig, TrainStage
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


def _paper_config(recipe: str, phase: int, optim: OptimConfig, epochs: int) -> TrainConfig:
    """A run of the paper's network; `recipe` is "paper" or "released"."""
    return TrainConfig(
        model=AiOSConfig(),
        stages=(TrainStage(until=1.0, side=800, batch_size=2),),
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
        train_batch_norm=False,
        frozen_stages=0,
        initial_prediction="neutral",
        ema_decay=0.9997,
        effective_batch=_EFFECTIVE_BATCH,
        epochs=epochs,
        checkpoint_minutes=15.0,
        preview_every=2000,
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


_SHARES = (0.35, 3.0)
"""From whole figures to faces that fill the image."""
_BUILTIN_OPTIM = OptimConfig(learning_rate=8e-4, backbone_factor=2.0, relative_backbone=True)
_BUILTIN = TrainConfig(
    stages=(
        TrainStage(until=0.12, side=192, batch_size=16, dense_only=True, person_share=_SHARES),
        TrainStage(until=0.5, side=192, batch_size=16, person_share=_SHARES),
        TrainStage(until=1.0, side=256, batch_size=12, scale_3d=1.5, person_share=_SHARES),
    ),
    data=DataConfig(
        real_share=0.55,
        collage_share=0.2,
        augment=AugmentConfig(framing=Framing(kept_area=0.12)),
    ),
    denoising=DenoisingConfig(queries=0),
    optim=_BUILTIN_OPTIM,
    train_proposals=64,
    train_people=12,
    train_batch_norm=False,
    frozen_stages=3,
    keep_keypoint_maps=True,
    ema_decay=0.995,
)
_SIZES = (
    TrainStage(until=1.0, side=256, batch_size=12, scale_3d=1.5, person_share=_SHARES),
    TrainStage(until=1.0, side=320, batch_size=8, scale_3d=1.5, person_share=(0.15, 3.0)),
)
_ALTERNATING = tuple(
    replace(_SIZES[index % 2], until=round((index + 1) / 24, 4)) for index in range(24)
)
"""Two image sizes in short turns: in long ones, each is forgotten while the other is trained."""

CONFIGS: dict[str, TrainConfig] = {
    "builtin": _BUILTIN,
    "builtin_continue": replace(
        _BUILTIN,
        stages=_ALTERNATING,
        data=replace(_BUILTIN.data, real_share=0.45),
        optim=replace(_BUILTIN_OPTIM, learning_rate=3.5e-4, backbone_factor=3.0),
        train_people=16,
        ema_decay=0.998,
    ),
    "builtin_gpu": replace(
        _BUILTIN,
        stages=(
            TrainStage(until=0.1, side=192, batch_size=640, dense_only=True, person_share=_SHARES),
            TrainStage(until=0.4, side=192, batch_size=640, person_share=_SHARES),
            TrainStage(until=1.0, side=256, batch_size=640, scale_3d=1.5, person_share=_SHARES),
        ),
        data=replace(_BUILTIN.data, workers=12, drawn_on_device=True, windows=4),
        optim=replace(_BUILTIN_OPTIM, learning_rate=1e-3, warmup_steps=30),
        precision="bf16",
        minutes=24.0,
        checkpoint_minutes=1.0,
        preview_every=0,
        threads=2,
    ),
    "tiny": TrainConfig(
        model=TINY_MODEL,
        stages=(TrainStage(0.3, 64, 4, dense_only=True), TrainStage(1.0, 64, 4)),
        denoising=DenoisingConfig(queries=4),
        train_proposals=12,
        train_people=4,
        initial_prediction="neutral",
        steps=20,
        log_every=5,
        preview_every=0,
        data=DataConfig(workers=0, augment=AugmentConfig(noise=0.0)),
    ),
    "overfit": TrainConfig(
        stages=(TrainStage(0.15, 160, dense_only=True), TrainStage(1.0, 160, scale_3d=3.0)),
        ema_decay=0.99,
        steps=800,
        preview_every=0,
        data=DataConfig(workers=0),
    ),
    "paper_phase1": _paper_config("paper", 1, _step_schedule(1e-4, 50), 60),
    "paper_phase2": _paper_config("paper", 2, _step_schedule(1e-5, 25), 50),
    "released_phase1": _paper_config("released", 1, _step_schedule(1e-4, 30, 60), 60),
    "released_phase2": _paper_config("released", 2, _step_schedule(1.414e-5, 30, 60), 50),
}
CONFIGS["synthetic"] = replace(
    CONFIGS["released_phase1"],
    photos=PhotoConfig(sets=MIXTURES["synthetic"]),
)
CONFIGS["synthetic_small"] = replace(
    CONFIGS["synthetic"],
    model=BUILTIN_CONFIG,
    stages=(TrainStage(until=1.0, side=320, batch_size=8),),
    photos=PhotoConfig(
        sets=MIXTURES["synthetic"],
        crop=InstanceCrop(short_sides=(192, 224, 256, 288, 320), long_side=448),
    ),
    optim=replace(_step_schedule(2e-4, 50), backbone_factor=1.0),
    loss_weights=replace(LOSS_WEIGHTS["released"], map_heat=1.0, map_offset=0.3),
    train_batch_norm=True,
    frozen_stages=None,
    initial_prediction="mean_person",
)
"""By name.

builtin: recipe of the weights that come with the program.
builtin_continue: from trained weights on, at two image sizes in turn; for `start`.
builtin_gpu: the same recipe on a GPU, which renders its own scenes.
tiny: seconds, for tests.
overfit: memorises eight images, see `training.tools.overfit`.
paper_phase1, paper_phase2: the paper's two phases with the numbers of its text.
released_phase1, released_phase2: the same with the numbers of the released program.
synthetic: released_phase1 on synthetic people.
synthetic_small: the same with the network of the built-in weights, from random weights.
"""

VARIANTS: dict[str, dict[str, Any]] = {
    "naive": {"point_tokens": False},
    "attention_full": {"self_attention": "full"},
    "attention_inter_human": {"self_attention": "inter_human"},
    "smplx_all_stages": {"smplx_stages": STAGES},
    "smplx_third_stage": {"smplx_stages": STAGES[2:]},
}
"""Variants of the paper's ablations -> changed fields of the network's config."""


def named_config(name: str, changes: list[str]) -> TrainConfig:
    """Look up a run and change some of its fields.

    Args:
        name: key of `CONFIGS`, then keys of `VARIANTS`, joined by "+".
        changes: `part.key=value` each; values are JSON or bare words.

    Raises:
        ConfigError: unknown name or key, wrong type of a value, or a contradiction.
    """
    base, *variants = name.split("+")
    if base not in CONFIGS:
        raise ConfigError(f"unknown run {base!r}: choose from {', '.join(sorted(CONFIGS))}")
    config = CONFIGS[base]
    for variant in variants:
        if variant not in VARIANTS:
            known = ", ".join(sorted(VARIANTS))
            raise ConfigError(f"unknown variant {variant!r}: choose from {known}")
        config = replace(config, model=replace(config.model, **VARIANTS[variant]))
    values = {}
    for change in changes:
        key, separator, text = change.partition("=")
        if not separator:
            raise ConfigError(f"--set needs key=value, got {change!r}")
        values[key] = _parse(text)
        if not _is_finite(values[key]):
            raise ConfigError(f"{key} must be a finite number, not {text}")
    return with_overrides(config, values)


def _is_finite(value: Any) -> bool:  # noqa: ANN401 - JSON values have no narrower type
    """Whether a JSON value has neither NaN nor infinity, which Python's JSON reader accepts."""
    if isinstance(value, list):
        return all(map(_is_finite, value))
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    return not isinstance(value, float) or math.isfinite(value)


def _parse(text: str) -> Any:  # noqa: ANN401 - JSON values have no narrower type
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
