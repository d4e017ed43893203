"""Large products in bf16 on a GPU; everything that has a place in space stays float32.

In bf16: convolutions of a ResNet (rounding moves the people of a MobileNetV2, which is small),
values and outputs of deformable attention, attention among people, and feed-forwards.
In float32: what is summed up from layer to layer, norms, proposals and their
choice, places where attention looks and their weights, boxes and their refinement, all heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .decoder_layer import DecoderLayer
from .deformable_attention import DeformableAttention
from .encoder import EncoderLayer
from .model import AiOS
from .resnet import ResNet

HALF = torch.bfloat16


def use_half(model: AiOS) -> None:
    """Change a network for inference, in place and for good.

    Args:
        model: with folded batch norm and without gradients.
    """
    if isinstance(model.backbone, ResNet):
        model.backbone.to(HALF).register_forward_pre_hook(_halved)
    for level in model.level_projections:
        assert isinstance(level, nn.Sequential)
        _halve(level, "0")
        level[1].register_forward_pre_hook(_in_full)
    for module in list(model.modules()):
        if isinstance(module, EncoderLayer | DecoderLayer):
            _halve(module, "linear1")
            _halve(module, "linear2")
        elif isinstance(module, DeformableAttention):
            _halve(module, "value_proj")
            _halve(module, "output_proj")
    for layer in model.decoder.layers:
        assert isinstance(layer, DecoderLayer)
        layer.self_attn.to(HALF).register_forward_pre_hook(_halved)


def _halve(owner: nn.Module, name: str) -> None:
    """The layer `name` takes any kind of float and gives bf16."""
    owner.get_submodule(name).to(HALF).register_forward_pre_hook(_halved)


def _halved(_: nn.Module, given: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(_to(one, HALF) for one in given)


def _in_full(_: nn.Module, given: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(_to(one, torch.float32) for one in given)


def _to(given: object, kind: torch.dtype) -> object:
    return given.to(kind) if isinstance(given, Tensor) and given.is_floating_point() else given
