"""Training batches of the built-in recipe: scenes, LSPET photos, empty photos and collages.

The batches depend only on the seed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from torch.utils.data import Dataset

from aios.network.config import ConfigError, ImageConfig
from aios.resources import STANDIN_BODY

from ..synthetic.background_photos import load_backgrounds
from ..synthetic.generator import TRAIN_SEED, SceneGenerator
from ..synthetic.mocap import MocapConfig, load_mocap
from ..synthetic.surface import BodySurface
from .augment import AugmentConfig, augment
from .batch import Batch, Sample, build_batch
from .cache import CachedScenes
from .collage import collage
from .humandata import ReadOptions
from .mirror import flip
from .photos import PhotoSet
from .real_photos import EmptyPhotos, LspetPhotos
from .sets import DATA_SETS

_ENDLESS = 2**31
_SCENE_SIDE = 288
_ASPECTS = (1.0, 1.0, 4 / 3, 3 / 4)


@dataclass(frozen=True)
class DataConfig:
    """Sources of training images and their shares."""

    real: str | None = None
    """Folder with lspet.npz, lspet_*.tar and backgrounds_*.tar; None trains on scenes only."""
    annotated: str | None = None
    """Folder written by `training.annotate`, beside the photos of `real`."""
    annotated_images: str | None = None
    """Folder from which its image paths start."""
    cache: str | None = None
    """Folder of cached scenes; None renders scenes on demand."""
    drawn_on_device: bool = False
    """Render scenes in batches on the training device: CPU workers are too slow for a GPU."""
    windows: int = 1
    """Windows cropped from each scene rendered on the device, each around one person, because
    rendering takes a GPU several times as long as a training step."""
    real_share: float = 0.5
    annotated_share: float = 0.6
    """Share of the annotated set among photos of people, if there are both kinds."""
    empty_share: float = 0.05
    collage_share: float = 0.35
    """Share of collages among real images; some collages include scenes."""
    mocap: MocapConfig = MocapConfig()
    """Motion-capture poses of rendered scenes; scenes of `cache` keep their poses."""
    workers: int = 1
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        """Check that the fields fit together."""
        if self.windows < 1:
            raise ConfigError("data.windows must be 1 or more")
        if (self.annotated is None) != (self.annotated_images is None):
            raise ConfigError("data.annotated and data.annotated_images belong together")


class Samples(Protocol):
    """Indexable collection of samples."""

    def __len__(self) -> int:
        """Number of samples."""

    def __getitem__(self, index: int) -> Sample:
        """Sample at an index."""


class RenderedScenes:
    """Synthetic scenes rendered on demand; each index is another scene."""

    def __init__(self, root: Path | None, mocap: MocapConfig) -> None:
        """Use the backgrounds in `root`/backgrounds_*.tar, if there are any."""
        archives = sorted(root.glob("backgrounds_*.tar")) if root else []
        photos = load_backgrounds(archives) or None
        body = BodySurface(STANDIN_BODY)
        self._generator = SceneGenerator(
            (_SCENE_SIDE, _SCENE_SIDE), body, TRAIN_SEED, photos, mocap=load_mocap(mocap)
        )

    def __len__(self) -> int:
        """Number of indices, practically unlimited."""
        return _ENDLESS

    def __getitem__(self, index: int) -> Sample:
        """Render one scene."""
        scene = self._generator.generate(index)
        return Sample(scene.image, scene.targets)


class Sources:
    """Collections that samples are taken from."""

    def __init__(self, config: DataConfig) -> None:
        """Open the collections named in `config`."""
        root = Path(config.real) if config.real else None
        self.scenes: Samples | None = None
        if config.cache:
            self.scenes = CachedScenes(Path(config.cache))
        elif not config.drawn_on_device:
            self.scenes = RenderedScenes(root, config.mocap)
        self._people = [s for s in (LspetPhotos(root) if root else None, _annotated(config)) if s]
        self._annotated_share = config.annotated_share
        self.empty: Samples | None = EmptyPhotos(root) if root else None

    @property
    def has_people(self) -> bool:
        """Whether there are photos of people."""
        return bool(self._people)

    def pick_person(self, random: np.random.Generator) -> Sample:
        """Choose a photo of people; only if there are any."""
        annotated = random.random() < self._annotated_share
        return _pick(self._people[-1 if annotated else 0], random)


def _annotated(config: DataConfig) -> Samples | None:
    if config.annotated is None or config.annotated_images is None:
        return None
    path, images = Path(config.annotated) / "annotations.npz", Path(config.annotated_images)
    return PhotoSet.open(path, images, DATA_SETS["annotated"], ReadOptions())


def picture_size(
    side: int, aspect: float, image: ImageConfig, multiple: int = 32
) -> tuple[int, int]:
    """Width and height with a short side of about `side`, both multiples of `multiple`.

    The ratio of the sides is limited as at inference.
    """
    longest = side * image.long_side / image.short_side
    long = min(side * max(aspect, 1 / aspect), longest)
    short = round(side / multiple) * multiple
    long = max(round(long / multiple) * multiple, short)
    return (long, short) if aspect >= 1 else (short, long)


class TrainBatches(Dataset[Batch]):
    """Batches by index; each depends only on the seed and its index."""

    def __init__(
        self,
        sources: Sources,
        config: DataConfig,
        image: ImageConfig,
        focal_length: float,
        *,
        side: int,
        batch_size: int,
        seed: int,
    ) -> None:
        """Create batches.

        Args:
            sources: collections of samples.
            config: shares and augmentation.
            image: image size at inference.
            focal_length: pixels, at `image.short_side`.
            side: approximate short side of the images in pixels.
            batch_size: images in a batch.
            seed: random seed.
        """
        self.sources, self.config, self.image = sources, config, image
        self.focal_length = focal_length
        self.side, self.batch_size, self.seed = side, batch_size, seed

    def __len__(self) -> int:
        """Number of batches, practically unlimited."""
        return _ENDLESS

    def __getitem__(self, index: int) -> Batch:
        """Choose, augment and stack samples."""
        random = np.random.default_rng([self.seed, index])
        size_wh = self._size(random)
        samples = [self._draw(random, size_wh) for _ in range(self.batch_size)]
        return build_batch(samples, self.focal_length_at(size_wh))

    def size_wh(self, index: int) -> tuple[int, int]:
        """Width and height of the images of batch `index`."""
        return self._size(np.random.default_rng([self.seed, index]))

    def _size(self, random: np.random.Generator) -> tuple[int, int]:
        aspect = _ASPECTS[random.integers(len(_ASPECTS))]
        return picture_size(self.side, aspect, self.image)

    def focal_length_at(self, size_wh: tuple[int, int]) -> float:
        """Focal length in pixels that keeps the field of view of inference at this size."""
        return self.focal_length * min(size_wh) / self.image.short_side

    def _draw(self, random: np.random.Generator, size_wh: tuple[int, int]) -> Sample:
        config, sources = self.config, self.sources
        kind = random.random()
        if sources.scenes is None:
            kind *= config.empty_share + config.real_share
        if sources.empty is not None and kind < config.empty_share:
            return augment(_pick(sources.empty, random), random, size_wh, config.augment)
        if sources.has_people and kind < config.empty_share + config.real_share:
            if random.random() < config.collage_share:
                return self._collage(random, size_wh, config.augment)
            return augment(sources.pick_person(random), random, size_wh, config.augment)
        assert sources.scenes is not None
        return augment(_pick(sources.scenes, random), random, size_wh, config.augment)

    def _collage(
        self, random: np.random.Generator, size_wh: tuple[int, int], config: AugmentConfig
    ) -> Sample:
        scenes = self.sources.scenes
        parts = []
        for _ in range(random.integers(2, 5)):
            from_scenes = scenes is not None and random.random() < 0.15
            sample = _pick(scenes, random) if from_scenes else self.sources.pick_person(random)
            parts.append(flip(sample) if random.random() < config.flip else sample)
        return collage(parts, random, size_wh, config)


def _pick(source: Samples, random: np.random.Generator) -> Sample:
    return source[int(random.integers(len(source)))]
