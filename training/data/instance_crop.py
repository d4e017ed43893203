"""Augmentation for full-size training (AiOS, Sec. 4): instance crop, resize, flip, colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aios.geometry.boxes import cxcywh_to_xyxy
from aios.network.config import ImageConfig
from aios.network.preprocessing import place_photo

from .augment import PHOTO_FRAMING, AugmentConfig, Window, jitter_colours, warp_window
from .batch import Sample

_BLACK = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class InstanceCrop:
    """Probabilities and sizes of the random crop."""

    crop: float = 0.5
    """Probability of cropping around people instead of using the whole photo."""
    subset: float = 0.5
    """Probability that a crop is around some of the people instead of all."""
    single: float = 0.6
    """Probability that a crop around some people is around one; otherwise the number is uniform."""
    short_sides: tuple[int, ...] = tuple(range(480, 801, 32))
    """Candidate lengths of the shorter side in pixels."""
    long_side: int = 1333
    """Maximum of the longer side in pixels; the shorter side is reduced with it."""


PHOTO_AUGMENT = AugmentConfig(
    flip=0.5,
    brightness=0.0,
    contrast=0.0,
    channel=0.2,
    grey=0.0,
    blur=0.0,
    noise=0.0,
    framing=PHOTO_FRAMING,
)
"""Settings of the paper: flip with probability 0.5, each channel times 0.8 to 1.2."""


@dataclass(frozen=True)
class CropPlan:
    """Window, flip and output size of one photo."""

    window: Window
    mirrored: bool
    size_wh: tuple[int, int]
    """Output size in pixels."""


def crop_around(boxes_xyxy: np.ndarray, size_wh: tuple[int, int]) -> Window:
    """Union of boxes, enlarged to the aspect ratio of the photo and moved inside it.

    Args:
        boxes_xyxy: (n, 4) pixels, n at least 1.
        size_wh: of the photo.
    """
    low, high = boxes_xyxy[:, :2].min(0), boxes_xyxy[:, 2:].max(0)
    size = np.array(size_wh, np.float64)
    aspect = size[0] / size[1]
    width, height = np.maximum(high - low, 1.0)
    extent = np.array([max(width, height * aspect), max(height, width / aspect)])
    # Rounding may make the enlarged side a fraction of a pixel larger than the photo.
    extent = np.minimum(extent, size)
    corner = np.clip((low + high - extent) / 2, 0, size - extent)
    corner, extent = np.floor(corner), np.maximum(np.floor(extent), 1)
    return Window(*corner.tolist(), *extent.tolist())


def sample_crop(
    random: np.random.Generator, sample: Sample, crop: InstanceCrop, flip: float
) -> CropPlan:
    """Choose window, flip and size at random, from the size of the photo and its body boxes."""
    height, width = sample.picture.shape[:2]
    boxes = cxcywh_to_xyxy(sample.targets.boxes).numpy() * np.tile([width, height], 2)
    window = Window(0.0, 0.0, float(width), float(height))
    if random.random() < crop.crop and len(boxes):
        window = crop_around(boxes[_chosen(random, len(boxes), crop)], (width, height))
    side = crop.short_sides[random.integers(len(crop.short_sides))]
    limits = ImageConfig(short_side=side, long_side=max(crop.long_side, side))
    size_wh = place_photo(int(window.width), int(window.height), limits).input_wh
    return CropPlan(window, bool(random.random() < flip), size_wh)


def _chosen(random: np.random.Generator, people: int, crop: InstanceCrop) -> Sequence[int]:
    if random.random() >= crop.subset:
        return range(people)
    number = 1 if random.random() < crop.single else int(random.integers(1, people + 1))
    return random.permutation(people)[:number].tolist()


def apply_crop(sample: Sample, plan: CropPlan, config: AugmentConfig) -> Sample:
    """Transform photo and targets; colours stay."""
    return warp_window(
        sample, plan.window, plan.size_wh, _BLACK, config.framing, mirrored=plan.mirrored
    )


def augment_photo(
    sample: Sample, random: np.random.Generator, crop: InstanceCrop, config: AugmentConfig
) -> Sample:
    """Randomly crop, resize, flip and recolour; the output size is random too."""
    shown = apply_crop(sample, sample_crop(random, sample, crop, config.flip), config)
    return Sample(jitter_colours(shown.picture, random, config), shown.targets)
