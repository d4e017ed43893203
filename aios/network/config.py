"""Network config as frozen dataclasses, the only place with sizes of the network.

`AiOSConfig()` is the network of the paper; `BUILTIN_CONFIG` is the small network of the built-in
weights.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Self

from .config_dict import ConfigError, config_from_dict, config_to_dict

NUM_BODY_KEYPOINTS = 17
NUM_HAND_KEYPOINTS = 6
NUM_FACE_KEYPOINTS = 6
NUM_BODY_JOINTS = 22
NUM_HAND_JOINTS = 15
NUM_BETAS = 10
BODY_KEYPOINT_JOINTS = (55, 57, 56, 59, 58, 16, 17, 18, 19, 20, 21, 1, 2, 4, 5, 7, 8)
"""SMPL-X joint (of 144) of each of the 17 body keypoints, in COCO order."""
NUM_EXPRESSION = 10

STAGES = ("locate", "refine_body", "refine_whole_body")
"""Decoder stages, in order."""


_RESNET_STRIDE = 4
_MOBILENET_STRIDES = (2, 4, 8, 16, 16, 32, 32)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


@dataclass(frozen=True)
class ImageConfig:
    """Size and normalisation of the network input, see `preprocessing.place_photo`."""

    short_side: int = 800
    long_side: int = 1333
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    multiple: int = 1
    """Both sides of the input are multiples of this many pixels, by padding.  For networks trained
    on such sizes only: with other sizes the last cells of the feature levels are partly empty,
    which shifts predictions to the left and top."""

    def __post_init__(self) -> None:
        """Validate the values."""
        _require(0 < self.short_side <= self.long_side, "short_side must be in 1..long_side")
        _require(min(self.std) > 0, "std must be positive")
        _require(self.multiple >= 1, "multiple must be at least 1")


@dataclass(frozen=True)
class PyramidConfig:
    """Feature pyramid over a MobileNetV2, see `feature_pyramid.FeaturePyramid`."""

    last_width: int = 1280
    """Channels of the convolution after the last stage."""
    widths: tuple[int, int, int, int] = (64, 32, 24, 24)
    """Channels of the maps of stride 32, 16, 8 and 4."""
    keypoint_width: int = 0
    """Channels of the heads of `keypoint_maps.KeypointHeads`; 0 for a pyramid without them."""


@dataclass(frozen=True)
class BackboneConfig:
    """ResNet or MobileNetV2; the default is ResNet-50.

    `block` "inverted" gives a MobileNetV2 with seven stages.  `depths` are blocks per stage.
    `widths` are the channels of the 3x3 convolutions of each stage (a bottleneck block has four
    times as many output channels); for MobileNetV2 they are output channels.  `feature_stages` are
    the stages (0-based) whose features go to the encoder; those of one stride are concatenated.
    `padding` and `pyramid` are for MobileNetV2 only.  `padding` "same" pads as TensorFlow does:
    convolutions of stride 2 read one row less above and one column less on the left.
    """

    block: Literal["basic", "bottleneck", "inverted"] = "bottleneck"
    depths: tuple[int, ...] = (3, 4, 6, 3)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    stem_width: int = 64
    feature_stages: tuple[int, ...] = (1, 2, 3)
    padding: Literal["symmetric", "same"] = "symmetric"
    pyramid: PyramidConfig | None = None

    def __post_init__(self) -> None:
        """Validate the stages."""
        _require(
            self.block in ("basic", "bottleneck", "inverted"),
            f"unknown backbone block {self.block!r}",
        )
        _require(len(self.depths) == len(self.widths), "depths and widths must have equal length")
        _require(
            self.block != "inverted" or len(self.depths) == len(_MOBILENET_STRIDES),
            f"inverted blocks need {len(_MOBILENET_STRIDES)} stages",
        )
        _require(
            bool(self.feature_stages) and max(self.feature_stages) < len(self.depths),
            "feature_stages names a stage that does not exist",
        )
        _require(
            self.block == "inverted" or (self.padding == "symmetric" and self.pyramid is None),
            "padding and pyramid need inverted blocks",
        )

    @property
    def feature_strides(self) -> tuple[int, ...]:
        """Strides of the feature maps, rising."""
        return tuple(sorted({self.strides[stage] for stage in self.feature_stages}))

    @property
    def strides(self) -> tuple[int, ...]:
        """Stride in input pixels of the features of each stage."""
        if self.block == "inverted":
            return _MOBILENET_STRIDES
        return tuple(_RESNET_STRIDE * 2**stage for stage in range(len(self.depths)))


@dataclass(frozen=True)
class AiOSConfig:
    """Config of AiOS; the defaults are those of the paper and of the released weights."""

    image: ImageConfig = field(default_factory=ImageConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    num_levels: int = 4
    hidden_dim: int = 256
    num_heads: int = 8
    num_points: int = 4
    feedforward_dim: int = 2048
    encoder_layers: int = 6
    locate_layers: int = 2
    refine_body_layers: int = 2
    refine_whole_body_layers: int = 2
    num_proposals: int = 900
    num_people: int = 100
    proposal_size: float = 0.05
    """Side of level 0 proposals relative to the image; doubles with each level."""
    focal_length: float = 5000.0
    """Focal length of the network's camera in pixels of the network input, for x and y."""
    point_tokens: bool = True
    """Whether each person has tokens for body joints, hand and face points; if not, a person has
    four box tokens (naive AiOS, Sec. 3.4 of the paper)."""
    self_attention: Literal["full", "inter_human", "aios"] = "aios"
    """Decoder self-attention: "full" attends to all tokens of all people; "inter_human" only
    between box tokens; "aios" between box tokens of all people and within each person."""
    smplx_stages: tuple[Literal["locate", "refine_body", "refine_whole_body"], ...] = (
        "refine_body",
        "refine_whole_body",
    )
    """Decoder stages whose layers have SMPL-X heads, which are also supervised in training."""

    def __post_init__(self) -> None:
        """Validate the sizes."""
        _require(self.hidden_dim % self.num_heads == 0, "num_heads must divide hidden_dim")
        _require(self.hidden_dim % 32 == 0, "hidden_dim must be a multiple of 32 (group norm)")
        _require(
            self.num_levels >= len(self.backbone.feature_strides),
            "num_levels must be at least the number of strides of feature_stages",
        )
        _require(self.num_people <= self.num_proposals, "num_people must not exceed num_proposals")
        layers = (self.locate_layers, self.refine_body_layers, self.refine_whole_body_layers)
        _require(min(layers) >= 1, "each decoder stage needs at least one layer")
        _require(
            STAGES[-1] in self.smplx_stages,
            f"smplx_stages must contain {STAGES[-1]!r}, the stage of the final output",
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Build from a JSON-like dictionary; missing keys keep their defaults.

        Raises:
            ConfigError: unknown key, value of the wrong type, or inconsistent values.
        """
        return config_from_dict(cls, values)

    def to_dict(self) -> dict[str, Any]:
        """Convert to dictionaries and lists, ready for JSON."""
        return config_to_dict(self)

    @property
    def decoder_layers(self) -> int:
        """Number of layers of all three decoder stages."""
        return self.locate_layers + self.refine_body_layers + self.refine_whole_body_layers


MOVENET_BACKBONE = BackboneConfig(
    block="inverted",
    depths=(1, 2, 3, 4, 3, 3, 1),
    widths=(24, 40, 48, 96, 144, 240, 480),
    stem_width=48,
    feature_stages=(3, 4, 6),
    padding="same",
    pyramid=PyramidConfig(keypoint_width=96),
)
"""MobileNetV2, feature pyramid and keypoint heads of MoveNet multipose (Google, 2021)."""

BUILTIN_CONFIG = AiOSConfig(
    image=ImageConfig(
        short_side=320,
        long_side=448,
        mean=(127.5, 127.5, 127.5),
        std=(127.5, 127.5, 127.5),
        multiple=32,
    ),
    backbone=MOVENET_BACKBONE,
    num_levels=2,
    hidden_dim=96,
    feedforward_dim=512,
    encoder_layers=3,
    locate_layers=1,
    refine_body_layers=1,
    refine_whole_body_layers=1,
    num_proposals=100,
    num_people=20,
    proposal_size=0.15,
    focal_length=1000.0,
    smplx_stages=("refine_whole_body",),
)
"""Network of the built-in weights, small enough to ship and to train without a GPU."""
