"""Real batch norm while training from nothing, frozen batch norm afterwards.

The network of `aios` has frozen batch norms, which suits a pre-trained backbone.  A backbone that
starts from random numbers needs statistics of its own; the names of the tensors stay the same.
"""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor, nn

from aios.network.frozen_batch_norm import FrozenBatchNorm2d

_COUNTER = "num_batches_tracked"
BATCH_NORM_MOMENTUM = 0.05


def use_batch_norm(module: nn.Module, but: Collection[nn.Module] = ()) -> nn.Module:
    """Replace every frozen batch norm below `module` by a learning one, in place.

    Weight, bias and statistics are taken over; tensor names stay, but for one counter a layer.
    Norms that are among `but` or below one of them stay frozen.
    """
    kept = {inner for outer in but for inner in outer.modules()}
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
    """The state dict as the frozen network names it."""
    return {name: value for name, value in state.items() if not name.endswith(_COUNTER)}
