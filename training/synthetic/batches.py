"""Batches for training straight from the device that draws them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..batch import Batch
from .chance import Chance
from .surface import BodySurface
from .world import MOST_PEOPLE, Scenes, SceneWorld

_ENDLESS = 2**31


def batch_of(scenes: Scenes, focal_length: float) -> Batch:
    """A batch with pictures and targets on the device that drew them.

    Args:
        scenes: drawn.
        focal_length: pixels, of the network's camera for pictures of this size.
    """
    targets, image_index = scenes.targets()
    height, width = scenes.pictures.shape[2:]
    return Batch(
        pictures=scenes.pictures,
        sizes_hw=torch.tensor([[height, width]]).expand(len(scenes), 2),
        targets=targets,
        image_index=image_index,
        ignore_unmatched=torch.zeros(len(scenes), dtype=torch.bool, device=image_index.device),
        focal_length=focal_length,
    )


class SceneBatches(Dataset[Batch]):
    """Numbered batches of scenes; each depends on the seed and its number alone.

    Iterating keeps one batch ahead: on a GPU the next scenes are being drawn while the last ones
    are learnt from, and nothing is copied from the CPU but a few numbers.

    Args:
        body: the stand-in body; its device is where scenes are drawn.
        seed: as of `SceneWorld`.
        sizes_hw: pixels of the pictures; batches take turns by chance.
        batch_size: pictures of a batch.
        focal_per_side: the network's focal length for a short side of one pixel.
        photos: as of `SceneWorld`.
        people: as of `SceneWorld`.
    """

    def __init__(
        self,
        body: BodySurface,
        seed: int,
        *,
        sizes_hw: Sequence[tuple[int, int]],
        batch_size: int,
        focal_per_side: float,
        photos: Tensor | None = None,
        people: tuple[int, int] = (0, MOST_PEOPLE),
    ) -> None:
        """Make a world for each size."""
        if photos is not None:
            photos = photos.to(body.device)
        self._worlds = [SceneWorld(size, body, seed, photos, people) for size in sizes_hw]
        self._seed, self.batch_size = seed, batch_size
        self._focal_per_side = focal_per_side

    def __len__(self) -> int:
        """Endless."""
        return _ENDLESS

    def __getitem__(self, index: int) -> Batch:
        """Draw one batch."""
        return self._finish(self._draw(index))

    def batches(self, first: int = 0, stride: int = 1) -> Iterator[Batch]:
        """Batches `first`, `first + stride`, ... without end, drawn one ahead."""
        index = first
        ahead = self._draw(index)
        while True:
            drawn, index = ahead, index + stride
            ahead = self._draw(index)
            yield self._finish(drawn)

    def __iter__(self) -> Iterator[Batch]:
        """All batches from the first on."""
        return self.batches()

    def _draw(self, index: int) -> Scenes:
        number = len(self._worlds)
        chosen = Chance.of_scenes(self._seed, [index]).choice("size", torch.ones(number))
        start = index * self.batch_size
        return self._worlds[int(chosen)].draw(range(start, start + self.batch_size))

    def _finish(self, scenes: Scenes) -> Batch:
        short = min(scenes.pictures.shape[2:])
        return batch_of(scenes, self._focal_per_side * short)
