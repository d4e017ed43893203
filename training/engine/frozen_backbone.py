"""Backbones without or with few trainable weights, faster than their trainable form."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from aios.accelerate.fold_batch_norm import fold_batch_norm
from aios.network.mobilenet import MobileNetV2
from aios.network.outputs import KeypointMaps


class _WithFoldedCopy(nn.Module):
    """Has the tensors of a backbone under their names, and a copy with folded batch norms."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        for name, part in backbone.named_children():
            self.add_module(name, part)
        # In a tuple, they are no part of the state.
        self._original = (backbone,)
        self._folded: tuple[nn.Module, ...] = ()
        self._fold()
        self.register_load_state_dict_post_hook(lambda module, _keys: module._fold())

    def _fold(self) -> None:
        folded = copy.deepcopy(self._original[0]).requires_grad_(False)
        fold_batch_norm(folded)
        folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._folded = (folded,)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> _WithFoldedCopy:
        super()._apply(fn, recurse)
        self._folded[0]._apply(fn, recurse)
        return self


class FrozenBackbone(_WithFoldedCopy):
    """Runs the folded copy, without gradients."""

    def __init__(self, backbone: nn.Module) -> None:
        """Take over the parts of `backbone` and freeze them."""
        super().__init__(backbone.requires_grad_(False))

    @torch.no_grad()
    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> feature maps."""
        return self._folded[0](images)

    @torch.no_grad()
    def keypoint_maps(self, images: Tensor, known: Sequence[Tensor]) -> KeypointMaps:
        """Maps of a MobileNetV2 with keypoint heads; `known` as in `MobileNetV2.forward`."""
        folded = self._folded[0]
        assert isinstance(folded, MobileNetV2) and folded.keypoints is not None
        return folded.keypoints(folded(images, known)[0])


class PartlyFrozenBackbone(_WithFoldedCopy):
    """MobileNetV2 whose stem and first stages run folded, without gradients.

    Attributes:
        known: outputs of these stages for the last images.
    """

    def __init__(self, backbone: MobileNetV2, stages: int) -> None:
        """Take over the parts of `backbone` and freeze the stem and the first `stages` stages."""
        for layer in backbone.first_layers(stages):
            layer.requires_grad_(False)
        backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        super().__init__(backbone)
        self._stages = stages
        self.known: list[Tensor] = []

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> feature maps."""
        folded = self._folded[0]
        assert isinstance(folded, MobileNetV2)
        with torch.no_grad():
            self.known = folded.stage_outputs(images, (), self._stages)
        return self._original[0](images, self.known)


def is_frozen(module: nn.Module) -> bool:
    """Whether no parameter of `module` is trainable."""
    return not any(parameter.requires_grad for parameter in module.parameters())
