"""Install the fast paths of a machine over a loaded network.

`accelerate` prepares a network for inference, `accelerate_training` for training.

Speed "exact" keeps float32 arithmetic. Speed "fast" computes the large products in 8 bits on a CPU
(`int8`; vertices move by 1 to 2 mm) and in bf16 on a CUDA device (`bf16`; vertices move by less).
If "fast" is not available or would be slower, "exact" is used and one log line states the reason.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import nn

from ..network.decoder_layer import DecoderLayer
from ..network.encoder import EncoderLayer
from ..network.keypoint_maps import move_to_peaks
from ..network.model import AiOS
from ..network.outputs import AiOSOutput, PrefixQueries
from ..network.preprocessing import ImageBatch
from .bf16 import convert_to_bf16
from .cpu import CpuDecoder, install_cpu
from .fold_batch_norm import fold_batch_norm
from .kernel_attention import KernelDeformableAttention
from .person_attention import BlockwisePersonAttention
from .tf32 import tf32

Speed = Literal["exact", "fast"]
SPEEDS: tuple[Speed, ...] = ("exact", "fast")
Photos = Callable[[], Sequence[np.ndarray]]
"""Reads RGB uint8 photos (H, W, 3)."""

_MIN_INT8_WIDTH = 128
"""Narrower networks lose more time to conversions than 8-bit products save: the built-in network,
96 wide, takes 1.6 times as long with them."""

_log = logging.getLogger(__name__)


class AcceleratedAiOS(AiOS):
    """A network with fast paths, for inference.

    Attributes:
        device: the device that it runs on.
        speed: "exact" or "fast", the one in use.
    """

    def __init__(self, network: AiOS, device: torch.device, speed: Speed) -> None:
        """Take over the parts of `network`, in which the fast paths are installed."""
        nn.Module.__init__(self)
        self.config, self.device, self.speed = network.config, device, speed
        for name, part in network.named_children():
            self.add_module(name, part)

    def forward(
        self,
        images: ImageBatch,
        prefix: PrefixQueries | None = None,
        *,
        aux_outputs: bool = False,
        keep_attention: bool = False,
        min_score: float = 0.0,
    ) -> AiOSOutput:
        """As the plain network, with one more argument.

        Args:
            images: as in the plain network.
            prefix: as in the plain network.
            aux_outputs: as in the plain network.
            keep_attention: as in the plain network.
            min_score: 0-1. All outputs but the class logits of people with a lower score may be
                0; a CPU saves the time to compute them.
        """
        shortcut = {"min_score": min_score} if isinstance(self.decoder, CpuDecoder) else {}
        # cuDNN uses TF32 in float32 convolutions by default.
        exact = tf32(convolutions=False) if self.device.type == "cuda" else contextlib.nullcontext()
        with exact:
            encoded = self.encode(images)
            proposals, content = self.proposals(encoded)
            result = self.decoder(
                encoded,
                content,
                proposals.boxes,
                prefix,
                aux_outputs=aux_outputs,
                keep_attention=keep_attention,
                **shortcut,
            )
        return AiOSOutput(
            final=move_to_peaks(result.outputs[-1], encoded),
            proposals=proposals,
            selected_queries=result.selected_queries,
            encoded=encoded,
            aux_outputs=result.outputs[:-1],
            attention=result.attention,
        )


def accelerate(
    network: AiOS, device: torch.device, speed: Speed, calibration_photos: Photos
) -> AcceleratedAiOS:
    """Prepare a loaded network for inference on a device.

    The network is used up: its modules are changed and moved.

    Args:
        network: plain, with its weights, on the CPU.
        device: where it will run.
        speed: the requested speed.
        calibration_photos: photos with people, read if the ranges of 8-bit numbers are needed.

    Raises:
        ValueError: unknown speed.
    """
    if speed not in SPEEDS:
        raise ValueError(f"There is no speed {speed!r}: choose exact or fast.")
    network.eval().requires_grad_(False)
    fold_batch_norm(network.backbone)
    if device.type == "cpu" or (device.type == "cuda" and speed == "fast"):
        # Saves a tenth of the time of a photo on a CPU.
        network.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if device.type == "cpu":
        install_cpu(network)
    elif device.type == "cuda" and speed == "fast":
        convert_to_bf16(network)
    else:
        install_kernels(network)
    if speed == "fast" and device.type != "cuda":
        reason = _quantise(network, device, calibration_photos)
        if reason is not None:
            _log.warning("Running exact instead of fast: %s.", reason)
            speed = "exact"
    return AcceleratedAiOS(network.to(device), device, speed).eval()


def accelerate_training(network: AiOS) -> None:
    """Install the differentiable fast paths, in place; parameters and their names stay.

    These are blockwise person attention and, on CUDA devices, the kernel of deformable attention.
    """
    install_kernels(network)


def install_kernels(network: AiOS) -> None:
    """Replace person attention and deformable attention of a plain network, in place."""
    for layer in network.encoder.layers:
        assert isinstance(layer, EncoderLayer)
        layer.self_attn = KernelDeformableAttention(layer.self_attn)
    for layer in network.decoder.layers:
        assert isinstance(layer, DecoderLayer)
        layer.self_attn = BlockwisePersonAttention(layer.self_attn)
        layer.cross_attn = KernelDeformableAttention(layer.cross_attn)


def _quantise(network: AiOS, device: torch.device, photos: Photos) -> str | None:
    """Convert to 8 bits, or return the reason why not."""
    if device.type != "cpu":
        return f"8-bit products are for CPUs, this is {device}"
    if network.config.hidden_dim < _MIN_INT8_WIDTH:
        return "this network is so small that exact is faster"
    # Imported here: packing weights needs a part of torch that takes a moment to load.
    from .int8 import quantise, why_unavailable

    reason = why_unavailable()
    if reason is not None:
        return reason
    examples = photos()
    if not examples:
        return "there are no example photos to measure ranges on"
    quantise(network, examples)
    return None
