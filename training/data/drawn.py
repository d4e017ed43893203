"""Batches whose scenes are drawn where the network learns, beside photographs made by workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aios.accelerate.cuda_graphs import Capturer

from ..synthetic.batch_generator import TRAIN_SEED, SceneBatch, SceneBatchGenerator
from ..synthetic.mocap import MocapLibrary
from ..synthetic.rng import CounterRng
from ..synthetic.surface import BodySurface
from .batch import Batch, join_batches
from .framed import framed
from .loader import load_batches
from .mixture import TrainBatches

DRAWN_LARGER = 1.25
"""Sides of a scene in those of the window around one of its people that is learnt from."""


@dataclass(frozen=True)
class _Ahead:
    """Scenes that are being drawn."""

    scenes: SceneBatch
    done: Any = None
    """CUDA event; None where nothing happens by itself."""

    def ready(self) -> SceneBatch:
        """The scenes, for what the device is told from now on."""
        if self.done is not None:
            here = torch.cuda.current_stream(self.scenes.images.device)
            here.wait_event(self.done)
            for tensor in self.scenes.tensors():
                tensor.record_stream(here)
        return self.scenes


class DrawnBatches:
    """Batch number i of the run, as `TrainBatches`; windows of scenes come before its photos.

    Args:
        photos: gives the photographs of each batch, its size and how windows are chosen; may give
            no photographs.
        scenes: how many scenes are drawn for a batch; it has `photos.config.windows` pictures of
            each.
        body: its device is where scenes are drawn and where batches are.
        backgrounds: as of `SceneBatchGenerator`.
        mocap: as of `SceneBatchGenerator`.
    """

    def __init__(
        self,
        photos: TrainBatches,
        scenes: int,
        body: BodySurface,
        backgrounds: Tensor | None,
        mocap: MocapLibrary | None = None,
    ) -> None:
        """Worlds are made as sizes come up."""
        self._photos, self._scenes, self._body = photos, scenes, body
        self._mocap = mocap
        self._backgrounds = None if backgrounds is None else backgrounds.to(body.device)
        self._worlds: dict[tuple[int, int], SceneBatchGenerator] = {}
        self._seed = TRAIN_SEED + photos.seed
        # Of a GPU all worlds use the same memory, and none waits for the network or it for them.
        self._recorder, self._stream = Capturer(), None
        if body.device.type == "cuda":
            self._stream = torch.cuda.Stream(body.device)

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
            drawn, ahead = ahead, self._draw(index + stride)
            batch = None if drawn is None else self._framed(index, drawn.ready())
            if photos is not None:
                loaded = next(photos).to(self._body.device)
                batch = loaded if batch is None else join_batches([batch, loaded])
            assert batch is not None
            yield batch
            index += stride

    def _numbers(self, index: int) -> range:
        return range(index * self._scenes, (index + 1) * self._scenes)

    def _aside(self) -> AbstractContextManager[object]:
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    @torch.no_grad()
    def _draw(self, index: int) -> _Ahead | None:
        if not self._scenes:
            return None
        width, height = (round(side * DRAWN_LARGER) for side in self._photos.size_wh(index))
        with self._aside():
            if (height, width) not in self._worlds:
                self._worlds[height, width] = SceneBatchGenerator(
                    (height, width),
                    self._body,
                    self._seed,
                    self._backgrounds,
                    recorder=self._recorder,
                    mocap=self._mocap,
                )
            scenes = self._worlds[height, width].generate(self._numbers(index))
            return _Ahead(scenes, None if self._stream is None else self._stream.record_event())

    @torch.no_grad()
    def _framed(self, index: int, scenes: SceneBatch) -> Batch:
        size_wh = self._photos.size_wh(index)
        batch = _batch_of(scenes, self._photos.focal_length_at(size_wh))
        rng = CounterRng.for_scenes(self._seed, self._numbers(index)).to(self._body.device)
        config = self._photos.config
        each = CounterRng(rng.split("windows", config.windows).keys.t().flatten())
        return framed(each, join_batches([batch] * config.windows), size_wh, config.augment)


def _batch_of(scenes: SceneBatch, focal_length: float) -> Batch:
    """A batch with pictures and targets on the device that drew them."""
    targets, image_index = scenes.targets()
    height, width = scenes.images.shape[2:]
    return Batch(
        pictures=scenes.images,
        sizes_hw=torch.tensor([[height, width]]).expand(len(scenes), 2),
        targets=targets,
        image_index=image_index,
        ignore_unmatched=torch.zeros(len(scenes), dtype=torch.bool, device=image_index.device),
        focal_length=focal_length,
    )
