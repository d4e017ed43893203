"""Checkpoints of a run: atomic writes, the newest ones kept, averaged weights read back."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aios.network.config import AiOSConfig
from aios.network.model import AiOS
from aios.weights.checkpoint import CheckpointError

from .batch_norm import without_counters

_PATTERN = re.compile(r"step_(\d+)\.pt")
KEPT = 3
_REASON_LETTERS = 120


def write_atomically(path: Path, state: dict[str, Any]) -> None:
    """Write `state` to `path` completely or not at all.

    Raises:
        CheckpointError: it cannot be written, for example because the disk is full.
    """
    temporary = path.with_suffix(".tmp")
    try:
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise CheckpointError(
            f"{path} cannot be written ({_reason(error)}): free disk space and run the same command"
            " again; earlier checkpoints are complete"
        ) from error


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoint files in `folder`, oldest first."""
    found = [(int(m[1]), path) for path in folder.glob("*.pt") if (m := _PATTERN.match(path.name))]
    return [path for _, path in sorted(found)]


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write the checkpoint of `step` and delete all but the newest `KEPT`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step_{step:07d}.pt"
    write_atomically(path, state)
    for old in checkpoints(folder)[:-KEPT]:
        old.unlink()
    return path


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of tensors and plain values.

    Raises:
        CheckpointError: the file is damaged; the message names the checkpoint before it.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError as error:
        raise CheckpointError(f"there is not enough memory to read {path}") from error
    except Exception as error:  # a damaged pickle can raise nearly any exception
        raise CheckpointError(damaged_text(path, _reason(error))) from error
    if not isinstance(state, dict):
        raise CheckpointError(damaged_text(path, "no dictionary"))
    return state


def damaged_text(path: Path, reason: str) -> str:
    """Message for a damaged checkpoint, with the one before it."""
    earlier = [other.name for other in checkpoints(path.parent) if other.name < path.name]
    then = f"resume from {earlier[-1]}" if earlier else "start again"
    return f"{path} is not a checkpoint of a training run ({reason}): delete it to {then}"


def _reason(error: Exception) -> str:
    """First line of an error; PyTorch's messages have pages."""
    text = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
    return text.splitlines()[0].split(". ")[0][:_REASON_LETTERS].rstrip(".")


def load_newest(run: Path) -> dict[str, Any]:
    """Read the newest checkpoint in the folder of a run.

    Raises:
        CheckpointError: there is no checkpoint, or it is damaged.
    """
    found = checkpoints(run)
    if not found:
        raise CheckpointError(f"{run} does not hold a checkpoint of a training run")
    return load_checkpoint(found[-1])


def averaged_weights(state: dict[str, Any], run: Path) -> tuple[AiOSConfig, dict[str, Tensor]]:
    """Network config and averaged weights in a checkpoint, under the network's own names.

    Args:
        state: the checkpoint.
        run: folder of the run, for messages.

    Raises:
        CheckpointError: the tensors do not fit the config.
    """
    config = AiOSConfig.from_dict(json.loads(state["config"])["model"])
    weights = without_counters(state["average"]["state"])
    other = set(AiOS(config).state_dict()) ^ set(weights)
    if other:
        raise CheckpointError(f"{run} does not hold the network's tensors: {min(other)}")
    return config, weights
