"""MakeHuman macro targets: bodies by gender, age, muscle, weight, height and origin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .source import Source

ORIGINS = ("african", "asian", "caucasian")
_AGES = (("baby", 0.0), ("child", 0.1875), ("young", 0.5), ("old", 1.0))
_MUSCLES = (("minmuscle", 0.0), ("averagemuscle", 0.5), ("maxmuscle", 1.0))
_WEIGHTS = (("minweight", 0.0), ("averageweight", 0.5), ("maxweight", 1.0))
_HEIGHTS = (("minheight", 0.0), ("", 0.5), ("maxheight", 1.0))
_PROPORTIONS = (("uncommonproportions", 0.0), ("", 0.5), ("idealproportions", 1.0))
_SMALLEST = 1e-6


@dataclass(frozen=True)
class Phenotype:
    """MakeHuman sliders, 0-1: gender 0 is female, age 0.5 a young adult, age 1 old."""

    gender: float
    age: float
    muscle: float
    weight: float
    height: float
    proportions: float
    origins: tuple[float, float, float]
    """Shares of `ORIGINS`; they sum to 1."""

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Phenotype:
        """Sample an adult."""
        origins = tuple(float(x) for x in rng.dirichlet([1, 1, 1]))

        def slider(mean: float, spread: float, low: float = 0.0, high: float = 1.0) -> float:
            return float(np.clip(rng.normal(mean, spread), low, high))

        return cls(
            gender=float(rng.choice([0.0, 1.0, rng.uniform()])),
            age=slider(0.6, 0.1, 0.45, 0.95),
            muscle=slider(0.5, 0.22),
            weight=slider(0.52, 0.22),
            height=slider(0.5, 0.09, 0.2, 0.8),
            proportions=slider(0.5, 0.25),
            origins=origins,
        )

    def target_weights(self) -> dict[str, float]:
        """Weight of each macro target."""
        found: dict[str, float] = {}
        ages = _between(self.age, _AGES)
        builds = [
            (f"{muscle}-{weight}", a * b)
            for muscle, a in _between(self.muscle, _MUSCLES)
            for weight, b in _between(self.weight, _WEIGHTS)
        ]
        for gender, gender_share in (("female", 1 - self.gender), ("male", self.gender)):
            for age, age_share in ages:
                share = gender_share * age_share
                for origin, part in zip(ORIGINS, self.origins, strict=True):
                    found[f"{origin}-{gender}-{age}"] = share * part
                for build, part in builds:
                    found |= self._of_build(f"{gender}-{age}-{build}", share * part)
        return {name: weight for name, weight in found.items() if weight > _SMALLEST}

    def _of_build(self, name: str, share: float) -> dict[str, float]:
        found = {f"universal-{name}": share}
        for height, part in _between(self.height, _HEIGHTS):
            found[f"height/{name}-{height}"] = share * part * bool(height)
        for proportions, part in _between(self.proportions, _PROPORTIONS):
            found[f"proportions/{name}-{proportions}"] = share * part * bool(proportions)
        return found


def _between(value: float, knots: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """The two neighbouring knots of `value` with their linear interpolation weights."""
    for (low, start), (high, end) in zip(knots, knots[1:], strict=False):
        if start <= value <= end:
            share = (value - start) / (end - start)
            return [(low, 1 - share), (high, share)]
    raise ValueError(f"{value} is not within {knots[0][1]} to {knots[-1][1]}")


def displacements(source: Source, people: Sequence[Phenotype]) -> np.ndarray:
    """Displacements (P, N, 3) of the base mesh for each person, metres.

    Targets that MakeHuman does not ship are zero.
    """
    weights = [person.target_weights() for person in people]
    names = sorted({name for person in weights for name in person})
    paths = {name: f"macrodetails/{name}.target.gz" for name in names}
    names = [name for name in names if source.has("targets/" + paths[name])]
    targets = np.stack([source.target(paths[name]).reshape(-1) for name in names])
    matrix = np.array([[person.get(name, 0.0) for name in names] for person in weights])
    return (matrix @ targets).reshape(len(people), -1, 3)
