"""The backbone of a config, and its projection to feature levels (specification section 3)."""

from __future__ import annotations

from torch import Tensor, nn

from .config import AiOSConfig, BackboneConfig
from .mobilenet import MobileNetV2
from .resnet import ResNet


def build_backbone(config: BackboneConfig) -> ResNet | MobileNetV2:
    """With fresh weights."""
    return MobileNetV2(config) if config.block == "inverted" else ResNet(config)


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
