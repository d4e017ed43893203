"""Scenes one at a time, as pictures in memory: a thin view of `SceneBatchGenerator`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..targets import Targets
from .batch_generator import MAX_PEOPLE, TEST_SEED, TRAIN_SEED, SceneBatchGenerator, stack_photos
from .surface import BodySurface

__all__ = ["TEST_SEED", "TRAIN_SEED", "SceneGenerator", "SyntheticScene"]


@dataclass(frozen=True)
class SyntheticScene:
    """One labelled picture.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        targets: who is in it.
        owner: (H, W) int64 person drawn at each pixel (before any is dropped from the targets),
            -1 for a thing, -2 for the background.
    """

    image: np.ndarray
    targets: Targets
    owner: np.ndarray


class SceneGenerator:
    """Labelled scenes; each depends on the seed and its number alone.

    Args:
        size_hw: pixels of the pictures.
        body: the stand-in body.
        seed: `TRAIN_SEED`, or from `TEST_SEED` on for tests; different seeds share nothing.
        backgrounds: RGB uint8 photographs with nobody in them, or none for invented ones only.
        people: fewest and most people of a scene, within 0 to 20.
        uniform_counts: every number of people is as likely; otherwise small ones are likelier.
    """

    def __init__(
        self,
        size_hw: tuple[int, int],
        body: BodySurface,
        seed: int,
        backgrounds: Sequence[np.ndarray] | None = None,
        people: tuple[int, int] = (0, MAX_PEOPLE),
        *,
        uniform_counts: bool = False,
    ) -> None:
        """Keep what all scenes share; raises ValueError if `people` is out of range."""
        photos = stack_photos(backgrounds or ())
        self._batches = SceneBatchGenerator(
            size_hw, body, seed, photos, people, uniform_counts=uniform_counts
        )

    def generate(self, index: int) -> SyntheticScene:
        """The scene with this number."""
        return self.generate_many([index])[0]

    def generate_many(self, indices: Sequence[int]) -> list[SyntheticScene]:
        """The scenes with these numbers, drawn together: the same as one by one, in less time."""
        scenes = self._batches.generate(indices)
        pictures = scenes.pictures.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        first = [int((scenes.scene_index < k).sum()) for k in range(len(scenes))]
        answer = []
        for k, image in enumerate(pictures):
            owner = scenes.owner[k]
            owner = torch.where(owner >= 0, owner - first[k], owner)
            answer.append(
                SyntheticScene(image, scenes.targets_of(k).to("cpu"), owner.cpu().numpy())
            )
        return answer
