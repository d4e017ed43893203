"""Batches of scenes rendered on the training device, and photos loaded by worker processes."""

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
from .loader import load_batches
from .mixture import TrainBatches
from .window_batch import crop_windows

SCENE_MARGIN = 1.25
"""Side of a scene in sides of the windows cropped from it."""


@dataclass(frozen=True)
class _PendingScenes:
    """Scenes that are being rendered."""

    scenes: SceneBatch
    done: Any = None
    """CUDA event of their completion; None on the CPU."""

    def ready(self) -> SceneBatch:
        """Make the current CUDA stream wait for the scenes and return them."""
        if self.done is not None:
            stream = torch.cuda.current_stream(self.scenes.images.device)
            stream.wait_event(self.done)
            for tensor in self.scenes.tensors():
                tensor.record_stream(stream)
        return self.scenes


class RenderedBatches:
    """Batches by index, like `TrainBatches`: windows of rendered scenes, then photos.

    Args:
        photos: photos, image sizes and window settings of the batches; its `batch_size` may be 0.
        scenes: scenes rendered for a batch; `photos.config.windows` windows are cropped from each.
        body: its device renders the scenes and holds the batches.
        backgrounds: see `SceneBatchGenerator`.
        mocap: see `SceneBatchGenerator`.
    """

    def __init__(
        self,
        photos: TrainBatches,
        scenes: int,
        body: BodySurface,
        backgrounds: Tensor | None,
        mocap: MocapLibrary | None = None,
    ) -> None:
        """Scene generators are created when an image size first occurs."""
        self._photos, self._scenes, self._body = photos, scenes, body
        self._mocap = mocap
        self._backgrounds = None if backgrounds is None else backgrounds.to(body.device)
        self._generators: dict[tuple[int, int], SceneBatchGenerator] = {}
        self._seed = TRAIN_SEED + photos.seed
        # All generators share graph memory, and render on a stream of their own beside the network.
        self._capturer, self._stream = Capturer(), None
        if body.device.type == "cuda":
            self._stream = torch.cuda.Stream(body.device)

    def load(self, first: int, stride: int, workers: int) -> Iterator[Batch]:
        """Yield batches `first`, `first + stride`, ... without end.

        Scenes are prefetched by one batch: a GPU renders the next batch while it trains on the
        current one, and workers load photos.
        """
        photos: Iterator[Batch] | None = None
        if self._photos.batch_size:
            photos = load_batches(self._photos, first, stride, workers)
        index, pending = first, self._render(first)
        while True:
            current, pending = pending, self._render(index + stride)
            batch = None if current is None else self._crop(index, current.ready())
            if photos is not None:
                loaded = next(photos).to(self._body.device)
                batch = loaded if batch is None else join_batches([batch, loaded])
            assert batch is not None
            yield batch
            index += stride

    def _scene_numbers(self, index: int) -> range:
        return range(index * self._scenes, (index + 1) * self._scenes)

    def _side_stream(self) -> AbstractContextManager[object]:
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    @torch.no_grad()
    def _render(self, index: int) -> _PendingScenes | None:
        if not self._scenes:
            return None
        width, height = (round(side * SCENE_MARGIN) for side in self._photos.size_wh(index))
        with self._side_stream():
            if (height, width) not in self._generators:
                self._generators[height, width] = SceneBatchGenerator(
                    (height, width),
                    self._body,
                    self._seed,
                    self._backgrounds,
                    capturer=self._capturer,
                    mocap=self._mocap,
                )
            scenes = self._generators[height, width].generate(self._scene_numbers(index))
            return _PendingScenes(
                scenes, None if self._stream is None else self._stream.record_event()
            )

    @torch.no_grad()
    def _crop(self, index: int, scenes: SceneBatch) -> Batch:
        size_wh = self._photos.size_wh(index)
        batch = _batch_of(scenes, self._photos.focal_length_at(size_wh))
        rng = CounterRng.for_scenes(self._seed, self._scene_numbers(index)).to(self._body.device)
        config = self._photos.config
        each = CounterRng(rng.split("windows", config.windows).keys.t().flatten())
        return crop_windows(each, join_batches([batch] * config.windows), size_wh, config.augment)


def _batch_of(scenes: SceneBatch, focal_length: float) -> Batch:
    """Batch of whole scenes on the device that rendered them."""
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
