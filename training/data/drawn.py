"""Batches whose scenes are drawn where the network learns, beside photographs made by workers."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..batch import Batch, join_batches
from ..synthetic.batches import batch_of
from ..synthetic.surface import BodySurface
from ..synthetic.world import TRAIN_SEED, Scenes, SceneWorld
from .mixture import TrainBatches, load_batches


class DrawnBatches:
    """Batch number i of the run, as `TrainBatches`; the scenes of a batch come before its photos.

    Args:
        photos: gives the photographs of each batch, and its size; may give none.
        scenes: how many scenes a batch has.
        body: its device is where scenes are drawn and where batches are.
        backgrounds: as of `SceneWorld`.
    """

    def __init__(
        self, photos: TrainBatches, scenes: int, body: BodySurface, backgrounds: Tensor | None
    ) -> None:
        """Worlds are made as sizes come up."""
        self._photos, self._scenes, self._body = photos, scenes, body
        self._backgrounds = None if backgrounds is None else backgrounds.to(body.device)
        self._worlds: dict[tuple[int, int], SceneWorld] = {}

    def load(self, first: int, stride: int, workers: int) -> Iterator[Batch]:
        """Batches `first`, `first + stride`, ... without end.

        Scenes are drawn one batch ahead: a GPU draws the next while it learns from the last, and
        workers load photographs meanwhile.
        """
        photos: Iterator[Batch] | None = None
        if self._photos.batch_size:
            photos = load_batches(self._photos, first, stride, workers)
        index, ahead = first, self._draw(first)
        while True:
            scenes = ahead
            ahead = self._draw(index + stride)
            focal_length = self._photos.focal_length_at(self._photos.size_wh(index))
            batch = None if scenes is None else batch_of(scenes, focal_length)
            if photos is not None:
                loaded = next(photos).to(self._body.device)
                batch = loaded if batch is None else join_batches([batch, loaded])
            assert batch is not None
            yield batch
            index += stride

    def _draw(self, index: int) -> Scenes | None:
        if not self._scenes:
            return None
        width, height = self._photos.size_wh(index)
        if (height, width) not in self._worlds:
            self._worlds[height, width] = SceneWorld(
                (height, width), self._body, TRAIN_SEED + self._photos.seed, self._backgrounds
            )
        start = index * self._scenes
        with torch.no_grad():
            return self._worlds[height, width].draw(range(start, start + self._scenes))
