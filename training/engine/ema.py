"""Exponential moving average (EMA) of the network's weights and buffers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def build_average(model: nn.Module, decay: float) -> AveragedModel:
    """Average that starts at the present weights of `model`, in evaluation mode.

    The decay rises to `decay` as (1 + n) / (10 + n) with the number n of updates, which makes the
    average forget its start.  `average.module` is the averaged network: what is evaluated, shown
    and exported.

    Args:
        model: network on its device, pre-trained weights loaded.
        decay: 0-1.
    """

    @torch.no_grad()
    def update(averaged: Sequence[Tensor], present: Sequence[Tensor], count: Tensor | int) -> None:
        if not averaged[0].is_floating_point():
            torch._foreach_copy_(averaged, present)
            return
        updates = int(count)
        factor = min(decay, (1 + updates) / (10 + updates))
        torch._foreach_lerp_(averaged, present, 1 - factor)

    average = AveragedModel(model, multi_avg_fn=update, use_buffers=True)
    # At 0 the first update would replace the start instead of averaging with it.
    average.n_averaged.fill_(1)
    return average.eval()
