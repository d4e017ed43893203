"""Bounds on the sizes in the network config of a weight file.

A network is built from its config before its tensors are compared, and absurd sizes would take
hours or all memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..network.config import AiOSConfig

MAX_LAYERS = 200
"""Of a part of the network; the paper's network has 6, and 23 blocks in a stage of ResNet-101."""
MAX_SIZE = 16_384
"""Of everything else, such as channels, people and the sides of the input."""


def find_absurd_size(config: AiOSConfig) -> str:
    """First size of a config above the bounds, as a phrase; else empty."""
    for path, value in _integers(config.to_dict()):
        limit = MAX_LAYERS if path.endswith("_layers") or "depths" in path else MAX_SIZE
        if abs(value) > limit:
            return f"its network config has {path}={value}, above {limit}"
    return ""


def _integers(value: Any, path: str = "") -> Iterator[tuple[str, int]]:  # noqa: ANN401
    """Every integer of JSON-like values, with its path."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _integers(part, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _integers(part, f"{path}.{number}")
    elif isinstance(value, int) and not isinstance(value, bool):
        yield path, value
