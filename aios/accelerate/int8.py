"""Large products in 8-bit integers, for CPUs with 8-bit instructions (VNNI).

Activations that stay 8-bit between two products use scales measured once on example photos
(`int8_scale.Ranges`); all other products use the range of their current input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..network.model import AiOS
from ..network.person_attention import PersonAttention
from ..network.preprocessing import batch_images, prepare_photo
from ..network.resnet import ResNet
from .cpu import CpuDecoder, CpuDecoderLayer, CpuEncoderLayer
from .int8_layers import Int8Linear, Int8Stage
from .int8_scale import Ranges
from .person_attention import BlockwisePersonAttention

_TEST_TOLERANCE = 0.1
_FIRST_STAGE = 1
_EXAMPLE_SIDE = 320
"""Short side of example photos in pixels: ranges depend little on it, time depends much on it."""


def why_unavailable() -> str | None:
    """Reason why this machine cannot compute 8-bit products, or None after a successful test."""
    # torch has no public test for VNNI.
    if not (torch.backends.mkldnn.is_available() and torch.cpu._is_vnni_supported()):
        return "this CPU has no 8-bit instructions (VNNI)"
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(8, 64, generator=generator) for _ in range(2))
    bias = torch.zeros(8)
    try:
        result = Int8Linear(weight, bias)(x)
    except (RuntimeError, AttributeError) as error:
        return f"8-bit products fail here ({str(error).splitlines()[0]})"
    expected = F.linear(x, weight, bias)
    if bool((result - expected).norm() > _TEST_TOLERANCE * expected.norm()):
        return "8-bit products are wrong on this CPU"
    return None


@torch.inference_mode()
def quantise(network: AiOS, photos: Sequence[np.ndarray]) -> None:
    """Convert the large products of a network on the CPU to 8 bits, in place.

    Converted are a ResNet from its second stage on (other backbones stay float) and the layers of
    encoder and decoder, except the output projections of deformable attention. The rest would cost
    more accuracy than it saves time: rounding matters most on the narrow maps of the first stage
    and next to the outputs.

    Args:
        network: in evaluation mode, with folded batch norm and `cpu.install_cpu` applied.
        photos: (H, W, 3) RGB uint8 examples with people; varied ones give better ranges.
    """
    backbone, decoder = network.backbone, network.decoder
    assert isinstance(decoder, CpuDecoder)
    stages = backbone.stages()[_FIRST_STAGE:] if isinstance(backbone, ResNet) else []
    encoder_layers = [m for m in network.encoder.layers if isinstance(m, CpuEncoderLayer)]
    decoder_layers = [m for m in decoder.layers if isinstance(m, CpuDecoderLayer)]
    layers: list[CpuEncoderLayer | CpuDecoderLayer] = [*encoder_layers, *decoder_layers]
    watched: list[nn.Module] = [layer.linear2 for layer in layers]
    for stage in stages:
        watched += stage.children()
        watched += [module for module in stage.modules() if isinstance(module, nn.Conv2d)]
    ranges = _measure(network, watched, photos)
    for number, stage in enumerate(stages, start=_FIRST_STAGE + 1):
        backbone.register_module(f"layer{number}", Int8Stage(stage, ranges))
    for layer in layers:
        hidden = ranges.into(layer.linear2)
        _replace(layer, "linear1", Int8Linear.of(layer.linear1, output_scale=hidden))
        _replace(layer, "linear2", Int8Linear.of(layer.linear2, input_scale=hidden))
        _quantise_linear(layer.attention, "projection")
    for encoder_layer in encoder_layers:
        _quantise_linear(encoder_layer, "value_proj")
    for decoder_layer in decoder_layers:
        decoder_layer.self_attn = Int8PersonAttention(decoder_layer.self_attn)
    _quantise_linear(decoder, "value_proj")


class Int8PersonAttention(BlockwisePersonAttention):
    """Person attention whose projections are 8-bit products."""

    def __init__(self, attention: PersonAttention) -> None:
        """Convert `attention`; its float parameters stay readable."""
        super().__init__(attention)
        width = attention.in_proj_weight.shape[1]
        weights = attention.in_proj_weight.split([2 * width, width])
        biases = attention.in_proj_bias.split([2 * width, width])
        self.query_key = Int8Linear(weights[0], biases[0])
        self.value = Int8Linear(weights[1], biases[1])
        _quantise_linear(self, "out_proj")

    def project(self, tokens: Tensor, position: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As the float form."""
        query_key, values = self.query_key(tokens + position), self.value(tokens)
        query, key, value = (
            x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for x in (*query_key.chunk(2, -1), values)
        )
        return query, key, value


def _measure(network: AiOS, modules: Sequence[nn.Module], photos: Sequence[np.ndarray]) -> Ranges:
    """Ranges of the inputs and outputs of `modules` over all photos."""
    image = network.config.image
    small = replace(image, short_side=min(image.short_side, _EXAMPLE_SIDE))
    ranges = Ranges(modules)
    for photo in photos:
        network(batch_images([prepare_photo(photo, small)]))
    ranges.close()
    return ranges


def _quantise_linear(parent: nn.Module, name: str) -> None:
    linear = parent.get_submodule(name)
    assert isinstance(linear, nn.Linear)
    _replace(parent, name, Int8Linear.of(linear))


def _replace(parent: nn.Module, name: str, module: nn.Module) -> None:
    delattr(parent, name)
    parent.register_module(name, module)
