"""How a network is run: exact, or as fast as this machine allows with little harm.

`exact` is the network's float32 arithmetic.  `fast` on a CPU computes the large products in 8 bits
(see `int8`), which moves vertices by a millimetre or two; on a CUDA device it computes them in bf16
(see `half`), which moves them by less, and starts the network as one CUDA graph (see `graphs`).
Where `fast` cannot be had or would be slower, `exact` is used and one line of the log says why.
"""

from __future__ import annotations

import logging
from typing import Literal

import torch

from ..media.photo import read_photo
from ..network.model import AiOS
from ..resources import EXAMPLES
from .bf16 import use_half

Speed = Literal["exact", "fast"]
SPEEDS: tuple[Speed, ...] = ("exact", "fast")
"""Photos from which the ranges of 8-bit numbers are learned."""
_LEAST_WIDTH = 128
"""Below it, 8-bit products lose more time on conversions than they save: the built-in network, 96
wide, took 1.6 times as long with them."""

_log = logging.getLogger(__name__)


def make_ready(model: AiOS, device: torch.device, speed: Speed) -> Speed:
    """Prepare a network for inference on a device, in place and for good.

    Args:
        model: with its weights, on the CPU.
        device: where it is to run.
        speed: what is wished for.

    Returns:
        What it came to.

    Raises:
        ValueError: there is no such speed.
    """
    if speed not in SPEEDS:
        raise ValueError(f"There is no speed {speed!r}: choose exact or fast.")
    model.eval().requires_grad_(False).fold_batch_norm()
    if device.type == "cpu" or (device.type == "cuda" and speed == "fast"):
        # A tenth of the whole photo's time: convolutions of a CPU like their channels last, and so
        # do those of a GPU in half precision.
        model.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if device.type == "cuda":
        # 10 bits in convolutions, unless told otherwise; products are exact unless told otherwise.
        torch.backends.cudnn.allow_tf32 = False
    if speed == "fast" and device.type == "cuda":
        use_half(model)
    elif speed == "fast":
        reason = _quantise(model, device)
        if reason is not None:
            _log.warning("Running exact instead of fast: %s.", reason)
            speed = "exact"
    model.to(device)
    return speed


def _quantise(model: AiOS, device: torch.device) -> str | None:
    """Turn the network to 8 bits, or say why not."""
    if device.type != "cpu":
        return f"8-bit products are for CPUs, this is {device}"
    if model.config.hidden_dim < _LEAST_WIDTH:
        return "this network is so small that exact is faster"
    # Imported here: it costs a moment, and nobody else needs it.
    from .int8 import quantise, why_not

    reason = why_not()
    if reason is not None:
        return reason
    pictures = [read_photo(path) for path in sorted(EXAMPLES.glob("*.jpg"))]
    if not pictures:
        return f"there are no example photos in {EXAMPLES} to measure ranges on"
    quantise(model, pictures)
    return None
