"""Collages of several images, for people at any position and in any number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .augment import (
    AugmentConfig,
    Window,
    jitter_colours,
    random_window,
    warp_window,
    window_targets,
)
from .batch import Sample, join_targets


def tile_sizes(
    random: np.random.Generator, size_wh: tuple[int, int], count: int
) -> list[tuple[int, int, int, int]]:
    """Split an image into `count` (2 to 4) tiles: x, y, width, height in pixels each."""
    width, height = size_wh
    x = int(width * random.uniform(0.35, 0.65))
    y = int(height * random.uniform(0.35, 0.65))
    if count == 2:
        if width >= height:
            return [(0, 0, x, height), (x, 0, width - x, height)]
        return [(0, 0, width, y), (0, y, width, height - y)]
    if count == 3:
        rest = [(x, 0, width - x, y), (x, y, width - x, height - y)]
        return [(0, 0, x, height), *rest]
    top = [(0, 0, x, y), (x, 0, width - x, y)]
    return [*top, (0, y, x, height - y), (x, y, width - x, height - y)]


def collage(
    samples: Sequence[Sample],
    random: np.random.Generator,
    size_wh: tuple[int, int],
    config: AugmentConfig,
) -> Sample:
    """Combine two to four samples in one image of `size_wh` pixels."""
    width, height = size_wh
    canvas = np.zeros((height, width, 3), np.uint8)
    targets = []
    tiles = tile_sizes(random, size_wh, len(samples))
    for sample, (x, y, tile_width, tile_height) in zip(samples, tiles, strict=True):
        tile_wh = (tile_width, tile_height)
        share, jitter = config.collage_person_share, config.aspect_jitter
        window = random_window(random, sample, tile_wh, share, jitter)
        red, green, blue = random.uniform(0, 255, 3).tolist()
        shown = warp_window(sample, window, tile_wh, (red, green, blue), config.framing)
        part = jitter_colours(shown.picture, random, config)
        canvas[y : y + tile_height, x : x + tile_width] = part
        outside = Window(-x, -y, width, height)
        targets.append(window_targets(shown.targets, outside, tile_wh, config.framing))
    joined, _ = join_targets(targets)
    ignore = any(t.ignore_unmatched for t in targets)
    return Sample(canvas, replace(joined, ignore_unmatched=ignore, focal_length=0.0))
