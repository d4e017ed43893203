"""AiOS: everyone in a photo as a posed whole-body mesh, in one stage.

from aios import AiOSPredictor
prediction = AiOSPredictor.from_pretrained().predict("photo.jpg")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .body_model import BodyModel, BodyModelError
    from .camera import Camera
    from .checkpoint import CheckpointError
    from .config import BUILTIN_CONFIG, AiOSConfig, ConfigError
    from .model import AiOS
    from .outputs import AiOSOutput
    from .people import People
    from .photo import PhotoError, read_photo
    from .prediction import Candidates, Prediction
    from .predictor import AiOSPredictor
    from .weights import WeightsInfo, load_model

__version__ = "0.1.0"

_HOME = {
    "AiOS": "model",
    "AiOSConfig": "config",
    "AiOSOutput": "outputs",
    "AiOSPredictor": "predictor",
    "BUILTIN_CONFIG": "config",
    "BodyModel": "body_model",
    "BodyModelError": "body_model",
    "Camera": "camera",
    "Candidates": "prediction",
    "CheckpointError": "checkpoint",
    "ConfigError": "config",
    "People": "people",
    "PhotoError": "photo",
    "Prediction": "prediction",
    "WeightsInfo": "weights",
    "load_model": "weights",
    "read_photo": "photo",
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
