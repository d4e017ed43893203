"""Half precision: the network computes in 16 bits; its answers are scored in 32."""

from __future__ import annotations

from typing import Literal

import torch

Precision = Literal["float32", "bf16", "fp16"]
_KINDS = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Context in which the network computes."""
    kind = _KINDS.get(precision)
    return torch.autocast(device.type, dtype=kind or torch.bfloat16, enabled=kind is not None)


def build_scaler(precision: Precision, device: torch.device) -> torch.amp.GradScaler:
    """Keeps gradients of fp16 within its range; does nothing for the other two."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")
