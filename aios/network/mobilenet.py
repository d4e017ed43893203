"""MobileNetV2 (Sandler et al., CVPR 2018) with frozen batch norm, for networks trained on CPUs.

Parameter names are torchvision's (features.0.0, features.2.conv.1.0 ...), without the classifier
and the convolution before it.
"""

from __future__ import annotations

from torch import Tensor, nn

from .config import BackboneConfig
from .frozen_batch_norm import FrozenBatchNorm2d

_EXPANSION = 6


def _conv_norm_relu(
    in_channels: int, out_channels: int, size: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, FrozenBatchNorm2d(out_channels), nn.ReLU6(inplace=True))


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise and 1x1 projection convolutions; a shortcut if shapes agree."""

    def __init__(self, in_channels: int, width: int, stride: int, expansion: int) -> None:
        """`stride` applies to the 3x3 convolution; with expansion 1 there is no first 1x1."""
        super().__init__()
        hidden = in_channels * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(_conv_norm_relu(in_channels, hidden, 1))
        layers.append(_conv_norm_relu(hidden, hidden, 3, stride, groups=hidden))
        layers += [nn.Conv2d(hidden, width, 1, bias=False), FrozenBatchNorm2d(width)]
        self.conv = nn.Sequential(*layers)
        self.has_shortcut = stride == 1 and in_channels == width

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, width, h / stride, w / stride)."""
        return x + self.conv(x) if self.has_shortcut else self.conv(x)


class MobileNetV2(nn.Module):
    """Stem and stages of inverted residuals; `BackboneConfig.strides` lists their strides."""

    def __init__(self, config: BackboneConfig) -> None:
        """Widths and depths come from `config`."""
        super().__init__()
        layers: list[nn.Module] = [_conv_norm_relu(3, config.stem_width, 3, 2)]
        channels, current_stride = config.stem_width, 2
        stage_ends: list[int] = []
        for depth, width, stage_stride in zip(
            config.depths, config.widths, config.strides, strict=True
        ):
            for position in range(depth):
                expansion = _EXPANSION if len(layers) > 1 else 1
                stride = stage_stride // current_stride if position == 0 else 1
                layers.append(InvertedResidual(channels, width, stride, expansion))
                channels = width
            current_stride = stage_stride
            stage_ends.append(len(layers) - 1)
        self._stage_ends = stage_ends
        self._feature_layers = [stage_ends[stage] for stage in config.feature_stages]
        self.feature_channels = [config.widths[stage] for stage in config.feature_stages]
        """Channels of each feature map returned by `forward`."""
        self.features = nn.Sequential(*layers)

    def first_layers(self, stages: int) -> list[nn.Module]:
        """The stem and the first `stages` stages."""
        return list(self.features.children())[: 1 + (self._stage_ends[stages - 1] if stages else 0)]

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> one (B, C, h, w) for each of the config's `feature_stages`."""
        x = images
        maps = []
        for index, layer in enumerate(list(self.features)[: max(self._feature_layers) + 1]):
            x = layer(x)
            if index in self._feature_layers:
                maps.append(x)
        return maps
