"""The synthetic test set: a fixed number of seeded scenes in three parts, the same for everyone.

Scene `index` of a part is defined by `BENCHMARK_VERSION`, the part and the index alone. Its seed,
its textures and its pose clips are never used in training: seeds from `TEST_SEED`
on have their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from .generator import TEST_SEED, SceneGenerator, SyntheticScene
from .surface import BodySurface

BENCHMARK_VERSION = 1
"""Raised whenever any scene of the test set changes: figures of two versions do not compare."""
BENCHMARK_SIZE_HW = (360, 480)
"""Pixels of every test picture."""


@dataclass(frozen=True)
class BenchmarkPart:
    """One part of the test set."""

    scenes: int
    """How many there are."""
    people: tuple[int, int]
    """Fewest and most people that are drawn (some may turn out hidden or outside)."""


BENCHMARK_PARTS = {
    "single": BenchmarkPart(200, (1, 1)),
    "group": BenchmarkPart(200, (2, 4)),
    "crowd": BenchmarkPart(200, (5, 16)),
}
"""Single person; group; crowd with occlusion."""


def benchmark_scene(part: str, index: int) -> SyntheticScene:
    """One scene of the test set.

    Args:
        part: a key of `BENCHMARK_PARTS`.
        index: 0 up to the number of scenes of the part.

    Raises:
        ValueError: if there is no such part or no such scene.
    """
    if part not in BENCHMARK_PARTS:
        raise ValueError(f"There is no part {part!r}, only {', '.join(BENCHMARK_PARTS)}.")
    if not 0 <= index < BENCHMARK_PARTS[part].scenes:
        raise ValueError(f"Part {part!r} has scenes 0 to {BENCHMARK_PARTS[part].scenes - 1}.")
    return _generator(part).generate(index)


@lru_cache(maxsize=len(BENCHMARK_PARTS))
def _generator(part: str) -> SceneGenerator:
    seed = TEST_SEED + 1 + list(BENCHMARK_PARTS).index(part)
    people = BENCHMARK_PARTS[part].people
    return SceneGenerator(BENCHMARK_SIZE_HW, _body(), seed, people=people, uniform_counts=True)


@lru_cache(maxsize=1)
def _body() -> BodySurface:
    return BodySurface()
