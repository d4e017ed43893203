"""Several data sets in one stream: the mixtures of the paper and of the released code.

An epoch is as long as the largest set. Number n of the stream belongs to epoch n // length; a
permutation of the epoch gives it a place, chance gives it a set by the shares, and it is that
set's element number place modulo the set's length. Everything follows from the seed and n.
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
    """One data set in a mixture; what is left empty comes from `DATA_SETS`."""

    name: str
    share: float
    """Chance that a sample comes from this set; those of a mixture add up to 1."""
    annotations: str = ""
    """HumanData file or released cache, relative to the folder of all data."""
    images: str = ""
    """Folder that image paths start from, likewise."""
    interval: int = 0
    """Every so many-th picture."""
    crop: float = 0.5
    """See `InstanceCrop`."""
    subset: float = 0.5
    """See `InstanceCrop`."""
    flat_hands: bool = False
    """Hand poses are given from the flat hand; the mean hand of SMPL-X is subtracted."""
    remap: tuple[tuple[str, str], ...] = ()
    """Regular expressions and what they become in every image path."""

    def __post_init__(self) -> None:
        """Check the name and the numbers."""
        if self.name not in DATA_SETS:
            known = ", ".join(sorted(DATA_SETS))
            raise ConfigError(f"there is no data set named {self.name!r}, only {known}")
        if min(self.share, self.crop, self.subset) < 0 or max(self.crop, self.subset) > 1:
            raise ConfigError(f"shares and chances of {self.name} must be in 0-1")


@dataclass(frozen=True)
class PhotoConfig:
    """A mixture of data sets and how their photos are changed."""

    root: str = "data"
    """Folder of all data."""
    sets: tuple[SetShare, ...] = (SetShare("synthetic", 1.0),)
    trust_pickle: bool = False
    """Read released caches, which could run anything."""
    crop: InstanceCrop = field(default_factory=InstanceCrop)
    """Its two chances `crop` and `subset` are replaced by those of each set."""
    augment: AugmentConfig = PHOTO_AUGMENT

    def __post_init__(self) -> None:
        """Check that the shares are chances."""
        total = sum(one.share for one in self.sets)
        if abs(total - 1) > 1e-6:
            raise ConfigError(f"the shares of the data sets add up to {total:g}, wanted 1")


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
"""By preset and phase. The paper is silent on the shares of phase 1: they are the released ones."""


def open_set(share: SetShare, config: PhotoConfig, split: str = "train") -> PhotoSet:
    """Open one data set of a mixture.

    Raises:
        DataError: its files are not there or cannot be used.
        ConfigError: the set has no such split.
    """
    data_set = DATA_SETS[share.name]
    data_set = replace(data_set, hands_from_flat=data_set.hands_from_flat or share.flat_hands)
    annotations = share.annotations or getattr(data_set, split)
    if not annotations:
        raise ConfigError(f"the data set {share.name} has no {split} split; name its annotations")
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
            f"the data from {data_set.source}, or name another file (photos.sets.N.annotations)"
        )
    return PhotoSet.open(root / annotations, images, data_set, options)


class PhotoBatches(Dataset[Batch]):
    """Batch number i of the run; each depends on the seed and its number alone.

    Process r of w processes takes the numbers r, r + w, r + 2 w, ...; together they see every
    number once. Resuming is going on with the next number.
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
        """`sets` in the order of `config.sets`; `focal_length` is the network's for any size."""
        if len(sets) != len(config.sets):
            raise ValueError(f"{len(sets)} data sets for {len(config.sets)} shares")
        self.sets, self.config, self.focal_length = list(sets), config, focal_length
        self.batch_size, self.seed = batch_size, seed
        # After so many pictures of the stream its next epoch begins, in another order.
        self.epoch_length = max(len(one) for one in sets)
        self._limits = np.cumsum([one.share for one in config.sets])
        self._order: tuple[int, np.ndarray] = (-1, np.zeros(0, np.int64))

    def __len__(self) -> int:
        """Endless."""
        return _ENDLESS

    def __getitem__(self, index: int) -> Batch:
        """Read, augment and stack."""
        first = index * self.batch_size
        samples = [self._sample(number) for number in range(first, first + self.batch_size)]
        return build_batch(samples, self.focal_length)

    def choice(self, number: int) -> tuple[int, int]:
        """Which set, and which element of it, picture `number` of the stream is."""
        epoch, place = divmod(number, self.epoch_length)
        if self._order[0] != epoch:
            order = np.random.default_rng([self.seed, _ORDER, epoch])
            self._order = (epoch, order.permutation(self.epoch_length))
        draw = np.random.default_rng([self.seed, _CHANCE, number]).random()
        which = min(int(np.searchsorted(self._limits, draw)), len(self.sets) - 1)
        return which, int(self._order[1][place]) % len(self.sets[which])

    def _sample(self, number: int) -> Sample:
        which, element = self.choice(number)
        share = self.config.sets[which]
        crop = replace(self.config.crop, crop=share.crop, subset=share.subset)
        random = np.random.default_rng([self.seed, number])
        return augment_photo(self.sets[which][element], random, crop, self.config.augment)
