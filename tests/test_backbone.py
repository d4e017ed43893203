"""The ResNet: standard names, frozen batch norm, strides that round up, levels."""

import math

import pytest
import torch

from aios.backbone import FrozenBatchNorm2d, LevelProjections, ResNet, fold_frozen_batch_norm
from aios.config import AiOSConfig, BackboneConfig

from .networks import SMALL, TINY, random_model

pytestmark = pytest.mark.usefixtures("one_thread")


def resnet50_names() -> dict[str, tuple[int, ...]]:
    """Names and shapes of a ResNet-50 everywhere, without its classifier."""
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


def test_names_and_shapes_are_those_of_every_resnet50():
    with torch.device("meta"):
        state = ResNet(BackboneConfig()).state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == resnet50_names()


def test_stride_is_in_the_3x3_convolution():
    with torch.device("meta"):
        resnet = ResNet(BackboneConfig())
    unit = resnet.layer3[0]
    assert (unit.conv1.stride, unit.conv2.stride, unit.conv3.stride) == ((1, 1), (2, 2), (1, 1))


def test_frozen_batch_norm_is_batch_norm_in_evaluation():
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


@pytest.mark.parametrize("config", [SMALL, TINY])
def test_folding_changes_nothing_but_rounding(config):
    model = random_model(config, 0, torch.float64)
    images = torch.randn(2, 3, 45, 62, dtype=torch.float64)
    with torch.no_grad():
        before = model.backbone(images)
        model.fold_batch_norm()
        after = model.backbone(images)
    assert not any(isinstance(m, FrozenBatchNorm2d) for m in model.modules())
    for first, second in zip(before, after, strict=True):
        assert first.abs().max() > 0
        torch.testing.assert_close(first, second)


def test_folding_twice_is_folding_once():
    backbone = random_model(TINY, 1).backbone
    fold_frozen_batch_norm(backbone)
    once = {name: value.clone() for name, value in backbone.state_dict().items()}
    fold_frozen_batch_norm(backbone)
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, once[name])


@pytest.mark.parametrize("size", [(64, 96), (65, 97), (1, 1), (31, 200), (75, 93)])
def test_every_halving_rounds_up(size):
    model = random_model(SMALL, 2)
    with torch.no_grad():
        features = model.backbone(torch.randn(1, 3, *size))
        levels = model.level_projections(features)
    wanted = [tuple(math.ceil(side / 2**power) for side in size) for power in (3, 4, 5, 6)]
    assert [tuple(level.shape[2:]) for level in levels] == wanted
    assert [feature.shape[1] for feature in features] == model.backbone.feature_channels
    assert all(level.shape[1] == SMALL.hidden_dim for level in levels)


def test_extra_levels():
    """The first reads the raw last stage, the next one the level before it."""
    config = AiOSConfig(backbone=TINY.backbone, num_levels=3, hidden_dim=32, num_heads=2)
    projections = LevelProjections(config, [32])
    feature = torch.randn(1, 32, 7, 9)
    levels = projections([feature])
    assert [tuple(level.shape[2:]) for level in levels] == [(7, 9), (4, 5), (2, 3)]
    assert torch.equal(levels[1], projections[1](feature))
    assert torch.equal(levels[2], projections[2](levels[1]))


def test_only_the_stages_needed_are_run():
    model = random_model(TINY, 3)
    called = []
    for stage in range(3):
        layer = model.backbone.get_submodule(f"layer{stage + 1}")
        layer.register_forward_hook(lambda *_, stage=stage: called.append(stage))
    assert len(model.backbone(torch.randn(1, 3, 64, 64))) == 1
    assert called == [0, 1, 2]
