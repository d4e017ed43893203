"""MobileNetV2 (Sandler et al., CVPR 2018) with frozen batch norm, for networks trained on CPUs.

Parameter names are torchvision's (features.0.0, features.2.conv.1.0 ...), without the classifier
and the convolution before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .config import BackboneConfig
from .feature_pyramid import LATERAL_STRIDES, FeaturePyramid, to_stride
from .frozen_batch_norm import FrozenBatchNorm2d
from .keypoint_maps import KeypointHeads
from .same_padding import SamePadConv2d

_EXPANSION = 6


def _norm_relu(conv: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(conv, FrozenBatchNorm2d(conv.out_channels), nn.ReLU6(inplace=True))


def _conv3x3(
    in_channels: int, out_channels: int, stride: int, padding: str, groups: int = 1
) -> nn.Conv2d:
    if padding == "same" and stride == 2:
        return SamePadConv2d(in_channels, out_channels, 3, 2, groups=groups, bias=False)
    return nn.Conv2d(in_channels, out_channels, 3, stride, 1, groups=groups, bias=False)


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise and 1x1 projection convolutions; a shortcut if shapes agree."""

    def __init__(
        self, in_channels: int, width: int, stride: int, expansion: int, padding: str = "symmetric"
    ) -> None:
        """`stride` and `padding` apply to the 3x3 convolution; expansion 1 has no first 1x1."""
        super().__init__()
        hidden = in_channels * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(_norm_relu(nn.Conv2d(in_channels, hidden, 1, bias=False)))
        layers.append(_norm_relu(_conv3x3(hidden, hidden, stride, padding, groups=hidden)))
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
        stem = _conv3x3(3, config.stem_width, 2, config.padding)
        layers: list[nn.Module] = [_norm_relu(stem)]
        channels, current_stride = config.stem_width, 2
        self._stage_ends: list[int] = []
        for depth, width, stage_stride in zip(
            config.depths, config.widths, config.strides, strict=True
        ):
            for position in range(depth):
                expansion = _EXPANSION if len(layers) > 1 else 1
                stride = stage_stride // current_stride if position == 0 else 1
                layers.append(InvertedResidual(channels, width, stride, expansion, config.padding))
                channels = width
            current_stride = stage_stride
            self._stage_ends.append(len(layers) - 1)
        self.features = nn.Sequential(*layers)
        self.pyramid: FeaturePyramid | None = None
        self._pyramid_stages: list[int] = []
        if config.pyramid is not None:
            laterals = [config.strides.index(stride) for stride in LATERAL_STRIDES]
            self._pyramid_stages = [len(config.depths) - 1, *laterals]
            widths = [config.widths[stage] for stage in self._pyramid_stages]
            self.pyramid = FeaturePyramid(config.pyramid, widths)
        self.keypoints: KeypointHeads | None = None
        if config.pyramid is not None and config.pyramid.keypoint_width:
            cells = config.feature_strides[0] // LATERAL_STRIDES[-1]
            self.keypoints = KeypointHeads(config.pyramid, cells)
        self._num_stages = max((*config.feature_stages, *self._pyramid_stages)) + 1
        self._config = config
        self.feature_channels = self._count_channels()
        """Channels of each feature map returned by `forward`."""

    def _count_channels(self) -> list[int]:
        config = self._config
        channels = dict.fromkeys(config.feature_strides, 0)
        for stage in config.feature_stages:
            channels[config.strides[stage]] += config.widths[stage]
        if config.pyramid is not None:
            for stage, width in zip(self._pyramid_stages, config.pyramid.widths, strict=True):
                stride = self._feature_stride(stage)
                channels[stride] += width * (stride // config.strides[stage]) ** 2
        return list(channels.values())

    def _feature_stride(self, stage: int) -> int:
        """Stride of the feature map that takes the pyramid's map of a stage."""
        stride = self._config.strides[stage]
        return min(s for s in self._config.feature_strides if s >= stride)

    def first_layers(self, stages: int) -> list[nn.Module]:
        """The stem and the first `stages` stages; all of them include the pyramid."""
        if stages == len(self._stage_ends):
            return list(self.children())
        return list(self.features.children())[: 1 + (self._stage_ends[stages - 1] if stages else 0)]

    def forward(self, images: Tensor, known: Sequence[Tensor] = ()) -> list[Tensor]:
        """(B, 3, H, W) -> one (B, C, h, w) for each of the config's `feature_strides`.

        A map concatenates the stages of its stride, then the pyramid's map of its stride and the
        finer ones that no other map takes, with cells as channels.

        Args:
            images: normalised.
            known: outputs of the first stages if they exist already, see `stage_outputs`.
        """
        config = self._config
        outputs = self.stage_outputs(images, known, self._num_stages)
        maps: dict[int, list[Tensor]] = {stride: [] for stride in config.feature_strides}
        for stage in config.feature_stages:
            maps[config.strides[stage]].append(outputs[stage])
        if self.pyramid is not None:
            pyramid = self.pyramid([outputs[stage] for stage in self._pyramid_stages])
            for stage, level in zip(self._pyramid_stages, pyramid, strict=True):
                stride = self._feature_stride(stage)
                maps[stride].append(to_stride(level, stride // config.strides[stage]))
        return [torch.cat(each, 1) if len(each) > 1 else each[0] for each in maps.values()]

    def stage_outputs(self, images: Tensor, known: Sequence[Tensor], stages: int) -> list[Tensor]:
        """Outputs of the first `stages` stages, of which `known` are the first ones."""
        outputs = list(known)
        x = outputs[-1] if outputs else images
        first = self._stage_ends[len(outputs) - 1] + 1 if outputs else 0
        for index, layer in enumerate(list(self.features)[first:], first):
            if len(outputs) == stages:
                break
            x = layer(x)
            if index in self._stage_ends:
                outputs.append(x)
        return outputs
