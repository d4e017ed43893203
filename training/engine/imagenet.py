"""The backbone's start from a classifier of ImageNet: a file in the layout of torchvision.

The packages of torchvision and others carry such weights; nothing else of them is needed here.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from aios.weights.checkpoint import CheckpointError, load_strictly, unpickle

logger = logging.getLogger(__name__)

_CLASSIFIER = re.compile(r"(fc|classifier|features\.18)\..*")
"""What comes after the last stage: of a ResNet, and of a MobileNetV2."""
_COUNTER = ".num_batches_tracked"
_PARALLEL = "module."
_FLAT = re.compile(r"features\.(\d+)\.conv\.(\d+)\.([a-z_]+)")
_EXPANDED = {0: "0.0", 1: "0.1", 3: "1.0", 4: "1.1", 6: "2", 7: "3"}
_NOT_EXPANDED = {0: "0.0", 1: "0.1", 3: "1", 4: "2"}
"""Places in an inverted residual without inner groups, as the first published weights have it, to
those of torchvision; the first residual does not expand."""


def load_backbone(source: str, backbone: nn.Module) -> None:
    """Put a classifier's weights into a network's backbone, in place; on any error nothing changes.

    Args:
        source: a `.pth` that holds the state dict of a ResNet or a MobileNetV2, under the names of
            torchvision or, the latter, without inner groups (features.2.conv.6.weight).
        backbone: of the same kind and sizes, with frozen batch norm.

    Raises:
        CheckpointError: no such file, or it does not fit the backbone.
    """
    path = Path(source).expanduser()
    content = unpickle(path)
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(f"{path} is no classifier: it does not hold tensors by name alone.")
    names = {name.removeprefix(_PARALLEL): tensor for name, tensor in content.items()}
    kept = {
        name: tensor
        for name, tensor in names.items()
        if not _CLASSIFIER.fullmatch(name) and not name.endswith(_COUNTER)
    }
    load_strictly(backbone, _grouped(kept), path)
    logger.info("the backbone starts from the classifier %s", path)


def _grouped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same under the names of torchvision."""
    if "features.1.conv.0.weight" not in state:
        return dict(state)
    grouped = {}
    for name, tensor in state.items():
        if match := _FLAT.fullmatch(name):
            places = _NOT_EXPANDED if match[1] == "1" else _EXPANDED
            place = places.get(int(match[2]), match[2])
            name = f"features.{match[1]}.conv.{place}.{match[3]}"
        grouped[name] = tensor
    return grouped
