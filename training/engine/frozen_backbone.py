"""A backbone without trainable weights, faster than its trainable form."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from aios.accelerate.fold_batch_norm import fold_batch_norm


class FrozenBackbone(nn.Module):
    """Runs a copy of a backbone whose batch norms are folded, without gradients.

    Tensor names and values in the state dict are those of the backbone.
    """

    def __init__(self, backbone: nn.Module) -> None:
        """Take over the parts of `backbone` and freeze them."""
        super().__init__()
        for name, part in backbone.named_children():
            self.add_module(name, part.requires_grad_(False))
        # In a tuple, the copy is no part of the state.
        self._original = (backbone,)
        self._folded: tuple[nn.Module, ...] = ()
        self._fold()
        self.register_load_state_dict_post_hook(lambda module, _keys: module._fold())

    def _fold(self) -> None:
        folded = copy.deepcopy(self._original[0])
        fold_batch_norm(folded)
        folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._folded = (folded,)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FrozenBackbone:
        super()._apply(fn, recurse)
        self._folded[0]._apply(fn, recurse)
        return self

    @torch.no_grad()
    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> feature maps."""
        return self._folded[0](images)


def is_frozen(module: nn.Module) -> bool:
    """Whether no parameter of `module` is trainable."""
    return not any(parameter.requires_grad for parameter in module.parameters())
