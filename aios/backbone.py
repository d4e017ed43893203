"""ResNet with frozen batch norm, and its projection to feature levels (specification section 3).

Parameter names inside `ResNet` are the usual ones (conv1, bn1, layer1.0.conv1 ...), so that
ImageNet and ED-Pose weights load by name.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import AiOSConfig, BackboneConfig

_BOTTLENECK_EXPANSION = 4


class FrozenBatchNorm2d(nn.Module):
    """Batch norm whose statistics and affine numbers never change: y = x * scale + shift."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        """Identity over `channels` channels."""
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """Each (C,)."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        return scale, self.bias - self.running_mean * scale

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> same."""
        scale, shift = self.scale_and_shift()
        return x * scale[:, None, None] + shift[:, None, None]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        """`stride` is that of the first convolution."""
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, 1, bias=False)
        self.bn1 = FrozenBatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = FrozenBatchNorm2d(width)
        self.downsample = _shortcut(in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, width, h / stride, w / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = _relu(self.bn1(self.conv1(x)))
        return _relu(_add(self.bn2(self.conv2(y)), shortcut))


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1 and a shortcut."""

    expansion = _BOTTLENECK_EXPANSION

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        """`width` is that of the 3x3 convolution; four times as many channels come out."""
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
        y = _relu(self.bn1(self.conv1(x)))
        y = _relu(self.bn2(self.conv2(y)))
        return _relu(_add(self.bn3(self.conv3(y)), shortcut))


class StridedPointwise(nn.Conv2d):
    """A 1x1 convolution with a stride, which is one without on every stride-th pixel.

    The backward pass of the strided one writes outside its memory on a CPU when a channels-last
    input has few channels (torch 2.13).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        """`stride` is that of the convolution it stands for."""
        super().__init__(in_channels, out_channels, 1, bias=False)
        self.step = stride

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, O, h / stride, w / stride)."""
        return super().forward(x[..., :: self.step, :: self.step])


def _relu(x: Tensor) -> Tensor:
    """In place in inference: fresh memory for each map costs a CPU a quarter more time."""
    return F.relu(x, inplace=not torch.is_grad_enabled())


def _add(x: Tensor, y: Tensor) -> Tensor:
    return x + y if torch.is_grad_enabled() else x.add_(y)


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(
        StridedPointwise(in_channels, out_channels, stride),
        FrozenBatchNorm2d(out_channels),
    )


class ResNet(nn.Module):
    """Stem and stages `layer1`, `layer2`, ...; strides 4, 8, 16, 32."""

    def __init__(self, config: BackboneConfig) -> None:
        """Widths, depths and kind of block come from `config`."""
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

    @property
    def feature_channels(self) -> list[int]:
        """Channels of each feature map that `forward` gives."""
        return [self.stage_channels[stage] for stage in self.feature_stages]

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> one (B, C, h, w) for each of `feature_stages`."""
        x = _relu(self.bn1(self.conv1(images)))
        x = F.max_pool2d(x, 3, 2, 1)
        features = []
        for index, stage in enumerate(self.stages()):
            x = stage(x)
            if index in self.feature_stages:
                features.append(x)
        return features

    def stages(self) -> list[nn.Sequential]:
        """Those that `forward` runs, in order."""
        stages = [
            self.get_submodule(f"layer{number}")
            for number in range(1, max(self.feature_stages) + 2)
        ]
        return [stage for stage in stages if isinstance(stage, nn.Sequential)]


class LevelProjections(nn.ModuleList):
    """1x1 convolutions to D channels, further levels by stride-2 convolutions; group norm."""

    def __init__(self, config: AiOSConfig, feature_channels: list[int]) -> None:
        """One projection for each of `config.num_levels`."""
        levels = []
        width = config.hidden_dim
        for level in range(config.num_levels):
            if level < len(feature_channels):
                conv = nn.Conv2d(feature_channels[level], width, 1)
            else:
                first = level == len(feature_channels)
                conv = nn.Conv2d(feature_channels[-1] if first else width, width, 3, 2, 1)
            levels.append(nn.Sequential(conv, nn.GroupNorm(32, width)))
        super().__init__(levels)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """One (B, C, h, w) a stage -> one (B, D, h, w) a level."""
        levels: list[Tensor] = []
        for index, projection in enumerate(self):
            if index < len(features):
                source = features[index]
            else:
                # The first extra level reads the raw last stage, later ones the level before.
                source = features[-1] if index == len(features) else levels[-1]
            levels.append(projection(source))
        return levels


def fold_frozen_batch_norm(module: nn.Module) -> None:
    """Merge every frozen batch norm below `module` into the convolution before it, in place.

    Exact up to rounding; afterwards the state dict no longer has the names of a checkpoint.
    """
    for child in module.modules():
        previous: tuple[str, nn.Conv2d] | None = None
        for name, layer in list(child.named_children()):
            if isinstance(layer, nn.Conv2d):
                previous = (name, layer)
            elif isinstance(layer, FrozenBatchNorm2d) and previous is not None:
                _fold(previous[1], layer)
                child.register_module(name, nn.Identity())
                previous = None


@torch.no_grad()
def _fold(conv: nn.Conv2d, norm: FrozenBatchNorm2d) -> None:
    scale, shift = norm.scale_and_shift()
    conv.weight.mul_(scale[:, None, None, None])
    conv.bias = nn.Parameter(shift.clone(), requires_grad=conv.weight.requires_grad)
