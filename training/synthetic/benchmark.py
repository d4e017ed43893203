"""The synthetic test set: fixed, seeded scenes in three parts.

A scene is defined by `BENCHMARK_VERSION`, its part and its index. Its seed, textures and pose clips
are never used in training: seeds from `TEST_SEED` on have their own. Test poses are procedural
only; motion capture (`mocap.py`) is used in training alone, so test images do not depend on
whether packs are installed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from .generator import TEST_SEED, SceneGenerator, SyntheticScene
from .surface import BodySurface

BENCHMARK_VERSION = 1
"""Increased whenever a scene of the test set changes; scores of two versions are not comparable."""
BENCHMARK_SIZE_HW = (360, 480)
"""Image size, pixels."""
_SEEDS_APART = 10_000


@dataclass(frozen=True)
class BenchmarkPart:
    """One part of the test set."""

    scenes: int
    """Number of scenes."""
    people: tuple[int, int]
    """Least and most people per scene; some can be hidden or outside the image."""


BENCHMARK_PARTS = {
    "single": BenchmarkPart(200, (1, 1)),
    "group": BenchmarkPart(200, (2, 4)),
    "crowd": BenchmarkPart(200, (5, 16)),
}
"""Single person; group; crowd with occlusion."""


def benchmark_scene(part: str, index: int, seed: int = 0) -> SyntheticScene:
    """Generate one scene of the test set.

    Args:
        part: a key of `BENCHMARK_PARTS`.
        index: 0 to `BENCHMARK_PARTS[part].scenes` - 1.
        seed: 1 or more for other scenes of the same kind.

    Raises:
        ValueError: the part or the scene does not exist.
    """
    if part not in BENCHMARK_PARTS:
        raise ValueError(f"Unknown part {part!r}; use one of {', '.join(BENCHMARK_PARTS)}.")
    if not 0 <= index < BENCHMARK_PARTS[part].scenes:
        raise ValueError(f"Part {part!r} has scenes 0 to {BENCHMARK_PARTS[part].scenes - 1}.")
    return _generator(part, seed).generate(index)


@lru_cache(maxsize=len(BENCHMARK_PARTS))
def _generator(part: str, seed: int) -> SceneGenerator:
    own = TEST_SEED + 1 + list(BENCHMARK_PARTS).index(part) + seed * _SEEDS_APART
    people = BENCHMARK_PARTS[part].people
    return SceneGenerator(BENCHMARK_SIZE_HW, _body(), own, people=people, uniform_counts=True)


@lru_cache(maxsize=1)
def _body() -> BodySurface:
    return BodySurface()
