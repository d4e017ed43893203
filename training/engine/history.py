"""Record of a run and of the runs that it continues, for the manifest of exported weights."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from aios.network.config_dict import config_to_dict

from .checkpointing import load_newest
from .train_config import TrainConfig

_PATHS = (
    *("start", "backbone", "data.real", "data.cache", "data.annotated", "data.annotated_images"),
    *("data.mocap.folder", "photos.root"),
)
_UNINTERESTING = ("model.", "threads", "data.workers", "log_every", "preview_every")


def flattened(plain: dict, prefix: str = "") -> dict[str, Any]:
    """Flatten a nested dictionary; keys are joined by dots."""
    found: dict[str, Any] = {}
    for name, value in plain.items():
        key = f"{prefix}{name}"
        found |= flattened(value, f"{key}.") if isinstance(value, dict) else {key: value}
    return found


def origin(config: TrainConfig) -> dict[str, Any]:
    """Describe where a new run starts, as plain values.

    Returns:
        "runs": records of the runs that `config.start` continues, oldest first; "files": name ->
        SHA-256 of the weights files among `start` and `backbone`.
    """
    runs: list[dict[str, Any]] = []
    files: dict[str, str] = {}
    for source in (config.start, config.backbone):
        if not source:
            continue
        path = Path(source).expanduser()
        if path.is_dir():
            state = load_newest(path)
            runs += [*state["origin"]["runs"], run_record(state)]
        else:
            # A TensorFlow.js model keeps its weights beside the graph.
            weights = path.with_suffix(".bin") if path.suffix == ".json" else path
            files[weights.name] = hashlib.sha256(weights.read_bytes()).hexdigest()
    return {"runs": runs, "files": files}


def run_record(state: dict[str, Any]) -> dict[str, Any]:
    """Describe the run of a checkpoint.

    Returns:
        "steps", "minutes", "images", "processes", "files" (see `origin`), and "settings": those
        that differ from the defaults of `TrainConfig`, with the names of files instead of paths.
    """
    defaults = flattened(config_to_dict(TrainConfig()))
    settings = {
        name: Path(value).name if name in _PATHS and value else value
        for name, value in flattened(json.loads(state["config"])).items()
        if defaults.get(name) != value and not name.startswith(_UNINTERESTING)
    }
    return {
        "steps": state["step"],
        "minutes": round(state["seconds"] / 60, 1),
        "images": state["images"],
        "processes": state["processes"],
        "files": state["origin"]["files"],
        "settings": settings,
    }
