"""Trainable batch norm for a backbone with random weights.

The network of `aios` has frozen batch norm, which needs a pre-trained backbone.  Here it is
replaced for training; the names of the tensors stay the same.
"""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor, nn

from aios.network.frozen_batch_norm import FrozenBatchNorm2d

_COUNTER = "num_batches_tracked"
BATCH_NORM_MOMENTUM = 0.05


def use_batch_norm(module: nn.Module, frozen: Collection[nn.Module] = ()) -> nn.Module:
    """Replace frozen batch norms in `module` by trainable ones, in place.

    Weights, biases and statistics are kept.  Tensor names stay the same, plus one counter per
    layer.  Norms in `frozen` or below stay frozen.
    """
    kept = {inner for outer in frozen for inner in outer.modules()}
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, FrozenBatchNorm2d) and child not in kept:
                norm = nn.BatchNorm2d(
                    child.running_mean.numel(), eps=child.eps, momentum=BATCH_NORM_MOMENTUM
                )
                norm.load_state_dict(child.state_dict(), strict=False)
                setattr(parent, name, norm)
    return module


def without_counters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """State dict under the names of the network with frozen batch norm."""
    return {name: value for name, value in state.items() if not name.endswith(_COUNTER)}
