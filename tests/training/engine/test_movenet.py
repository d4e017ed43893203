"""MoveNet as the backbone: reading its file, and running it frozen."""

import copy
import json

import numpy as np
import pytest
import torch

from aios.network.config import MOVENET_BACKBONE
from aios.network.mobilenet import MobileNetV2
from aios.weights.checkpoint import CheckpointError
from training.engine.backbone_weights import load_backbone
from training.engine.frozen_backbone import FrozenBackbone, PartlyFrozenBackbone

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = "StatefulPartitionedCall/"
PREFIX = f"{ROOT}center_net_mobile_net_v2fpn_feature_extractor/model_1/"


def movenet_shapes():
    """Names and shapes of MoveNet's tensors, as TensorFlow stores them."""
    shapes = {"model/Conv1/Conv2D_weights": (3, 3, 3, 48), "model/Conv1/Conv2D_bn_offset": (48,)}
    widths = [24] + [40] * 2 + [48] * 3 + [96] * 4 + [144] * 3 + [240] * 3 + [480]
    channels = 48
    for block, width in enumerate(widths):
        name = f"model/block_{block}_" if block else "model/expanded_conv_"
        hidden = 6 * channels if block else channels
        if block:
            shapes[f"{name}expand/Conv2D_weights"] = (1, 1, channels, hidden)
            shapes[f"{name}expand/Conv2D_bn_offset"] = (hidden,)
        shapes[f"{name}depthwise/depthwise_weights"] = (3, 3, hidden, 1)
        shapes[f"{name}depthwise/depthwise_bn_offset"] = (hidden,)
        shapes[f"{name}project/Conv2D_weights"] = (1, 1, hidden, width)
        shapes[f"{name}project/Conv2D_bn_offset"] = (width,)
        channels = width
    shapes["model/Conv_1/Conv2D_weights"] = (1, 1, 480, 1280)
    shapes["model/Conv_1/Conv2D_bn_offset"] = (1280,)
    shapes["conv2d/Conv2D/ReadVariableOp"] = (1, 1, 1280, 64)
    shapes["conv2d/BiasAdd/ReadVariableOp"] = (64,)
    for level, (stage, coarser, width) in enumerate([(96, 64, 32), (48, 32, 24), (40, 24, 24)]):
        shapes[f"conv2d_{level + 1}/Conv2D/ReadVariableOp"] = (1, 1, stage, coarser)
        shapes[f"conv2d_{level + 1}/BiasAdd/ReadVariableOp"] = (coarser,)
        name = f"separable_conv2d{f'_{level}' if level else ''}/separable_conv2d"
        shapes[f"{name}/ReadVariableOp"] = (3, 3, coarser, 1)
        shapes[f"{name}_weights"] = (1, 1, coarser, width)
        shapes[f"{name}_bn_offset"] = (width,)
    named = {PREFIX + name: shape for name, shape in shapes.items()}
    for head, number, out in (("kpt_heatmap_0", 6, 17), ("kpt_offset_0", 8, 34)):
        separable, last = (
            f"{ROOT}{head}/separable_conv2d_{number}",
            f"{ROOT}{head}/conv2d_{number + 1}",
        )
        named[f"{separable}/separable_conv2d/ReadVariableOp"] = (3, 3, 24, 1)
        named[f"{separable}/separable_conv2d/ReadVariableOp_1"] = (1, 1, 24, 96)
        named[f"{separable}/BiasAdd/ReadVariableOp"] = (96,)
        named[f"{last}/Conv2D/ReadVariableOp"] = (1, 1, 96, out)
        named[f"{last}/BiasAdd/ReadVariableOp"] = (out,)
    return named


def write_movenet(folder, shapes):
    random = np.random.default_rng(0)
    weights, listed, data = {}, [], b""
    for name, shape in shapes.items():
        fan_in = max(int(np.prod(shape[:-1])), 1)
        weights[name] = random.normal(0, fan_in**-0.5, shape).astype(np.float16)
        listed.append({"name": name, "dtype": "float16", "shape": shape})
        data += weights[name].tobytes()
    path = folder / "movenet-multipose.json"
    path.write_text(json.dumps({"weightsManifest": [{"weights": listed}]}))
    path.with_suffix(".bin").write_bytes(data)
    return path, weights


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    path, weights = write_movenet(tmp_path_factory.mktemp("movenet"), movenet_shapes())
    backbone = MobileNetV2(MOVENET_BACKBONE).eval()
    load_backbone(str(path), backbone)
    return backbone, weights


