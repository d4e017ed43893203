"""Batches of a run: synthetic scenes and photos of single people, or data sets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from aios.resources import STANDIN_BODY

from ..data.batch import Batch
from ..data.loader import load_batches
from ..data.mixture import Sources, TrainBatches
from ..data.photo_mix import PhotoBatches, open_set
from ..data.rendered_batches import RenderedBatches
from ..synthetic.background_photos import load_backgrounds
from ..synthetic.batch_generator import stack_photos
from ..synthetic.mocap import load_mocap
from ..synthetic.surface import BodySurface
from .distributed import device
from .train_config import TrainConfig, TrainStage


class Stream(Protocol):
    """Numbered batches; each depends only on the seed of the run and its number."""

    @property
    def epoch_images(self) -> int:
        """Images per epoch; 0 for endless data."""

    def load(self, stage: TrainStage, first: int, stride: int) -> Iterator[Batch]:
        """Batches `first`, `first + stride`, ... with the settings of `stage`, without end."""


class SceneStream:
    """Mixture of the built-in recipe: scenes, photos of single people, images without people."""

    epoch_images = 0

    def __init__(self, config: TrainConfig, sources: Sources) -> None:
        """Use `sources` of `config.data`."""
        self._config, self._sources = config, sources

    def load(self, stage: TrainStage, first: int, stride: int) -> Iterator[Batch]:
        """Batches with the image size of the stage."""
        batches = scene_batches(self._config, self._sources, stage)
        return load_batches(batches, first, stride, self._config.data.workers)


class DrawnStream:
    """The same mixture with scenes rendered in batches on the training device."""

    epoch_images = 0

    def __init__(self, config: TrainConfig, sources: Sources) -> None:
        """Use `sources` without scenes, and all backgrounds of `config.data.real`."""
        self._config, self._sources = config, sources
        self._body = BodySurface(STANDIN_BODY, device())
        real = config.data.real
        archives = sorted(Path(real).glob("backgrounds_*.tar")) if real else []
        self._backgrounds = stack_photos(load_backgrounds(archives))
        self._mocap = load_mocap(config.data.mocap)

    def load(self, stage: TrainStage, first: int, stride: int) -> Iterator[Batch]:
        """Batches with the image size of the stage and a fixed number of photos.

        Photos fill the rest of a batch after whole scenes; without photos the batch is smaller.
        """
        data = self._config.data
        share = data.real_share + data.empty_share if data.real else 0.0
        scenes = int(stage.batch_size * (1 - share)) // data.windows
        photos = stage.batch_size - scenes * data.windows if data.real else 0
        of_photos = scene_batches(self._config, self._sources, replace(stage, batch_size=photos))
        batches = RenderedBatches(of_photos, scenes, self._body, self._backgrounds, self._mocap)
        return batches.load(first, stride, data.workers)


def scene_batches(config: TrainConfig, sources: Sources, stage: TrainStage) -> TrainBatches:
    """Batches of the built-in mixture with the settings of `stage`."""
    data = config.data
    if stage.person_share:
        augment = replace(data.augment, person_share=stage.person_share)
        data = replace(data, augment=augment)
    return TrainBatches(
        sources,
        data,
        config.model.image,
        config.model.focal_length,
        side=stage.side,
        batch_size=stage.batch_size,
        seed=config.seed,
    )


class PhotoStream:
    """Mixture of data sets; image sizes come from `config.photos`, not from the stage."""

    def __init__(self, config: TrainConfig) -> None:
        """Open the training split of every set."""
        assert config.photos is not None
        self._config, self._photos = config, config.photos
        self._sets = [open_set(share, config.photos) for share in config.photos.sets]

    @property
    def epoch_images(self) -> int:
        """Images of the largest set."""
        return max(len(one) for one in self._sets)

    def load(self, stage: TrainStage, first: int, stride: int) -> Iterator[Batch]:
        """Photos of all sets, drawn by their shares."""
        batches = PhotoBatches(
            self._sets,
            self._photos,
            self._config.model.focal_length,
            batch_size=stage.batch_size,
            seed=self._config.seed,
        )
        return load_batches(batches, first, stride, self._config.data.workers)


def open_stream(config: TrainConfig) -> Stream:
    """Open the data of a run.

    Raises:
        DataError, RealDataError, FileNotFoundError: data are missing or unusable.
    """
    if config.photos:
        return PhotoStream(config)
    kind = DrawnStream if config.data.drawn_on_device else SceneStream
    return kind(config, Sources(config.data))
