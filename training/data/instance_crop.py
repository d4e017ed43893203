"""The paper's augmentation for full-size training: instance crop, size, mirror, colour.

Data specification, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aios.geometry.boxes import cxcywh_to_xyxy
from aios.network.config import ImageConfig
from aios.network.preprocessing import resized_size

from .augment import PHOTO_FRAMING, AugmentConfig, Window, jitter_colours, show_window
from .batch import Sample

_BLACK = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class InstanceCrop:
    """How the part of a photo is chosen, and how large it becomes."""

    crop: float = 0.5
    """Chance that the photo is cropped around people; else all of it is shown."""
    subset: float = 0.5
    """Given a crop: chance that it is around some of the people; else around all."""
    single: float = 0.6
    """Given some: chance that it is one; else any number of them, all numbers alike."""
    short_sides: tuple[int, ...] = tuple(range(480, 801, 32))
    """Pixels of the shorter side, one drawn a photo."""
    long_side: int = 1333
    """Bound of the longer side; the shorter shrinks with it."""


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
"""Chances and colours of the paper: mirrored half of the time, each channel times 0.8 to 1.2."""


@dataclass(frozen=True)
class View:
    """What is shown of a photo and how."""

    window: Window
    mirrored: bool
    size_wh: tuple[int, int]
    """Pixels of the result."""


def crop_around(boxes_xyxy: np.ndarray, size_wh: tuple[int, int]) -> Window:
    """The union of boxes, made as wide or high as the photo's shape asks, inside the photo.

    Args:
        boxes_xyxy: (n, 4) with n at least 1, pixels.
        size_wh: of the photo.
    """
    low, high = boxes_xyxy[:, :2].min(0), boxes_xyxy[:, 2:].max(0)
    size = np.array(size_wh, np.float64)
    aspect = size[0] / size[1]
    width, height = np.maximum(high - low, 1.0)
    extent = np.array([max(width, height * aspect), max(height, width / aspect)])
    # Rounding may push the enlarged side past the photo by less than a pixel.
    extent = np.minimum(extent, size)
    corner = np.clip((low + high - extent) / 2, 0, size - extent)
    corner, extent = np.floor(corner), np.maximum(np.floor(extent), 1)
    return Window(*corner.tolist(), *extent.tolist())


def draw_view(random: np.random.Generator, sample: Sample, crop: InstanceCrop, flip: float) -> View:
    """Choose what to show; the photo decides only by its size and its people's boxes."""
    height, width = sample.picture.shape[:2]
    boxes = cxcywh_to_xyxy(sample.targets.boxes).numpy() * np.tile([width, height], 2)
    window = Window(0.0, 0.0, float(width), float(height))
    if random.random() < crop.crop and len(boxes):
        window = crop_around(boxes[_chosen(random, len(boxes), crop)], (width, height))
    side = crop.short_sides[random.integers(len(crop.short_sides))]
    limits = ImageConfig(short_side=side, long_side=max(crop.long_side, side))
    size_wh = resized_size(int(window.width), int(window.height), limits)
    return View(window, bool(random.random() < flip), size_wh)


def _chosen(random: np.random.Generator, people: int, crop: InstanceCrop) -> Sequence[int]:
    if random.random() >= crop.subset:
        return range(people)
    number = 1 if random.random() < crop.single else int(random.integers(1, people + 1))
    return random.permutation(people)[:number].tolist()


def show_view(sample: Sample, view: View, config: AugmentConfig) -> Sample:
    """Photo and targets as the view has them; colours stay."""
    return show_window(
        sample, view.window, view.size_wh, _BLACK, config.framing, mirrored=view.mirrored
    )


def augment_photo(
    sample: Sample, random: np.random.Generator, crop: InstanceCrop, config: AugmentConfig
) -> Sample:
    """Crop, resize, mirror and recolour; the size of the result is drawn too."""
    shown = show_view(sample, draw_view(random, sample, crop, config.flip), config)
    return Sample(jitter_colours(shown.picture, random, config), shown.targets)
