"""Backbone of a config, and the projection of its maps to feature levels (Deformable DETR)."""

from __future__ import annotations

from torch import Tensor, nn

from .config import AiOSConfig, BackboneConfig
from .mobilenet import MobileNetV2
from .resnet import ResNet


def build_backbone(config: BackboneConfig) -> ResNet | MobileNetV2:
    """Build a backbone with fresh weights."""
    return MobileNetV2(config) if config.block == "inverted" else ResNet(config)


class LevelProjections(nn.ModuleList):
    """1x1 convolutions to D channels, extra levels by 3x3 stride-2 convolutions; group norm."""

    def __init__(self, config: AiOSConfig, feature_channels: list[int]) -> None:
        """One projection per level of `config.num_levels`."""
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
        """One (B, C, h, w) per stage -> one (B, D, h, w) per level."""
        levels: list[Tensor] = []
        for index, projection in enumerate(self):
            if index < len(features):
                source = features[index]
            else:
                # The first extra level reads the last stage, the others the previous level.
                source = features[-1] if index == len(features) else levels[-1]
            levels.append(projection(source))
        return levels
