"""Mixtures of data sets, with the shares of the paper and of the released code.

An epoch has the length of the largest set. Number n of the stream is in epoch n // length; a random
permutation of the epoch maps it to an index, a random draw by the shares to a set, and the sample
is the element index modulo set length of that set. Everything follows from the seed and n.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from aios.network.config_dict import ConfigError

from .archive import DataError
from .augment import AugmentConfig
from .batch import Batch, Sample, build_batch
from .humandata import ReadOptions
from .instance_crop import PHOTO_AUGMENT, InstanceCrop, augment_photo
from .photos import PhotoSet, mean_hands
from .sets import DATA_SETS

_ENDLESS = 2**31
_ORDER, _CHANCE = 1, 2


@dataclass(frozen=True)
class SetShare:
    """One data set in a mixture; empty fields take the values of `DATA_SETS`."""

    name: str
    share: float
    """Probability that a sample comes from this set; those of a mixture sum to 1."""
    annotations: str = ""
    """HumanData file or released cache, relative to the data root."""
    images: str = ""
    """Folder that image paths are relative to, relative to the data root."""
    interval: int = 0
    """Use every N-th image; 0 takes the interval of the data set."""
    crop: float = 0.5
    """See `InstanceCrop`."""
    subset: float = 0.5
    """See `InstanceCrop`."""
    flat_hands: bool = False
    """Hand poses are relative to the flat hand: subtract the mean hand of SMPL-X."""
    remap: tuple[tuple[str, str], ...] = ()
    """Regular expressions and replacements, applied to image paths."""

    def __post_init__(self) -> None:
        """Check the name and the probabilities."""
        if self.name not in DATA_SETS:
            known = ", ".join(sorted(DATA_SETS))
            raise ConfigError(f"there is no data set named {self.name!r}; choose one of {known}")
        if min(self.share, self.crop, self.subset) < 0 or max(self.crop, self.subset) > 1:
            raise ConfigError(f"shares and probabilities of {self.name} must be between 0 and 1")


@dataclass(frozen=True)
class PhotoConfig:
    """Mixture of data sets and the augmentation of their photos."""

    root: str = "data"
    """Root folder of all data sets."""
    sets: tuple[SetShare, ...] = (SetShare("synthetic", 1.0),)
    trust_pickle: bool = False
    """Allow unpickling of released caches, which can execute code."""
    crop: InstanceCrop = field(default_factory=InstanceCrop)
    """`crop` and `subset` are replaced by those of each set."""
    augment: AugmentConfig = PHOTO_AUGMENT

    def __post_init__(self) -> None:
        """Check that the shares sum to 1."""
        total = sum(one.share for one in self.sets)
        if abs(total - 1) > 1e-6:
            raise ConfigError(f"the shares of the data sets sum to {total:g} instead of 1")


def _released(name: str, share: float) -> SetShare:
    crop, subset, interval = {
        "agora": (0.7, 0.5, 0),
        "bedlam": (0.7, 0.6, 0),
        "coco": (0.7, 0.6, 0),
        "egobody": (0.3, 0.5, 5),
    }.get(name, (0.3, 0.5, 0))
    return SetShare(name, share, crop=crop, subset=subset, interval=interval)


_PHASE_1 = {"agora": 0.4, "bedlam": 0.3, "coco": 0.3}
_PAPER_2 = {"agora": 0.2, "bedlam": 0.2, "coco": 0.2, "egobody": 0.2, "arctic": 0.1, "ubody": 0.1}
_RELEASED_2 = _PAPER_2 | {"egobody": 0.1, "ubody": 0.2}

MIXTURES: dict[str, tuple[SetShare, ...]] = {
    "paper-1": tuple(SetShare(name, share) for name, share in _PHASE_1.items()),
    "paper-2": tuple(SetShare(name, share) for name, share in _PAPER_2.items()),
    "released-1": tuple(_released(name, share) for name, share in _PHASE_1.items()),
    "released-2": tuple(_released(name, share) for name, share in _RELEASED_2.items()),
    "synthetic": (SetShare("synthetic", 1.0),),
}
"""By preset and phase. The paper lacks the shares of phase 1: they are the released ones."""


def open_set(share: SetShare, config: PhotoConfig, split: str = "train") -> PhotoSet:
    """Open one data set of a mixture.

    Raises:
        DataError: its files are missing or cannot be used.
        ConfigError: the set has no such split.
    """
    data_set = DATA_SETS[share.name]
    data_set = replace(data_set, hands_from_flat=data_set.hands_from_flat or share.flat_hands)
    annotations = share.annotations or getattr(data_set, split)
    if not annotations:
        raise ConfigError(f"the data set {share.name} has no {split} split; give its annotations")
    options = ReadOptions(
        split=split,
        interval=share.interval,
        trust_pickle=config.trust_pickle,
        remap=share.remap,
        hand_means=mean_hands() if data_set.hands_from_flat else None,
    )
    root = Path(config.root).expanduser()
    images = root / (share.images or data_set.images)
    if not (root / annotations).is_file():
        raise DataError(
            f"{root / annotations} does not exist: it holds the annotations of {share.name}; get "
            f"the data from {data_set.source}, or give another file (photos.sets.N.annotations)"
        )
    return PhotoSet.open(root / annotations, images, data_set, options)


class PhotoBatches(Dataset[Batch]):
    """Batches by index; each depends only on the seed and its index.

    Process r of w processes takes the indices r, r + w, r + 2 w, ... A resumed run continues with
    the next index.
    """

    def __init__(
        self,
        sets: Sequence[PhotoSet],
        config: PhotoConfig,
        focal_length: float,
        *,
        batch_size: int,
        seed: int,
    ) -> None:
        """Create batches; `sets` is in the order of `config.sets`, `focal_length` in pixels."""
        if len(sets) != len(config.sets):
            raise ValueError(f"{len(sets)} data sets for {len(config.sets)} shares")
        self.sets, self.config, self.focal_length = list(sets), config, focal_length
        self.batch_size, self.seed = batch_size, seed
        # Length of an epoch of the stream, after which the order changes.
        self.epoch_length = max(len(one) for one in sets)
        self._limits = np.cumsum([one.share for one in config.sets])
        self._order: tuple[int, np.ndarray] = (-1, np.zeros(0, np.int64))

    def __len__(self) -> int:
        """Number of batches, practically unlimited."""
        return _ENDLESS

    def __getitem__(self, index: int) -> Batch:
        """Read, augment and stack."""
        first = index * self.batch_size
        samples = [self._sample(number) for number in range(first, first + self.batch_size)]
        return build_batch(samples, self.focal_length)

    def choice(self, number: int) -> tuple[int, int]:
        """Set and element index of image `number` of the stream."""
        epoch, position = divmod(number, self.epoch_length)
        if self._order[0] != epoch:
            order = np.random.default_rng([self.seed, _ORDER, epoch])
            self._order = (epoch, order.permutation(self.epoch_length))
        draw = np.random.default_rng([self.seed, _CHANCE, number]).random()
        which = min(int(np.searchsorted(self._limits, draw)), len(self.sets) - 1)
        return which, int(self._order[1][position]) % len(self.sets[which])

    def _sample(self, number: int) -> Sample:
        which, element = self.choice(number)
        share = self.config.sets[which]
        crop = replace(self.config.crop, crop=share.crop, subset=share.subset)
        random = np.random.default_rng([self.seed, number])
        return augment_photo(self.sets[which][element], random, crop, self.config.augment)
