"""Training batch: images padded to one size, with concatenated targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from aios.network.config import ImageConfig
from aios.network.preprocessing import ImageBatch

from ..targets import TENSOR_FIELDS, Targets


@dataclass(frozen=True)
class Sample:
    """One image and its targets."""

    picture: np.ndarray
    """(H, W, 3) uint8 RGB."""
    targets: Targets


@dataclass(frozen=True)
class Batch:
    """B images and P people; `image_index` maps people to images."""

    pictures: Tensor
    """(B, 3, H, W) uint8 RGB, padded right and bottom."""
    sizes_hw: Tensor
    """(B, 2) int64, height and width of each image without padding, on the CPU."""
    targets: Targets
    """P people of all images, concatenated; its two scalar fields are unused."""
    image_index: Tensor
    """(P,) int64, index of the image of each person, ascending."""
    ignore_unmatched: Tensor
    """(B,) bool, True for images that may show people without annotation."""
    focal_length: float
    """Pixels; the principal point is the centre of each image without padding."""

    def __len__(self) -> int:
        """Number of images."""
        return len(self.pictures)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the padded images."""
        return int(self.pictures.shape[2]), int(self.pictures.shape[3])

    def images(self, config: ImageConfig) -> ImageBatch:
        """Normalised network input, 0 in the padding."""
        mean = torch.tensor(config.mean, device=self.pictures.device)[:, None, None]
        std = torch.tensor(config.std, device=self.pictures.device)[:, None, None]
        pixels = self.pictures.float().sub_(mean).div_(std)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        sizes = self.sizes_hw.to(pixels.device)
        if bool((self.sizes_hw == torch.tensor(self.size_hw)).all()):
            return ImageBatch(pixels, None, sizes)
        rows = torch.arange(pixels.shape[2], device=pixels.device)[:, None]
        columns = torch.arange(pixels.shape[3], device=pixels.device)
        mask = (rows >= sizes[:, :1, None]) | (columns >= sizes[:, 1:, None])
        return ImageBatch(pixels.masked_fill_(mask[:, None], 0.0), mask, sizes)

    def to(self, device: torch.device | str) -> Self:
        """Copy the batch to `device`."""
        return replace(
            self,
            pictures=self.pictures.to(device, non_blocking=True),
            targets=self.targets.to(device),
            image_index=self.image_index.to(device),
            ignore_unmatched=self.ignore_unmatched.to(device),
        )


def join_targets(targets: Sequence[Targets]) -> tuple[Targets, Tensor]:
    """Concatenate targets; also returns the image index of each person, (P,) int64."""
    joined = Targets(
        **{name: torch.cat([getattr(t, name) for t in targets]) for name in TENSOR_FIELDS},
        focal_length=0.0,
        ignore_unmatched=False,
    )
    counts = torch.tensor([len(t) for t in targets])
    return joined, torch.repeat_interleave(torch.arange(len(targets)), counts)


def build_batch(samples: Sequence[Sample], focal_length: float) -> Batch:
    """Stack samples, padding the images right and bottom to the largest size."""
    sizes = [s.picture.shape[:2] for s in samples]
    pictures = torch.zeros((len(samples), 3, *np.max(sizes, 0).tolist()), dtype=torch.uint8)
    for stacked, sample, (height, width) in zip(pictures, samples, sizes, strict=True):
        stacked[:, :height, :width] = torch.from_numpy(sample.picture).permute(2, 0, 1)
    targets, image_index = join_targets([s.targets for s in samples])
    ignore = torch.tensor([s.targets.ignore_unmatched for s in samples])
    return Batch(pictures, torch.tensor(sizes), targets, image_index, ignore, focal_length)


def join_batches(batches: Sequence[Batch]) -> Batch:
    """Concatenate batches of one image size and camera on one device."""
    targets = Targets(
        **{name: torch.cat([getattr(b.targets, name) for b in batches]) for name in TENSOR_FIELDS},
        focal_length=0.0,
        ignore_unmatched=False,
    )
    starts = [sum(len(b) for b in batches[:number]) for number in range(len(batches))]
    indices = [b.image_index + start for b, start in zip(batches, starts, strict=True)]
    return Batch(
        torch.cat([b.pictures for b in batches]),
        torch.cat([b.sizes_hw for b in batches]),
        targets,
        torch.cat(indices),
        torch.cat([b.ignore_unmatched for b in batches]),
        batches[0].focal_length,
    )
