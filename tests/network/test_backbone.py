"""Backbones: parameter names, frozen batch norm, strides, feature levels."""

import math

import pytest
import torch
import torch.nn.functional as F

from aios.network.backbone import LevelProjections
from aios.network.config import AiOSConfig, BackboneConfig
from aios.network.frozen_batch_norm import FrozenBatchNorm2d
from aios.network.mobilenet import MobileNetV2
from aios.network.resnet import ResNet
from tests.helpers.networks import MOBILE, SMALL, TINY, random_model

pytestmark = pytest.mark.usefixtures("one_thread")


def resnet50_names() -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision's ResNet-50 without its classifier."""
    names = {"conv1.weight": (64, 3, 7, 7)}

    def norm(prefix, channels):
        for name in ("weight", "bias", "running_mean", "running_var"):
            names[f"{prefix}.{name}"] = (channels,)

    norm("bn1", 64)
    channels = 64
    for stage, (depth, width) in enumerate(zip((3, 4, 6, 3), (64, 128, 256, 512), strict=True)):
        for unit in range(depth):
            prefix = f"layer{stage + 1}.{unit}"
            shapes = [(width, channels, 1, 1), (width, width, 3, 3), (4 * width, width, 1, 1)]
            for index, shape in enumerate(shapes):
                names[f"{prefix}.conv{index + 1}.weight"] = shape
                norm(f"{prefix}.bn{index + 1}", shape[0])
            if unit == 0:
                names[f"{prefix}.downsample.0.weight"] = (4 * width, channels, 1, 1)
                norm(f"{prefix}.downsample.1", 4 * width)
            channels = 4 * width
    return names


def test_resnet50_has_the_names_and_shapes_of_torchvision():
    with torch.device("meta"):
        state = ResNet(BackboneConfig()).state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == resnet50_names()


def mobilenet_v2_names() -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision's MobileNetV2 before its last convolution."""
    names = {}

    def conv_norm(conv, norm, shape):
        names[f"{conv}.weight"] = shape
        for name in ("weight", "bias", "running_mean", "running_var"):
            names[f"{norm}.{name}"] = shape[:1]

    conv_norm("features.0.0", "features.0.1", (32, 3, 3, 3))
    channels, number = 32, 1
    plan = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))
    for expansion, width, depth in plan:
        for _ in range(depth):
            unit, place, hidden = f"features.{number}.conv", 0, channels * expansion
            if expansion > 1:
                conv_norm(f"{unit}.0.0", f"{unit}.0.1", (hidden, channels, 1, 1))
                place = 1
            conv_norm(f"{unit}.{place}.0", f"{unit}.{place}.1", (hidden, 1, 3, 3))
            conv_norm(f"{unit}.{place + 1}", f"{unit}.{place + 2}", (width, hidden, 1, 1))
            channels, number = width, number + 1
    return names


MOBILENET_V2 = BackboneConfig(
    "inverted", (1, 2, 3, 4, 3, 3, 1), (16, 24, 32, 64, 96, 160, 320), 32, (4, 6)
)


def test_mobilenet_v2_has_the_names_and_shapes_of_torchvision():
    with torch.device("meta"):
        network = MobileNetV2(MOBILENET_V2)
    found = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert found == mobilenet_v2_names()
    assert network.feature_channels == [96, 320]


@pytest.mark.parametrize(("place", "stride"), [(2, 2), (3, 1)])
def test_inverted_residual_equals_its_definition(place, stride):
    unit = random_model(MOBILE, 4).backbone.features[place]
    expand, depthwise, reduce, norm = unit.conv
    x = torch.randn(1, expand[0].in_channels, 9, 11)
    y = expand[1](F.conv2d(x, expand[0].weight)).clamp(0, 6)
    y = F.conv2d(y, depthwise[0].weight, None, stride, 1, groups=y.shape[1])
    y = norm(F.conv2d(depthwise[1](y).clamp(0, 6), reduce.weight))
    torch.testing.assert_close(unit(x), y + x if stride == 1 else y)


def test_stride_of_a_bottleneck_is_in_its_3x3_convolution():
    with torch.device("meta"):
        resnet = ResNet(BackboneConfig())
    unit = resnet.layer3[0]
    assert (unit.conv1.stride, unit.conv2.stride, unit.conv3.stride) == ((1, 1), (2, 2), (1, 1))


def test_frozen_batch_norm_equals_batch_norm_in_evaluation():
    generator = torch.Generator().manual_seed(0)
    frozen, usual = FrozenBatchNorm2d(6), torch.nn.BatchNorm2d(6).eval()
    for name, buffer in frozen.named_buffers():
        values = torch.rand(6, generator=generator) + 0.1
        buffer.copy_(values)
        with torch.no_grad():
            getattr(usual, name).copy_(values)
    x = torch.randn(2, 6, 4, 5, generator=generator)
    torch.testing.assert_close(frozen(x), usual(x))
    assert not list(frozen.parameters())


@pytest.mark.parametrize("config", [SMALL, MOBILE])
@pytest.mark.parametrize("size", [(64, 96), (65, 97), (1, 1), (31, 200), (75, 93)])
def test_map_sizes_are_rounded_up(config, size):
    model = random_model(config, 2)
    with torch.no_grad():
        features = model.backbone(torch.randn(1, 3, *size))
        levels = model.level_projections(features)
    wanted = [tuple(math.ceil(side / 2**power) for side in size) for power in (3, 4, 5, 6)]
    assert [tuple(level.shape[2:]) for level in levels] == wanted
    assert [feature.shape[1] for feature in features] == model.backbone.feature_channels
    assert all(level.shape[1] == SMALL.hidden_dim for level in levels)


def test_first_extra_level_reads_the_last_stage_and_the_next_reads_the_previous_level():
    config = AiOSConfig(backbone=TINY.backbone, num_levels=3, hidden_dim=32, num_heads=2)
    projections = LevelProjections(config, [32])
    feature = torch.randn(1, 32, 7, 9)
    levels = projections([feature])
    assert [tuple(level.shape[2:]) for level in levels] == [(7, 9), (4, 5), (2, 3)]
    assert torch.equal(levels[1], projections[1](feature))
    assert torch.equal(levels[2], projections[2](levels[1]))


def test_only_the_required_stages_run():
    model = random_model(TINY, 3)
    called = []
    for stage in range(3):
        layer = model.backbone.get_submodule(f"layer{stage + 1}")
        layer.register_forward_hook(lambda *_, stage=stage: called.append(stage))
    assert len(model.backbone(torch.randn(1, 3, 64, 64))) == 1
    assert called == [0, 1, 2]
