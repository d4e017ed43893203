"""Large products in bf16 on a GPU; geometry stays float32.

In bf16: the convolutions of a ResNet (rounding would move the people of the small MobileNetV2),
values and outputs of deformable attention, person attention, and feed-forward networks.
In float32: residual sums, norms, proposals and their selection, sampling locations and weights,
boxes and their refinement, all heads. A CUDA graph computes these float32 products in TF32, see
`cuda_graphs`.
The steps between the products are fused, see `bf16_layers` and `fused`.
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
from .bf16_layers import (
    Bf16DecoderLayer,
    Bf16DeformableAttention,
    Bf16EncoderLayers,
    Bf16ResNet,
)
from .person_attention import BlockwisePersonAttention


def convert_to_bf16(network: AiOS) -> None:
    """Convert a plain network for inference, in place.

    Args:
        network: with folded batch norm and without gradients.
    """
    if isinstance(network.backbone, ResNet):
        network.backbone = Bf16ResNet(network.backbone)
    for level in network.level_projections:
        assert isinstance(level, nn.Sequential)
        _convert(level, "0")
        level[1].register_forward_pre_hook(_inputs_to_float32)
    encoder = [layer for layer in network.encoder.layers if isinstance(layer, EncoderLayer)]
    decoder = [layer for layer in network.decoder.layers if isinstance(layer, DecoderLayer)]
    for layer in (*encoder, *decoder):
        _convert(layer, "linear1")
        _convert(layer, "linear2")
    for encoder_layer in encoder:
        encoder_layer.self_attn = _converted_attention(encoder_layer.self_attn)
    for decoder_layer in decoder:
        decoder_layer.cross_attn = _converted_attention(decoder_layer.cross_attn)
        attention = BlockwisePersonAttention(decoder_layer.self_attn)
        attention.to(torch.bfloat16).register_forward_pre_hook(_inputs_to_bf16)
        decoder_layer.self_attn = attention
    network.decoder.register_forward_pre_hook(_memory_to_bf16)
    network.encoder.layers = nn.ModuleList([Bf16EncoderLayers(encoder)])
    network.decoder.layers = nn.ModuleList(Bf16DecoderLayer(layer) for layer in decoder)


def _converted_attention(attention: DeformableAttention) -> Bf16DeformableAttention:
    _convert(attention, "value_proj")
    _convert(attention, "output_proj")
    return Bf16DeformableAttention(attention)


def _convert(parent: nn.Module, name: str) -> None:
    """Let submodule `name` take any float dtype and return bf16."""
    parent.get_submodule(name).to(torch.bfloat16).register_forward_pre_hook(_inputs_to_bf16)


def _inputs_to_bf16(_: nn.Module, inputs: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(_cast(x, torch.bfloat16) for x in inputs)


def _inputs_to_float32(_: nn.Module, inputs: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(_cast(x, torch.float32) for x in inputs)


def _memory_to_bf16(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Convert the image tokens once, not in every decoder layer."""
    encoded, *others = inputs
    return replace(encoded, memory=encoded.memory.to(torch.bfloat16)), *others


def _cast(value: object, dtype: torch.dtype) -> object:
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.to(dtype)
    return value
