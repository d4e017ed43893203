"""Convolution with the padding rule "SAME" of TensorFlow."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class SamePadConv2d(nn.Conv2d):
    """Stride 2, kernel 3: output size n / 2, rounded up, with the odd padding right and below.

    For even n, `nn.Conv2d` with padding 1 pads left and above instead.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, D, ceil(h / 2), ceil(w / 2))."""
        top, left = x.shape[-2] % 2, x.shape[-1] % 2
        return super().forward(F.pad(x, (left, 1, top, 1)))
