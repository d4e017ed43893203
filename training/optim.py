"""AdamW, its parameter groups and its schedule (training specification, section 1)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

SLOW_NAMES = ("sampling_offsets",)


@dataclass(frozen=True)
class OptimConfig:
    """Learning rates and what bounds them."""

    learning_rate: float = 1e-3
    backbone_factor: float = 1.0
    """Of the learning rate, for parameters of the backbone."""
    offsets_factor: float = 0.1
    """Of the learning rate, for the sampling offsets of deformable attention."""
    weight_decay: float = 0.02
    warmup_steps: int = 60
    final_factor: float = 0.01
    """Of the learning rate, at the end of the cosine."""
    clip_norm: float = 5.0
    """Bound of the global gradient norm; 0.1 in the paper's fine-tuning."""


def parameter_groups(model: nn.Module, config: OptimConfig) -> list[dict]:
    """Three groups: backbone, sampling offsets, everything else; each with its factor."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        factor = 1.0
        if any(slow in name for slow in SLOW_NAMES):
            factor = config.offsets_factor
        elif "backbone" in name:
            factor = config.backbone_factor
        groups.setdefault(factor, []).append(parameter)
    return [
        {"params": parameters, "lr": config.learning_rate * factor, "factor": factor}
        for factor, parameters in groups.items()
    ]


def build_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW with default betas over `parameter_groups`."""
    return torch.optim.AdamW(
        parameter_groups(model, config),
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        foreach=True,
    )


def learning_rate_factor(step: int, progress: float, config: OptimConfig) -> float:
    """Warm-up by steps, then a cosine over the run.

    Args:
        step: steps done so far.
        progress: share of the whole run that is done, 0-1.
        config: schedule.
    """
    warmup = min(1.0, (step + 1) / max(config.warmup_steps, 1))
    cosine = 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))
    return warmup * (config.final_factor + (1 - config.final_factor) * cosine)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Give every group its factor times `learning_rate`."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["factor"]
