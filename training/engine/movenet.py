"""Backbone weights from MoveNet multipose (Google, Apache-2.0), as a TensorFlow.js graph model.

Its MobileNetV2, feature pyramid and keypoint heads are those of
`aios.network.config.MOVENET_BACKBONE`. Batch norms are folded into the convolutions; here they have
weight 1, mean 0, variance 1 - eps and the folded bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from aios.network.frozen_batch_norm import FrozenBatchNorm2d
from aios.weights.checkpoint import CheckpointError

from ..tensorflow_js import read_model

_ROOT = "StatefulPartitionedCall/"
_PREFIX = f"{_ROOT}center_net_mobile_net_v2fpn_feature_extractor/model_1/"
_EPS = FrozenBatchNorm2d(1).eps
_BLOCKS = 17
_PYRAMID_LEVELS = 3


def read_movenet(path: Path) -> dict[str, Tensor]:
    """State dict of a backbone with `MOVENET_BACKBONE`.

    Args:
        path: `movenet-multipose.json`, with `movenet-multipose.bin` beside it.

    Raises:
        CheckpointError: the files are missing or are another model.
    """
    try:
        _, weights = read_model(path)
        return _backbone_state(weights)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    except KeyError as error:
        raise CheckpointError(
            f"{path} is not MoveNet multipose: it has no tensor {error.args[0]}."
        ) from error


def _backbone_state(weights: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}

    def array(name: str) -> Tensor:
        prefix = _ROOT if name.startswith("kpt_") else _PREFIX
        return torch.from_numpy(np.array(weights[prefix + name], np.float32))

    def conv(ours: str, theirs: str) -> None:
        state[f"{ours}.weight"] = array(theirs).permute(3, 2, 0, 1).contiguous()

    def depthwise(ours: str, theirs: str) -> None:
        state[f"{ours}.weight"] = array(theirs).permute(2, 3, 0, 1).contiguous()

    def norm(ours: str, theirs: str) -> None:
        bias = array(theirs)
        state[f"{ours}.bias"] = bias
        state[f"{ours}.weight"] = torch.ones_like(bias)
        state[f"{ours}.running_mean"] = torch.zeros_like(bias)
        state[f"{ours}.running_var"] = torch.ones_like(bias) - _EPS

    conv("features.0.0", "model/Conv1/Conv2D_weights")
    norm("features.0.1", "model/Conv1/Conv2D_bn_offset")
    for block in range(_BLOCKS):
        ours = f"features.{block + 1}.conv"
        theirs = f"model/block_{block}_" if block else "model/expanded_conv_"
        layer = 0
        if block:
            conv(f"{ours}.0.0", f"{theirs}expand/Conv2D_weights")
            norm(f"{ours}.0.1", f"{theirs}expand/Conv2D_bn_offset")
            layer = 1
        depthwise(f"{ours}.{layer}.0", f"{theirs}depthwise/depthwise_weights")
        norm(f"{ours}.{layer}.1", f"{theirs}depthwise/depthwise_bn_offset")
        conv(f"{ours}.{layer + 1}", f"{theirs}project/Conv2D_weights")
        norm(f"{ours}.{layer + 2}", f"{theirs}project/Conv2D_bn_offset")
    conv("pyramid.last", "model/Conv_1/Conv2D_weights")
    state["pyramid.last.bias"] = array("model/Conv_1/Conv2D_bn_offset")
    conv("pyramid.top", "conv2d/Conv2D/ReadVariableOp")
    state["pyramid.top.bias"] = array("conv2d/BiasAdd/ReadVariableOp")
    for level in range(_PYRAMID_LEVELS):
        lateral, separable = f"pyramid.lateral.{level}", f"pyramid.separable.{level}"
        conv(lateral, f"conv2d_{level + 1}/Conv2D/ReadVariableOp")
        state[f"{lateral}.bias"] = array(f"conv2d_{level + 1}/BiasAdd/ReadVariableOp")
        theirs = f"separable_conv2d{f'_{level}' if level else ''}/separable_conv2d"
        depthwise(f"{separable}.depthwise", f"{theirs}/ReadVariableOp")
        conv(f"{separable}.pointwise", f"{theirs}_weights")
        state[f"{separable}.pointwise.bias"] = array(f"{theirs}_bn_offset")
    for head, theirs, number in (("heat", "kpt_heatmap_0", 6), ("offsets", "kpt_offset_0", 8)):
        separable, last = f"keypoints.{head}.0", f"keypoints.{head}.1"
        first = f"{theirs}/separable_conv2d_{number}"
        depthwise(f"{separable}.depthwise", f"{first}/separable_conv2d/ReadVariableOp")
        conv(f"{separable}.pointwise", f"{first}/separable_conv2d/ReadVariableOp_1")
        state[f"{separable}.pointwise.bias"] = array(f"{first}/BiasAdd/ReadVariableOp")
        conv(last, f"{theirs}/conv2d_{number + 1}/Conv2D/ReadVariableOp")
        state[f"{last}.bias"] = array(f"{theirs}/conv2d_{number + 1}/BiasAdd/ReadVariableOp")
    return state
