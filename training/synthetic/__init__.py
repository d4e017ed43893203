"""Labelled pictures of stand-in people, drawn as they are asked for."""

from .backgrounds import load_backgrounds
from .scenes import TEST_SEED, TRAIN_SEED, Scene, SceneGenerator
from .surface import BodySurface

__all__ = [
    "TEST_SEED",
    "TRAIN_SEED",
    "BodySurface",
    "Scene",
    "SceneGenerator",
    "load_backgrounds",
]
