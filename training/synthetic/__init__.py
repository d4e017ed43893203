"""Labelled pictures of stand-in people, drawn as they are asked for."""

from .backgrounds import load_backgrounds
from .benchmark import BENCHMARK_PARTS, BENCHMARK_SIZE_HW, BENCHMARK_VERSION, benchmark_scene
from .scenes import TEST_SEED, TRAIN_SEED, Scene, SceneGenerator
from .surface import BodySurface

__all__ = [
    "BENCHMARK_PARTS",
    "BENCHMARK_SIZE_HW",
    "BENCHMARK_VERSION",
    "TEST_SEED",
    "TRAIN_SEED",
    "BodySurface",
    "Scene",
    "SceneGenerator",
    "benchmark_scene",
    "load_backgrounds",
]
