"""Where the batches of a run come from: made scenes and photographs, or data sets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from aios.resources import STANDIN_BODY

from ..data.batch import Batch
from ..data.drawn import DrawnBatches
from ..data.loader import load_batches
from ..data.mixture import Sources, TrainBatches
from ..data.photo_mix import PhotoBatches, open_set
from ..synthetic.background_photos import load_backgrounds
from ..synthetic.batch_generator import stack_photos
from ..synthetic.surface import BodySurface
from .distributed import device
from .recipe import Stage, TrainConfig


class Stream(Protocol):
    """Numbered batches, each of which depends on the run's seed and its number alone."""

    @property
    def epoch_pictures(self) -> int:
        """Pictures of one time through the data; 0 where the data have no end."""

    def load(self, stage: Stage, first: int, stride: int) -> Iterator[Batch]:
        """Batches `first`, `first + stride`, ... of one part of the run."""


class SceneStream:
    """The built-in recipe's mix: scenes, photographs of single people, pictures of nobody."""

    epoch_pictures = 0

    def __init__(self, config: TrainConfig, sources: Sources) -> None:
        """`sources` as `config.data` names them."""
        self._config, self._sources = config, sources

    def load(self, stage: Stage, first: int, stride: int) -> Iterator[Batch]:
        """Pictures about as large as the stage says."""
        batches = scene_batches(self._config, self._sources, stage)
        return load_batches(batches, first, stride, self._config.data.workers)


class DrawnStream:
    """The same mix with its scenes drawn in batches on the training device."""

    epoch_pictures = 0

    def __init__(self, config: TrainConfig, sources: Sources) -> None:
        """`sources` without scenes."""
        self._config, self._sources = config, sources
        self._body = BodySurface(STANDIN_BODY, device())
        real = config.data.real
        archives = sorted(Path(real).glob("backgrounds_*.tar")) if real else []
        self._backgrounds = stack_photos(load_backgrounds(archives))

    def load(self, stage: Stage, first: int, stride: int) -> Iterator[Batch]:
        """Pictures about as large as the stage says; every batch has as many photographs.

        Photographs fill what whole scenes leave of a batch; without any it is so much smaller.
        """
        data = self._config.data
        share = data.real_share + data.empty_share if data.real else 0.0
        scenes = int(stage.batch_size * (1 - share)) // data.windows
        photos = stage.batch_size - scenes * data.windows if data.real else 0
        of_photos = scene_batches(self._config, self._sources, replace(stage, batch_size=photos))
        batches = DrawnBatches(of_photos, scenes, self._body, self._backgrounds)
        return batches.load(first, stride, data.workers)


def scene_batches(config: TrainConfig, sources: Sources, stage: Stage) -> TrainBatches:
    """The built-in mix of one part of a run."""
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
    """A mixture of data sets; sizes are those of `config.photos`, whatever the stage."""

    def __init__(self, config: TrainConfig) -> None:
        """Open every set; no test split is needed."""
        assert config.photos is not None
        self._config, self._photos = config, config.photos
        self._sets = [open_set(share, config.photos) for share in config.photos.sets]

    @property
    def epoch_pictures(self) -> int:
        """As many as the largest set has."""
        return max(len(one) for one in self._sets)

    def load(self, stage: Stage, first: int, stride: int) -> Iterator[Batch]:
        """Photos of all sets by their shares."""
        batches = PhotoBatches(
            self._sets,
            self._photos,
            self._config.model.focal_length,
            batch_size=stage.batch_size,
            seed=self._config.seed,
        )
        return load_batches(batches, first, stride, self._config.data.workers)


def open_stream(config: TrainConfig) -> Stream:
    """Open what a run names.

    Raises:
        DataError, RealDataError, FileNotFoundError: it is not there or cannot be used.
    """
    if config.photos:
        return PhotoStream(config)
    made = DrawnStream if config.data.drawn_on_device else SceneStream
    return made(config, Sources(config.data))
