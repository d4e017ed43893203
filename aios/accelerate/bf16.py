"""Large products in bf16 on a GPU; everything that has a place in space stays float32.

What lies between the products is fused (see `half_layers`); where the network is recorded as a CUDA
graph, the products of float32 numbers round what they multiply to 11 bits (see `graphs`).

In bf16: convolutions of a ResNet (rounding moves the people of a MobileNetV2, which is small),
values and outputs of deformable attention, attention among people, and feed-forwards.
In float32: what is summed up from layer to layer, norms, proposals and their
choice, places where attention looks and their weights, boxes and their refinement, all heads.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..network.decoder_layer import DecoderLayer
from ..network.deformable_attention import DeformableAttention
from ..network.encoder import EncoderLayer
from ..network.model import AiOS
from ..network.resnet import ResNet
from .bf16_layers import HalfAttention, HalfDecoderLayer, HalfEncoderLayers, HalfResNet
from .fused import HALF


def use_half(model: AiOS) -> None:
    """Change a network for inference, in place and for good.

    Args:
        model: with folded batch norm and without gradients.
    """
    if isinstance(model.backbone, ResNet):
        model.backbone = HalfResNet(model.backbone)
    for level in model.level_projections:
        assert isinstance(level, nn.Sequential)
        _halve(level, "0")
        level[1].register_forward_pre_hook(_in_full)
    encoder = [layer for layer in model.encoder.layers if isinstance(layer, EncoderLayer)]
    decoder = [layer for layer in model.decoder.layers if isinstance(layer, DecoderLayer)]
    for layer in (*encoder, *decoder):
        _halve(layer, "linear1")
        _halve(layer, "linear2")
    for of_image in encoder:
        of_image.self_attn = _halve_attention(of_image.self_attn)
    for of_people in decoder:
        of_people.cross_attn = _halve_attention(of_people.cross_attn)
        of_people.self_attn.to(HALF).register_forward_pre_hook(_halved)
    model.decoder.register_forward_pre_hook(_memory_halved)
    model.encoder.layers = nn.ModuleList([HalfEncoderLayers(encoder)])
    model.decoder.layers = nn.ModuleList(HalfDecoderLayer(layer) for layer in decoder)


def _halve_attention(attn: DeformableAttention) -> HalfAttention:
    _halve(attn, "value_proj")
    _halve(attn, "output_proj")
    return HalfAttention(attn)


def _halve(owner: nn.Module, name: str) -> None:
    """The layer `name` takes any kind of float and gives bf16."""
    owner.get_submodule(name).to(HALF).register_forward_pre_hook(_halved)


def _halved(_: nn.Module, given: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(_to(one, HALF) for one in given)


def _memory_halved(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
    """What the decoder is given; else each of its layers would halve the image's tokens again."""
    encoded, *others = given
    return replace(encoded, memory=encoded.memory.to(HALF)), *others


def _in_full(_: nn.Module, given: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(_to(one, torch.float32) for one in given)


def _to(given: object, kind: torch.dtype) -> object:
    return given.to(kind) if isinstance(given, Tensor) and given.is_floating_point() else given
