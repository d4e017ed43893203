"""ResNet (He et al., CVPR 2016) with frozen batch norm.

Parameter names are torchvision's (conv1, bn1, layer1.0.conv1 ...), so that ImageNet and ED-Pose
weights load by name. The stride of a bottleneck is in its 3x3 convolution.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .config import BackboneConfig
from .frozen_batch_norm import FrozenBatchNorm2d

_BOTTLENECK_EXPANSION = 4


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        """`stride` applies to the first convolution."""
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, 1, bias=False)
        self.bn1 = FrozenBatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = FrozenBatchNorm2d(width)
        self.downsample = _shortcut(in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, width, h / stride, w / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = F.relu_(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += shortcut
        return F.relu_(y)


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride) and 1x1 convolutions, and a shortcut."""

    expansion = _BOTTLENECK_EXPANSION

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        """`width` is the width of the 3x3 convolution, a quarter of the output channels."""
        super().__init__()
        out_channels = width * self.expansion
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = FrozenBatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = FrozenBatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = FrozenBatchNorm2d(out_channels)
        self.downsample = _shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 4 * width, h / stride, w / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = F.relu_(self.bn1(self.conv1(x)))
        y = F.relu_(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += shortcut
        return F.relu_(y)


class StridedPointwise(nn.Conv2d):
    """A 1x1 convolution with a stride, computed as one without on every stride-th pixel.

    In torch 2.13 the backward pass of the strided convolution writes out of bounds on a CPU if a
    channels-last input has few channels.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        """`stride` in pixels; the attribute `stride` of the base class stays 1."""
        super().__init__(in_channels, out_channels, 1, bias=False)
        self.step = stride

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, O, h / stride, w / stride)."""
        return super().forward(x[..., :: self.step, :: self.step])


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(
        StridedPointwise(in_channels, out_channels, stride),
        FrozenBatchNorm2d(out_channels),
    )


class ResNet(nn.Module):
    """Stem and stages `layer1`, `layer2`, ... with strides 4, 8, 16, 32."""

    def __init__(self, config: BackboneConfig) -> None:
        """Widths, depths and the kind of block come from `config`."""
        super().__init__()
        self.feature_stages = config.feature_stages
        self.conv1 = nn.Conv2d(3, config.stem_width, 7, 2, 3, bias=False)
        self.bn1 = FrozenBatchNorm2d(config.stem_width)
        block = BasicBlock if config.block == "basic" else Bottleneck
        channels = config.stem_width
        self.stage_channels: list[int] = []
        for index, (depth, width) in enumerate(zip(config.depths, config.widths, strict=True)):
            blocks = []
            for position in range(depth):
                stride = 2 if index > 0 and position == 0 else 1
                blocks.append(block(channels, width, stride))
                channels = width * block.expansion
            self.add_module(f"layer{index + 1}", nn.Sequential(*blocks))
            self.stage_channels.append(channels)

    def first_layers(self, stages: int) -> list[nn.Module]:
        """The stem and the first `stages` stages."""
        return [self.conv1, self.bn1, *(getattr(self, f"layer{n + 1}") for n in range(stages))]

    @property
    def feature_channels(self) -> list[int]:
        """Channels of each feature map returned by `forward`."""
        return [self.stage_channels[stage] for stage in self.feature_stages]

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> one (B, C, h, w) for each of `feature_stages`."""
        x = F.relu_(self.bn1(self.conv1(images)))
        return self.run_stages(F.max_pool2d(x, 3, 2, 1))

    def run_stages(self, x: Tensor) -> list[Tensor]:
        """Output of the stem -> feature maps as in `forward`."""
        features = []
        for index, stage in enumerate(self.stages()):
            x = stage(x)
            if index in self.feature_stages:
                features.append(x)
        return features

    def stages(self) -> list[nn.Sequential]:
        """The stages that `forward` runs, in order."""
        stages = [
            self.get_submodule(f"layer{number}")
            for number in range(1, max(self.feature_stages) + 2)
        ]
        return [stage for stage in stages if isinstance(stage, nn.Sequential)]
