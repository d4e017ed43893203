"""MobileNetV2 with frozen batch norm (Sandler et al., CVPR 2018), for networks that train on CPUs.

Parameter names are torchvision's (features.0.0, features.2.conv.1.0 ...), without the classifier
and the convolution before it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import BackboneConfig
from .frozen_batch_norm import FrozenBatchNorm2d

_EXPANSION = 6


class ReLU6(nn.Module):
    """min(max(x, 0), 6), in place in inference."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> same."""
        return F.relu6(x, inplace=not torch.is_grad_enabled())


def _norm_relu(
    in_channels: int, out_channels: int, size: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, FrozenBatchNorm2d(out_channels), ReLU6())


class InvertedResidual(nn.Module):
    """1x1 to more channels, 3x3 of each channel by itself, 1x1 to few; a shortcut if it fits."""

    def __init__(self, in_channels: int, width: int, stride: int, expansion: int) -> None:
        """`stride` is that of the 3x3 convolution; without expansion there is no first 1x1."""
        super().__init__()
        hidden = in_channels * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(_norm_relu(in_channels, hidden, 1))
        layers.append(_norm_relu(hidden, hidden, 3, stride, groups=hidden))
        layers += [nn.Conv2d(hidden, width, 1, bias=False), FrozenBatchNorm2d(width)]
        self.conv = nn.Sequential(*layers)
        self.has_shortcut = stride == 1 and in_channels == width

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, width, h / stride, w / stride)."""
        return x + self.conv(x) if self.has_shortcut else self.conv(x)


class MobileNetV2(nn.Module):
    """Stem and stages of inverted residuals; `BackboneConfig.strides` has their strides."""

    def __init__(self, config: BackboneConfig) -> None:
        """Widths and depths come from `config`."""
        super().__init__()
        layers: list[nn.Module] = [_norm_relu(3, config.stem_width, 3, 2)]
        channels, scale = config.stem_width, 2
        ends: list[int] = []
        for depth, width, wanted in zip(config.depths, config.widths, config.strides, strict=True):
            for position in range(depth):
                expansion = _EXPANSION if len(layers) > 1 else 1
                stride = wanted // scale if position == 0 else 1
                layers.append(InvertedResidual(channels, width, stride, expansion))
                channels = width
            scale = wanted
            ends.append(len(layers) - 1)
        self._stage_ends = ends
        self._ends = [ends[stage] for stage in config.feature_stages]
        self.feature_channels = [config.widths[stage] for stage in config.feature_stages]
        """Channels of each feature map that `forward` gives."""
        self.features = nn.Sequential(*layers)

    def first_layers(self, stages: int) -> list[nn.Module]:
        """The stem and so many stages after it."""
        return list(self.features.children())[: 1 + (self._stage_ends[stages - 1] if stages else 0)]

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> one (B, C, h, w) for each of the stages asked for."""
        x = images
        found = []
        for index, layer in enumerate(list(self.features)[: max(self._ends) + 1]):
            x = layer(x)
            if index in self._ends:
                found.append(x)
        return found
