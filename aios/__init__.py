"""AiOS: everyone in a photo as a posed whole-body mesh, in one stage.

from aios import AiOSPredictor
prediction = AiOSPredictor.from_pretrained().predict("photo.jpg")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .body.model import BodyModel, BodyModelError
    from .geometry.camera import Camera
    from .media.photo import PhotoError, read_photo
    from .network.config import BUILTIN_CONFIG, AiOSConfig, ConfigError
    from .network.model import AiOS
    from .network.outputs import AiOSOutput
    from .people import People
    from .prediction import Candidates, Prediction
    from .predictor import AiOSPredictor
    from .weights.checkpoint import CheckpointError
    from .weights.load import WeightsInfo, load_model

__version__ = "0.1.0"

_HOME = {
    "AiOS": "network.model",
    "AiOSConfig": "network.config",
    "AiOSOutput": "network.outputs",
    "AiOSPredictor": "predictor",
    "BUILTIN_CONFIG": "network.config",
    "BodyModel": "body.model",
    "BodyModelError": "body.model",
    "Camera": "geometry.camera",
    "Candidates": "prediction",
    "CheckpointError": "weights.checkpoint",
    "ConfigError": "network.config",
    "People": "people",
    "PhotoError": "media.photo",
    "Prediction": "prediction",
    "WeightsInfo": "weights.load",
    "load_model": "weights.load",
    "read_photo": "media.photo",
}

__all__ = [
    "BUILTIN_CONFIG",
    "AiOS",
    "AiOSConfig",
    "AiOSOutput",
    "AiOSPredictor",
    "BodyModel",
    "BodyModelError",
    "Camera",
    "Candidates",
    "CheckpointError",
    "ConfigError",
    "People",
    "PhotoError",
    "Prediction",
    "WeightsInfo",
    "load_model",
    "read_photo",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: importing torch takes seconds."""
    if name not in _HOME:
        raise AttributeError(f"module 'aios' has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
