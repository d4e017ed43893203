"""Feature pyramid of MoveNet multipose (Google, 2021) over a MobileNetV2.

It is a feature pyramid network (Lin et al., CVPR 2017) with narrow maps and separable convolutions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from .config import PyramidConfig

LATERAL_STRIDES = (16, 8, 4)


class SeparableConv(nn.Module):
    """3x3 depthwise convolution, 1x1 convolution, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        """The depthwise convolution has no bias."""
        super().__init__()
        self.depthwise = nn.Conv2d(
            in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False
        )
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, D, h, w)."""
        return F.relu(self.pointwise(self.depthwise(x)))


class FeaturePyramid(nn.Module):
    """Maps of strides 32, 16, 8 and 4; each finer map adds the next coarser one, enlarged."""

    def __init__(self, config: PyramidConfig, channels: Sequence[int]) -> None:
        """Widths come from `config`.

        Args:
            config: widths.
            channels: of the stage outputs of strides 32, 16, 8 and 4.
        """
        super().__init__()
        widths = config.widths
        self.last = nn.Conv2d(channels[0], config.last_width, 1)
        self.top = nn.Conv2d(config.last_width, widths[0], 1)
        self.lateral = nn.ModuleList(
            nn.Conv2d(stage, coarser, 1)
            for stage, coarser in zip(channels[1:], widths[:-1], strict=True)
        )
        self.separable = nn.ModuleList(
            SeparableConv(coarser, width)
            for coarser, width in zip(widths[:-1], widths[1:], strict=True)
        )

    def forward(self, stages: Sequence[Tensor]) -> list[Tensor]:
        """Stage outputs of strides 32, 16, 8 and 4 -> one map (B, D, h, w) for each."""
        maps = [self.top(F.relu6(self.last(stages[0])))]
        for stage, lateral, separable in zip(stages[1:], self.lateral, self.separable, strict=True):
            enlarged = F.interpolate(
                maps[-1], size=stage.shape[-2:], mode="bilinear", align_corners=False
            )
            maps.append(separable(enlarged + lateral(stage)))
        return maps


def to_stride(x: Tensor, factor: int) -> Tensor:
    """Move cells of `factor` x `factor` into channels: (B, C, h, w) -> (B, C * factor^2, ...).

    Sizes are rounded up; missing cells are 0.
    """
    height, width = x.shape[-2:]
    padded = F.pad(x, (0, -width % factor, 0, -height % factor))
    return F.pixel_unshuffle(padded, factor)
