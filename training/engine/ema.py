"""Exponential moving average of the weights, buffers included."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Average of everything in a module's state dict; the first steps weigh more.

    It starts after pre-trained weights are loaded, and it is what evaluation and export use.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        """Start from the present weights of `module`."""
        self.decay = decay
        self.updates = 0
        self.state = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the present weights.

        The decay rises to its value as (1 + n) / (10 + n), so that the random start is forgotten.
        """
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        average, present = [], []
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                average.append(self.state[name])
                present.append(value.detach())
            else:
                self.state[name].copy_(value)
        torch._foreach_lerp_(average, present, 1 - decay)

    @contextmanager
    def in_place_of(self, module: nn.Module) -> Iterator[None]:
        """Inside, `module` has the averaged weights and is in evaluation mode."""
        present = {name: value.detach().clone() for name, value in module.state_dict().items()}
        training = module.training
        module.load_state_dict(self.state)
        module.eval()
        try:
            yield
        finally:
            module.load_state_dict(present)
            module.train(training)

    def state_dict(self) -> dict[str, int | dict[str, Tensor]]:
        """What a checkpoint needs."""
        return {"updates": self.updates, "state": self.state}

    def load_state_dict(self, state: dict) -> None:
        """Continue from a checkpoint."""
        self.updates = state["updates"]
        for name, value in self.state.items():
            value.copy_(state["state"][name])
