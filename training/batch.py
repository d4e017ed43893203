"""One training batch: pictures of one size and the joined targets of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from aios.config import ImageConfig
from aios.image import ImageBatch

from .targets import TENSOR_FIELDS, Targets


@dataclass(frozen=True)
class Sample:
    """One picture and what is true of the people in it."""

    picture: np.ndarray
    """(H, W, 3) uint8 RGB."""
    targets: Targets


@dataclass(frozen=True)
class Batch:
    """B pictures of one size, P people; `image_index` says whose picture each person is in."""

    pictures: Tensor
    """(B, 3, H, W) uint8 RGB."""
    targets: Targets
    """P people of all pictures, joined; its two scalars mean nothing here."""
    image_index: Tensor
    """(P,) int64, ascending."""
    ignore_unmatched: Tensor
    """(B,) bool: further people may be in the picture, not annotated."""
    focal_length: float
    """Pixels: the network's camera for pictures of this size."""

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.pictures)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of every picture."""
        return int(self.pictures.shape[2]), int(self.pictures.shape[3])

    def images(self, config: ImageConfig) -> ImageBatch:
        """Normalised, as the network takes them."""
        mean = torch.tensor(config.mean, device=self.pictures.device)[:, None, None]
        std = torch.tensor(config.std, device=self.pictures.device)[:, None, None]
        pixels = self.pictures.float().sub_(mean).div_(std)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        sizes = torch.tensor([self.size_hw], device=pixels.device).expand(len(self), 2)
        return ImageBatch(pixels, None, sizes)

    def to(self, device: torch.device | str) -> Self:
        """The same batch on `device`."""
        return replace(
            self,
            pictures=self.pictures.to(device, non_blocking=True),
            targets=self.targets.to(device),
            image_index=self.image_index.to(device),
            ignore_unmatched=self.ignore_unmatched.to(device),
        )


def join_targets(targets: Sequence[Targets]) -> tuple[Targets, Tensor]:
    """All people one after the other, and the picture of each: (P,) int64."""
    joined = Targets(
        **{name: torch.cat([getattr(t, name) for t in targets]) for name in TENSOR_FIELDS},
        focal_length=0.0,
        ignore_unmatched=False,
    )
    counts = torch.tensor([len(t) for t in targets])
    return joined, torch.repeat_interleave(torch.arange(len(targets)), counts)


def build_batch(samples: Sequence[Sample], focal_length: float) -> Batch:
    """Stack samples whose pictures have one size."""
    pictures = torch.from_numpy(np.stack([s.picture for s in samples])).permute(0, 3, 1, 2)
    targets, image_index = join_targets([s.targets for s in samples])
    ignore = torch.tensor([s.targets.ignore_unmatched for s in samples])
    return Batch(pictures.contiguous(), targets, image_index, ignore, focal_length)
