"""Synthetic training images: labelled scenes of the stand-in body, rendered in batches.

May import `training.targets` and `aios`. Entry points: `SceneBatchGenerator` (batches of tensors on
any device) and `SceneGenerator` (single scenes as numpy images). Every scene is a function of its
seed and index.
"""

from .background_photos import load_backgrounds
from .batch_generator import SceneBatch, SceneBatchGenerator, stack_photos
from .benchmark import BENCHMARK_PARTS, BENCHMARK_SIZE_HW, BENCHMARK_VERSION, benchmark_scene
from .generator import TEST_SEED, TRAIN_SEED, SceneGenerator, SyntheticScene
from .surface import BodySurface

__all__ = [
    "BENCHMARK_PARTS",
    "BENCHMARK_SIZE_HW",
    "BENCHMARK_VERSION",
    "TEST_SEED",
    "TRAIN_SEED",
    "BodySurface",
    "SceneBatch",
    "SceneBatchGenerator",
    "SceneGenerator",
    "SyntheticScene",
    "benchmark_scene",
    "load_backgrounds",
    "stack_photos",
]