def test_layers_compute_what_tensorflow_computes(loaded):
    backbone, weights = loaded
    images = torch.rand(1, 3, 32, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    kernel = weights[PREFIX + "model/Conv1/Conv2D_weights"].astype(np.float64)
    bias = weights[PREFIX + "model/Conv1/Conv2D_bn_offset"].astype(np.float64)
    # Stride 2 with padding "SAME": the window of output 3, 5 starts at row 6, column 10.
    window = images[0, :, 6:9, 10:13].permute(1, 2, 0).double().numpy()
    expected = np.clip(np.einsum("hwc,hwcd->d", window, kernel) + bias, 0, 6)
    with torch.no_grad():
        found = backbone.features[0](images)[0, :, 3, 5]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_feature_maps_hold_stages_and_pyramid(loaded):
    backbone, _ = loaded
    with torch.no_grad():
        fine, coarse = backbone(torch.rand(1, 3, 64, 96))
    assert fine.shape == (1, 96 + 144 + 32 + 24 * 4 + 24 * 16, 4, 6)
    assert coarse.shape == (1, 480 + 64, 2, 3)
    assert backbone.feature_channels == [fine.shape[1], coarse.shape[1]]


def test_other_models_are_refused(tmp_path):
    shapes = movenet_shapes()
    del shapes[PREFIX + "conv2d/BiasAdd/ReadVariableOp"]
    path, _ = write_movenet(tmp_path, shapes)
    with pytest.raises(CheckpointError, match="not MoveNet multipose.*conv2d/BiasAdd"):
        load_backbone(str(path), MobileNetV2(MOVENET_BACKBONE))
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_backbone(str(tmp_path / "missing.json"), MobileNetV2(MOVENET_BACKBONE))


def test_frozen_backbone_equals_the_backbone_also_in_copies_and_after_loading(loaded):
    backbone, _ = loaded
    names = set(backbone.state_dict())
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = backbone(images)
    frozen = FrozenBackbone(copy.deepcopy(backbone))
    other = copy.deepcopy(FrozenBackbone(MobileNetV2(MOVENET_BACKBONE).eval()))
    assert not torch.allclose(other(images)[0], expected[0], atol=1e-3)
    torch.nn.Sequential(other).load_state_dict(
        {f"0.{name}": tensor for name, tensor in frozen.state_dict().items()}
    )
    for each in (frozen, other):
        assert set(each.state_dict()) == names
        assert not any(parameter.requires_grad for parameter in each.parameters())
        for found, wanted in zip(each(images), expected, strict=True):
            torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_a_partly_frozen_backbone_trains_its_last_stages_only(loaded):
    backbone = copy.deepcopy(loaded[0])
    names = set(backbone.state_dict())
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = backbone(images)
    partly = PartlyFrozenBackbone(backbone, 3)
    found = partly(images)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)
    assert set(partly.state_dict()) == names
    sum(one.sum() for one in found).backward()
    trained = {name for name, p in partly.named_parameters() if p.grad is not None}
    assert trained == {name for name, p in partly.named_parameters() if p.requires_grad} - {
        name for name in names if name.startswith("keypoints.")
    }
    assert not any(name.startswith(("features.0.", "features.6.")) for name in trained)
    assert any(name.startswith("features.7.") for name in trained)
    assert "pyramid.last.weight" in trained


def test_a_teacher_continues_from_the_stages_that_are_known(loaded):
    backbone = copy.deepcopy(loaded[0])
    teacher = FrozenBackbone(copy.deepcopy(backbone))
    partly = PartlyFrozenBackbone(backbone, 3)
    images = torch.rand(2, 3, 64, 64)
    partly(images)
    whole, continued = (teacher.keypoint_maps(images, known) for known in ((), partly.known))
    torch.testing.assert_close(continued.heat_logits, whole.heat_logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(continued.offsets, whole.offsets, atol=1e-4, rtol=1e-4)
