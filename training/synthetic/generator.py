"""Generator of single scenes as numpy images, on top of `SceneBatchGenerator`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..targets import Targets
from .batch_generator import MAX_PEOPLE, TEST_SEED, TRAIN_SEED, SceneBatchGenerator, stack_photos
from .mocap import MocapLibrary
from .surface import BodySurface

__all__ = ["TEST_SEED", "TRAIN_SEED", "SceneGenerator", "SyntheticScene"]


@dataclass(frozen=True)
class SyntheticScene:
    """One labelled image.

    Attributes:
        image: (H, W, 3) uint8 RGB 0-255.
        targets: labels of the people.
        owner: (H, W) int64 person at each pixel, -1 for an object, -2 for the background. Person
            indices include people who are not visible enough to be in `targets`.
    """

    image: np.ndarray
    targets: Targets
    owner: np.ndarray


class SceneGenerator:
    """Generates labelled scenes; each depends only on the seed and its index.

    Args:
        size_hw: image size, pixels.
        body: the stand-in body.
        seed: `TRAIN_SEED`, or `TEST_SEED` and above for tests; scenes of different seeds are
            independent.
        backgrounds: RGB uint8 HWC photos without people; None uses procedural backgrounds only.
        people: least and most people per scene, within 0 to 20.
        uniform_counts: sample all numbers of people with equal probability.
        mocap: motion-capture poses for a share of the people; not for test seeds.
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
        mocap: MocapLibrary | None = None,
    ) -> None:
        """Build the batch generator; raises ValueError on wrong arguments."""
        photos = stack_photos(backgrounds or ())
        self._batches = SceneBatchGenerator(
            size_hw, body, seed, photos, people, uniform_counts=uniform_counts, mocap=mocap
        )

    def generate(self, index: int) -> SyntheticScene:
        """Generate the scene with this index."""
        return self.generate_many([index])[0]

    def generate_many(self, indices: Sequence[int]) -> list[SyntheticScene]:
        """Generate scenes in one batch: the same scenes as one by one, faster."""
        scenes = self._batches.generate(indices)
        images = scenes.images.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        first = [int((scenes.scene_index < k).sum()) for k in range(len(scenes))]
        results = []
        for k, image in enumerate(images):
            owner = scenes.owner[k]
            owner = torch.where(owner >= 0, owner - first[k], owner)
            results.append(
                SyntheticScene(image, scenes.targets_of(k).to("cpu"), owner.cpu().numpy())
            )
        return results
