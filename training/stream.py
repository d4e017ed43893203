"""Where the batches of a run come from: made scenes and photographs, or data sets."""

from __future__ import annotations

from typing import Protocol

from torch.utils.data import Dataset

from .batch import Batch
from .data import Sources, TrainBatches
from .data.photo_mix import PhotoBatches, open_set
from .recipe import Stage, TrainConfig


class Stream(Protocol):
    """Numbered batches, each of which depends on the run's seed and its number alone."""

    @property
    def epoch_pictures(self) -> int:
        """Pictures of one time through the data; 0 where the data have no end."""

    def batches(self, stage: Stage) -> Dataset[Batch]:
        """Those of one part of the run."""


class SceneStream:
    """The built-in recipe's mix: scenes, photographs of single people, pictures of nobody."""

    epoch_pictures = 0

    def __init__(self, config: TrainConfig, sources: Sources) -> None:
        """`sources` as `config.data` names them."""
        self._config, self._sources = config, sources

    def batches(self, stage: Stage) -> TrainBatches:
        """Pictures about as large as the stage says."""
        return TrainBatches(
            self._sources,
            self._config.data,
            self._config.model.image,
            self._config.model.focal_length,
            side=stage.side,
            batch_size=stage.batch_size,
            seed=self._config.seed,
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

    def batches(self, stage: Stage) -> PhotoBatches:
        """Photos of all sets by their shares."""
        return PhotoBatches(
            self._sets,
            self._photos,
            self._config.model.focal_length,
            batch_size=stage.batch_size,
            seed=self._config.seed,
        )


def open_stream(config: TrainConfig) -> Stream:
    """Open what a run names.

    Raises:
        DataError, RealDataError, FileNotFoundError: it is not there or cannot be used.
    """
    return PhotoStream(config) if config.photos else SceneStream(config, Sources(config.data))
