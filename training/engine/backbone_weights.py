"""Backbone weights from an ImageNet classifier in the layout of torchvision, or from MoveNet."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from aios.weights.checkpoint import CheckpointError, load_strictly, unpickle

from .movenet import read_movenet

logger = logging.getLogger(__name__)

_CLASSIFIER = re.compile(r"(fc|classifier|features\.18)\..*")
"""Layers after the last stage of a ResNet or a MobileNetV2."""
_COUNTER = ".num_batches_tracked"
_PARALLEL = "module."
_FLAT = re.compile(r"features\.(\d+)\.conv\.(\d+)\.([a-z_]+)")
_EXPANDED = {0: "0.0", 1: "0.1", 3: "1.0", 4: "1.1", 6: "2", 7: "3"}
_NOT_EXPANDED = {0: "0.0", 1: "0.1", 3: "1", 4: "2"}
"""Index of a layer in an inverted residual without inner groups, as in early MobileNetV2 files ->
its name in torchvision; the first residual has no expansion."""


def load_backbone(source: str, backbone: nn.Module) -> None:
    """Load weights into a backbone, in place; on an error nothing changes.

    Args:
        source: `.pth` file with the state dict of a ResNet or MobileNetV2 classifier under
            torchvision's names; a MobileNetV2 may lack inner groups (features.2.conv.6.weight).
            Or `movenet-multipose.json`, see `read_movenet`.
        backbone: same architecture and sizes, with frozen batch norm.

    Raises:
        CheckpointError: the file is missing or does not fit the backbone.
    """
    path = Path(source).expanduser()
    state = read_movenet(path) if path.suffix == ".json" else _read_classifier(path)
    load_strictly(backbone, state, path)
    logger.info("the backbone starts from %s", path)


def _read_classifier(path: Path) -> dict[str, Tensor]:
    content = unpickle(path)
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(f"{path} is not a classifier: it must hold tensors by name.")
    names = {name.removeprefix(_PARALLEL): tensor for name, tensor in content.items()}
    kept = {
        name: tensor
        for name, tensor in names.items()
        if not _CLASSIFIER.fullmatch(name) and not name.endswith(_COUNTER)
    }
    return _grouped(kept)


def _grouped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename to torchvision's names."""
    if "features.1.conv.0.weight" not in state:
        return dict(state)
    grouped = {}
    for name, tensor in state.items():
        if match := _FLAT.fullmatch(name):
            names = _NOT_EXPANDED if match[1] == "1" else _EXPANDED
            layer = names.get(int(match[2]), match[2])
            name = f"features.{match[1]}.conv.{layer}.{match[3]}"
        grouped[name] = tensor
    return grouped
