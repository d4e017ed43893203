"""Run a TensorFlow.js graph model with TensorFlow.

Fused operations that TensorFlow lacks, such as a depthwise convolution with bias and activation,
are split.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ..tensorflow_js import Node, read_model

# oneDNN crashes on one of the models (TensorFlow 2.21).
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_FUSED = {"_FusedConv2D": "Conv2D", "FusedDepthwiseConv2dNative": "DepthwiseConv2dNative"}
_CONVOLUTION = ("T", "strides", "padding", "data_format", "dilations", "explicit_paddings")


class GraphModel:
    """A callable model.

    Attributes:
        outputs: names of the outputs, in the order in which a call returns them.
    """

    def __init__(self, path: Path) -> None:
        """Load `path` with the suffixes `.json` and `.bin`.

        Raises:
            ModuleNotFoundError: TensorFlow is not installed.
            ValueError: an operation cannot be split.
        """
        import tensorflow as tf
        from google.protobuf import json_format
        from tensorflow.core.framework import graph_pb2

        model, weights = read_model(path)
        graph = graph_pb2.GraphDef()
        for node in _plain_nodes(model["modelTopology"]["node"]):
            stored = graph.node.add()
            if node["op"] == "Const" and node["name"] in weights:
                value = weights[node["name"]]
                stored.name, stored.op = node["name"], "Const"
                stored.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
                stored.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
            else:
                json_format.ParseDict(node, stored, ignore_unknown_fields=True)
        wrapped = tf.compat.v1.wrap_function(
            lambda: tf.compat.v1.import_graph_def(graph, name=""), []
        )
        signature = model.get("signature") or model["userDefinedMetadata"]["signature"]
        tensors = [
            [wrapped.graph.get_tensor_by_name(each["name"]) for each in signature[side].values()]
            for side in ("inputs", "outputs")
        ]
        self.outputs = tuple(signature["outputs"])
        self._run = wrapped.prune(*tensors)
        self._dtype = tensors[0][0].dtype.as_numpy_dtype
        self._constant = tf.constant

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Run on images (B, H, W, 3) with pixels in the range of the model."""
        results = self._run(self._constant(images.astype(self._dtype)))
        return {name: result.numpy() for name, result in zip(self.outputs, results, strict=True)}


def _plain_nodes(nodes: Iterable[Node]) -> Iterator[Node]:
    """Nodes with fused operations split."""
    for node in nodes:
        if node["op"] in _FUSED:
            yield from _unfused(node)
        elif node["op"] == "Prelu":
            yield from _prelu(node["name"], *node["input"][:2])
        else:
            yield node


def _unfused(node: Node) -> Iterator[Node]:
    attributes, kind = node["attr"], {"T": node["attr"]["T"]}
    steps = [base64.b64decode(step).decode() for step in attributes["fused_ops"]["list"]["s"]]
    inputs, extra = node["input"][:2], list(node["input"][2:])
    current = f"{node['name']}/convolution"
    kept = {key: attributes[key] for key in _CONVOLUTION if key in attributes}
    yield {"name": current, "op": _FUSED[node["op"]], "input": inputs, "attr": kept}
    for number, step in enumerate(steps):
        name = node["name"] if number == len(steps) - 1 else f"{current}_{number}"
        if step == "BiasAdd":
            yield {"name": name, "op": step, "input": [current, extra.pop(0)], "attr": kind}
        elif step in ("Relu", "Relu6", "Elu"):
            yield {"name": name, "op": step, "input": [current], "attr": kind}
        elif step == "Prelu":
            yield from _prelu(name, current, extra.pop(0))
        else:
            raise ValueError(f"The fused operation {step!r} of {node['name']} is not known.")
        current = name


def _prelu(name: str, x: str, slope: str) -> Iterator[Node]:
    """relu(x) - slope * relu(-x)."""
    kind = {"T": {"type": "DT_FLOAT"}}
    parts = {part: f"{name}/{part}" for part in ("positive", "negated", "negative", "scaled")}
    yield {"name": parts["positive"], "op": "Relu", "input": [x], "attr": kind}
    yield {"name": parts["negated"], "op": "Neg", "input": [x], "attr": kind}
    yield {"name": parts["negative"], "op": "Relu", "input": [parts["negated"]], "attr": kind}
    yield {"name": parts["scaled"], "op": "Mul", "input": [parts["negative"], slope], "attr": kind}
    yield {"name": name, "op": "Sub", "input": [parts["positive"], parts["scaled"]], "attr": kind}
