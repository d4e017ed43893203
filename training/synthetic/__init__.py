"""Labelled pictures of stand-in people, drawn in batches on any device as they are asked for."""

from .backgrounds import load_backgrounds
from .benchmark import BENCHMARK_PARTS, BENCHMARK_SIZE_HW, BENCHMARK_VERSION, benchmark_scene
from .scenes import TEST_SEED, TRAIN_SEED, Scene, SceneGenerator
from .surface import BodySurface
from .world import Scenes, SceneWorld, stack_photos

__all__ = [
    "BENCHMARK_PARTS",
    "BENCHMARK_SIZE_HW",
    "BENCHMARK_VERSION",
    "TEST_SEED",
    "TRAIN_SEED",
    "BodySurface",
    "Scene",
    "SceneGenerator",
    "SceneWorld",
    "Scenes",
    "benchmark_scene",
    "load_backgrounds",
    "stack_photos",
]
