"""AdamW, its parameter groups and learning-rate schedules."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from aios.network.config import ConfigError

SLOW_NAMES = ("sampling_offsets",)
_MIN_SCALE = 1e-3
"""Least root mean square of a tensor with `OptimConfig.relative_backbone`; biases can be zero."""


@dataclass(frozen=True)
class OptimConfig:
    """Optimizer and learning-rate schedule."""

    learning_rate: float = 1e-3
    backbone_factor: float = 1.0
    """Factor on the learning rate of the backbone."""
    relative_backbone: bool = False
    """Make the steps of each tensor of the backbone relative to its root mean square at the start,
    as in Adafactor (Shazeer and Stern, 2018). For backbones like MoveNet, whose tensors differ by a
    factor of thousands: a step that suits most of them destroys the smallest."""
    offsets_factor: float = 0.1
    """Factor on the learning rate of the sampling offsets of deformable attention."""
    weight_decay: float = 0.02
    warmup_steps: int = 60
    schedule: Literal["cosine", "steps"] = "cosine"
    """Cosine to `final_factor` over the run, or times `drop_factor` after each of `drop_epochs`."""
    final_factor: float = 0.01
    drop_epochs: tuple[int, ...] = ()
    drop_factor: float = 0.1
    clip_norm: float = 5.0
    """Upper bound of the global gradient norm."""

    def __post_init__(self) -> None:
        """Check the values."""
        if min(self.learning_rate, self.clip_norm) <= 0:
            raise ConfigError("learning_rate and clip_norm must be above 0")
        if min(self.weight_decay, self.warmup_steps, self.backbone_factor, self.final_factor) < 0:
            raise ConfigError(
                "weight_decay, warmup_steps, backbone_factor and final_factor must not be negative"
            )
        if self.drop_epochs and self.schedule != "steps":
            raise ConfigError("drop_epochs need schedule=steps")


@dataclass(frozen=True)
class Position:
    """Position of the optimizer in its run."""

    step: int
    """Finished steps."""
    progress: float
    """Finished share of the run, 0-1."""
    epoch: int
    """Finished epochs."""


def parameter_groups(model: nn.Module, config: OptimConfig) -> list[dict]:
    """Groups by factor on the learning rate: backbone, sampling offsets, everything else.

    `scale` is the unit in which `clip_gradients` measures the parameters of a group.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    scaled: list[dict] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        factor = 1.0
        if any(slow in name for slow in SLOW_NAMES):
            factor = config.offsets_factor
        elif "backbone" in name:
            factor = config.backbone_factor
            if config.relative_backbone:
                scale = max(float(parameter.detach().square().mean().sqrt()), _MIN_SCALE)
                scaled.append({"params": [parameter], "factor": factor * scale, "scale": scale})
                continue
        groups.setdefault(factor, []).append(parameter)
    plain: list[dict] = [
        {"params": p, "factor": factor, "scale": 1.0} for factor, p in groups.items()
    ]
    return [group | {"lr": config.learning_rate * group["factor"]} for group in (*plain, *scaled)]


def build_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW with default betas over `parameter_groups`; fused on a GPU."""
    on_gpu = next(model.parameters()).device.type == "cuda"
    return torch.optim.AdamW(
        parameter_groups(model, config),
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        foreach=not on_gpu,
        fused=on_gpu,
    )


def clip_gradients(optimizer: torch.optim.Optimizer, max_norm: float) -> Tensor:
    """Scale all gradients down to a global norm of `max_norm`, and return the norm before.

    The norm is that of the gradients by the parameters in units of their group's `scale`.
    """
    norms = []
    for group in optimizer.param_groups:
        gradients = [p.grad for p in group["params"] if p.grad is not None]
        if gradients:
            norms.append(group["scale"] * nn.utils.get_total_norm(gradients))
    norm = torch.stack(norms).norm()
    every = [p for group in optimizer.param_groups for p in group["params"]]
    nn.utils.clip_grads_with_norm_(every, max_norm, norm)
    return norm


def learning_rate_factor(position: Position, config: OptimConfig) -> float:
    """Linear warm-up over steps, times the schedule."""
    warmup = min(1.0, (position.step + 1) / max(config.warmup_steps, 1))
    if config.schedule == "steps":
        drops = sum(position.epoch >= epoch for epoch in config.drop_epochs)
        return warmup * config.drop_factor**drops
    cosine = 0.5 * (1 + math.cos(math.pi * min(max(position.progress, 0.0), 1.0)))
    return warmup * (config.final_factor + (1 - config.final_factor) * cosine)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the learning rate of every group to its factor times `learning_rate`."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["factor"]
