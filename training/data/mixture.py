"""The mix of pictures that training sees, batch by batch, the same for the same seed."""

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
from .mirror import flip
from .real import EmptyPictures, RealPeople

_ENDLESS = 2**31
_SCENE_SIDE = 288
_ASPECTS = (1.0, 1.0, 4 / 3, 3 / 4)


@dataclass(frozen=True)
class DataConfig:
    """Where pictures come from and in which shares."""

    real: str | None = None
    """Folder with lspet.npz, lspet_*.tar and backgrounds_*.tar; None trains on scenes alone."""
    cache: str | None = None
    """Folder of cached scenes; None draws scenes as they are needed."""
    drawn_on_device: bool = False
    """Draw scenes in batches where the network learns: for a GPU, which workers cannot feed."""
    windows: int = 1
    """Parts of each scene drawn so that a batch has, around one person each: drawing takes a GPU
    several times as long as learning."""
    real_share: float = 0.5
    empty_share: float = 0.05
    collage_share: float = 0.35
    """Of the real pictures, how many are collages; a few collages mix in scenes."""
    mocap: MocapConfig = MocapConfig()
    """Motion-capture poses in generated scenes; scenes of `cache` keep the poses they have."""
    workers: int = 1
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        """Check the number of windows."""
        if self.windows < 1:
            raise ConfigError("data.windows must be 1 or more")


class Samples(Protocol):
    """Something with numbered samples."""

    def __len__(self) -> int:
        """How many."""

    def __getitem__(self, index: int) -> Sample:
        """One of them."""


class DrawnScenes:
    """Scenes drawn when asked for; never the same twice in a run."""

    def __init__(self, root: Path | None, mocap: MocapConfig) -> None:
        """`root` may hold backgrounds_*.tar."""
        archives = sorted(root.glob("backgrounds_*.tar")) if root else []
        photos = load_backgrounds(archives) or None
        body = BodySurface(STANDIN_BODY)
        self._generator = SceneGenerator(
            (_SCENE_SIDE, _SCENE_SIDE), body, TRAIN_SEED, photos, mocap=load_mocap(mocap)
        )

    def __len__(self) -> int:
        """As many as there are numbers."""
        return _ENDLESS

    def __getitem__(self, index: int) -> Sample:
        """Draw one scene."""
        scene = self._generator.generate(index)
        return Sample(scene.image, scene.targets)


class Sources:
    """Everything that samples are drawn from."""

    def __init__(self, config: DataConfig) -> None:
        """Open what `config` names."""
        root = Path(config.real) if config.real else None
        self.scenes: Samples | None = None
        if config.cache:
            self.scenes = CachedScenes(Path(config.cache))
        elif not config.drawn_on_device:
            self.scenes = DrawnScenes(root, config.mocap)
        self.people: Samples | None = RealPeople(root) if root else None
        self.empty: Samples | None = EmptyPictures(root) if root else None


def picture_size(
    side: int, aspect: float, image: ImageConfig, multiple: int = 32
) -> tuple[int, int]:
    """Width and height for a short side of about `side`, both multiples of `multiple`.

    The long side is bounded as at inference, in proportion.
    """
    longest = side * image.long_side / image.short_side
    long = min(side * max(aspect, 1 / aspect), longest)
    short = round(side / multiple) * multiple
    long = max(round(long / multiple) * multiple, short)
    return (long, short) if aspect >= 1 else (short, long)


class TrainBatches(Dataset[Batch]):
    """Batch number i of the run; each depends on the seed and its number alone."""

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
        """Pictures of short side about `side`; `focal_length` belongs to `image.short_side`."""
        self.sources, self.config, self.image = sources, config, image
        self.focal_length = focal_length
        self.side, self.batch_size, self.seed = side, batch_size, seed

    def __len__(self) -> int:
        """Endless."""
        return _ENDLESS

    def __getitem__(self, index: int) -> Batch:
        """Draw, augment and stack."""
        random = np.random.default_rng([self.seed, index])
        size_wh = self._size(random)
        samples = [self._draw(random, size_wh) for _ in range(self.batch_size)]
        return build_batch(samples, self.focal_length_at(size_wh))

    def size_wh(self, index: int) -> tuple[int, int]:
        """Width and height of the pictures of batch `index`."""
        return self._size(np.random.default_rng([self.seed, index]))

    def _size(self, random: np.random.Generator) -> tuple[int, int]:
        aspect = _ASPECTS[random.integers(len(_ASPECTS))]
        return picture_size(self.side, aspect, self.image)

    def focal_length_at(self, size_wh: tuple[int, int]) -> float:
        """One camera for all sizes of training: the field of view is that of inference."""
        return self.focal_length * min(size_wh) / self.image.short_side

    def _draw(self, random: np.random.Generator, size_wh: tuple[int, int]) -> Sample:
        config, sources = self.config, self.sources
        kind = random.random()
        if sources.scenes is None:
            kind *= config.empty_share + config.real_share
        if sources.empty is not None and kind < config.empty_share:
            return self._augmented(sources.empty, random, size_wh, config.augment)
        if sources.people is not None and kind < config.empty_share + config.real_share:
            if random.random() < config.collage_share:
                return self._collage(random, size_wh, config.augment)
            return self._augmented(sources.people, random, size_wh, config.augment)
        assert sources.scenes is not None
        return self._augmented(sources.scenes, random, size_wh, config.augment)

    def _collage(
        self, random: np.random.Generator, size_wh: tuple[int, int], config: AugmentConfig
    ) -> Sample:
        people, scenes = self.sources.people, self.sources.scenes
        assert people is not None
        parts = []
        for _ in range(random.integers(2, 5)):
            source = people if random.random() >= 0.15 or scenes is None else scenes
            sample = _pick(source, random)
            parts.append(flip(sample) if random.random() < config.flip else sample)
        return collage(parts, random, size_wh, config)

    def _augmented(
        self,
        source: Samples,
        random: np.random.Generator,
        size_wh: tuple[int, int],
        config: AugmentConfig,
    ) -> Sample:
        return augment(_pick(source, random), random, size_wh, config)


def _pick(source: Samples, random: np.random.Generator) -> Sample:
    return source[int(random.integers(len(source)))]
