"""Weights of TensorFlow.js graph models, without TensorFlow.

A model is `NAME.json` (graph and list of weights) and `NAME.bin` (the weights, possibly quantised).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

Node = dict[str, Any]


def read_model(path: Path) -> tuple[Node, dict[str, np.ndarray]]:
    """Read `path` with the suffixes `.json` and `.bin`.

    Returns:
        The content of the `.json` file, and the weights by name, dequantised.

    Raises:
        ValueError: the weights do not fit their list.
        OSError: a file cannot be read.
    """
    model = json.loads(path.with_suffix(".json").read_text("utf-8"))
    return model, _weights(model["weightsManifest"], path.with_suffix(".bin").read_bytes())


def _weights(manifest: Iterable[Node], data: bytes) -> dict[str, np.ndarray]:
    found, offset = {}, 0
    for entry in (entry for group in manifest for entry in group["weights"]):
        dtype, quantisation = np.dtype(entry["dtype"]), entry.get("quantization")
        stored = np.dtype(quantisation["dtype"]) if quantisation else dtype
        count = int(np.prod(entry["shape"], dtype=np.int64))
        if offset + count * stored.itemsize > len(data):
            raise ValueError(f"The weights have {len(data)} bytes, the list names more.")
        values = np.frombuffer(data, stored, count, offset).reshape(entry["shape"])
        offset += count * stored.itemsize
        if quantisation and "scale" in quantisation:
            values = values * quantisation["scale"] + quantisation["min"]
        found[entry["name"]] = values.astype(dtype)
    if offset != len(data):
        raise ValueError(f"The weights have {len(data)} bytes, the list names {offset}.")
    return found
