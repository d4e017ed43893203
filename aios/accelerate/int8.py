"""Large products in 8-bit integers, for CPUs that have instructions for them.

Scales of what stays 8-bit from one product to the next are measured once, on example pictures
(`int8_scale.Ranges`); all other products take the range of what they are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ..network.decoder_layer import DecoderLayer
from ..network.encoder import EncoderLayer
from ..network.model import AiOS
from ..network.preprocessing import batch_images, prepare_photo
from ..network.resnet import ResNet
from .int8_layers import Int8Linear, Int8Stage
from .int8_scale import Ranges

_TEST_TOLERANCE = 0.1
_FIRST_STAGE = 1
_EXAMPLE_SIDE = 320
"""Short side of example pictures, pixels: ranges depend little on it, the time much."""


def why_not() -> str | None:
    """What this machine lacks for 8-bit products, or None where they work, tried on a small one."""
    if not (torch.backends.mkldnn.is_available() and torch.cpu._is_vnni_supported()):
        return "this CPU has no 8-bit instructions (VNNI)"
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(8, 64, generator=generator) for _ in range(2))
    bias = torch.zeros(8)
    try:
        found = Int8Linear(weight, bias)(x)
    except (RuntimeError, AttributeError) as error:
        return f"8-bit products fail here ({str(error).splitlines()[0]})"
    wanted = F.linear(x, weight, bias)
    if bool((found - wanted).norm() > _TEST_TOLERANCE * wanted.norm()):
        return "8-bit products come out wrong on this CPU"
    return None


@torch.inference_mode()
def quantise(model: AiOS, pictures: Sequence[np.ndarray]) -> None:
    """Turn the large products of a network on the CPU to 8 bits, in place and for good.

    These are a ResNet from its second stage on (another backbone stays as it is) and the layers of
    encoder and decoder but for what their attention to the image gives out.  The rest would cost
    more accuracy than it saves time: rounding is felt most on the narrow maps of the first stage
    and next to the answers.

    Args:
        model: in evaluation mode, its batch norm folded.
        pictures: (H, W, 3) RGB uint8 examples with people; the more they differ the better.
    """
    backbone = model.backbone
    stages = backbone.stages()[_FIRST_STAGE:] if isinstance(backbone, ResNet) else []
    encoder = [layer for layer in model.encoder.layers if isinstance(layer, EncoderLayer)]
    decoder = [layer for layer in model.decoder.layers if isinstance(layer, DecoderLayer)]
    layers: list[EncoderLayer | DecoderLayer] = [*encoder, *decoder]
    watched: list[nn.Module] = [layer.linear2 for layer in layers]
    for stage in stages:
        watched += stage.children()
        watched += [module for module in stage.modules() if isinstance(module, nn.Conv2d)]
    image = model.config.image
    small = replace(image, short_side=min(image.short_side, _EXAMPLE_SIDE))
    ranges = Ranges(watched)
    for picture in pictures:
        model(batch_images([prepare_photo(picture, small)]))
    ranges.close()
    for number, stage in enumerate(stages, start=_FIRST_STAGE + 1):
        backbone.register_module(f"layer{number}", Int8Stage(stage, ranges))
    for layer in layers:
        hidden = ranges.into(layer.linear2)
        _replace(layer, "linear1", Int8Linear.of(layer.linear1, made=hidden))
        _replace(layer, "linear2", Int8Linear.of(layer.linear2, given=hidden))
        look = layer.self_attn if isinstance(layer, EncoderLayer) else layer.cross_attn
        look.joint = Int8Linear(*look.joint_weights())
    for block in encoder:
        _replace(block.self_attn, "value_proj", Int8Linear.of(block.self_attn.value_proj))
    for meet in (layer.self_attn for layer in decoder):
        for_query_key, for_value = (Int8Linear(*weights) for weights in meet.projections())
        meet.faster = for_query_key, for_value
        _replace(meet, "out_proj", Int8Linear.of(meet.out_proj))
    model.decoder.joint_values = Int8Linear(*model.decoder.joint_value_weights())


def _replace(parent: nn.Module, name: str, module: nn.Module) -> None:
    delattr(parent, name)
    parent.register_module(name, module)
