"""Drawing skin samples into per-person depth buffers, and who is in front of whom.

Each sample is packed as (depth << 32 | sample number) into int64, so that one minimum per pixel
finds both the nearest depth and what lies there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .surface import NUM_SAMPLES, BodySurface

EMPTY = torch.iinfo(torch.int64).max
_NEAR_M = 0.12
_RIM = 8  # pixels around the picture that footprints may touch
_DEPTH_STEPS = 65536.0  # per metre
_SKIN_PER_SQUARED_HEIGHT = 0.59  # 1.67 square metres on 1.68 m
_HITS_PER_PIXEL = 6.5
_TINY_PX = 56
_FEW_SAMPLES, _MANY_SAMPLES = 1500, 42_000
_LOW_WORD = 0xFFFFFFFF
_HOLE_DEPTH = int(0.06 * _DEPTH_STEPS) << 32


@dataclass(frozen=True)
class Splats:
    """N skin samples of P people that face the camera, in the camera frame, and their buffers.

    Attributes:
        person: (N,) int64.
        sample: (N,) int64 number within the fixed samples.
        position: (N, 3) metres.
        normal: (N, 3) of the triangle, of any length.
        pixel: (N, 2) x, y pixels.
        keys: (P, H, W) int64 packed depth and number 0..N-1, or EMPTY.
    """

    person: Tensor
    sample: Tensor
    position: Tensor
    normal: Tensor
    pixel: Tensor
    keys: Tensor


def sample_counts(heights_px: np.ndarray) -> tuple[list[int], list[int]]:
    """Samples and footprint (pixels, squared) per person, by the height of the standing person.

    The product of density and footprint is chosen so that about one pixel in a thousand is missed;
    the smallest footprint is taken for which the samples do not become too many.
    """
    counts, footprints = [], []
    for height in heights_px:
        skin_px = _SKIN_PER_SQUARED_HEIGHT * height**2
        footprint = 1 if height < _TINY_PX else 2
        while (count := _HITS_PER_PIXEL * skin_px / footprint**2) > _MANY_SAMPLES and footprint < 8:
            footprint += 1
        counts.append(int(np.clip(count, _FEW_SAMPLES, NUM_SAMPLES)))
        footprints.append(footprint)
    return counts, footprints


def splat(
    body: BodySurface,
    vertices: Tensor,
    counts: list[int],
    footprints: list[int],
    focal_length: float,
    size_hw: tuple[int, int],
) -> Splats:
    """Draw P people, each into a buffer of its own.

    Args:
        body: whose samples are drawn.
        vertices: (P, V, 3) metres, camera frame.
        counts: samples of each person.
        footprints: pixels a sample covers, squared.
        focal_length: pixels, principal point in the middle.
        size_hw: pixels.
    """
    people, height, width = len(vertices), *size_hw
    person = torch.repeat_interleave(torch.arange(people), torch.tensor(counts, dtype=torch.int64))
    sample = torch.cat(
        [torch.arange(count) for count in counts] or [torch.zeros(0, dtype=torch.int64)]
    )
    first, second, third = (
        vertices.reshape(-1, 3).index_select(0, corner[sample] + person * body.num_vertices)
        for corner in body.samples.corners
    )
    weight = body.samples.barycentric[sample]
    position = first * weight[:, :1] + second * weight[:, 1:2] + third * weight[:, 2:]
    normal = torch.linalg.cross(second - first, third - first)
    facing = (torch.linalg.vecdot(normal, position) < 0) & (position[:, 2] > _NEAR_M)
    facing = torch.nonzero(facing)[:, 0]
    person, sample, position, normal = (
        values.index_select(0, facing) for values in (person, sample, position, normal)
    )
    depth = position[:, 2]
    middle = torch.tensor([width / 2, height / 2])
    pixel = position[:, :2] * (focal_length / depth)[:, None] + middle
    keys = torch.full((people, height + 2 * _RIM, width + 2 * _RIM), EMPTY)
    seen = ((pixel > -1) & (pixel < 2 * middle + 1)).all(1)
    packed = ((depth.clamp_max(3e4) * _DEPTH_STEPS).long() << 32) | torch.arange(len(person))
    foot = torch.tensor(footprints, dtype=torch.int64)[person]
    row_length = keys.shape[2]
    for size in sorted(set(footprints)):
        chosen = torch.nonzero(seen & (foot == size))[:, 0]
        corner = torch.floor(pixel[chosen] - (size - 1) / 2).long() + _RIM
        cell = (person[chosen] * keys.shape[1] + corner[:, 1]) * row_length + corner[:, 0]
        values = packed[chosen]
        for offset in range(size * size):
            place = cell + (offset // size * row_length + offset % size)
            keys.view(-1).scatter_reduce_(0, place, values, "amin")
    keys = keys[:, _RIM:-_RIM, _RIM:-_RIM]
    return Splats(person, sample, position, normal, pixel, keys)


def _close_holes(keys: Tensor) -> Tensor:
    """Fill single pixels that all four neighbours lie well in front of, (H, W) -> (H, W)."""
    left, right = keys[1:-1, :-2], keys[1:-1, 2:]
    above, below = keys[:-2, 1:-1], keys[2:, 1:-1]
    farthest = torch.maximum(torch.maximum(left, right), torch.maximum(above, below))
    middle = keys[1:-1, 1:-1]
    hole = (farthest < EMPTY) & (middle - _HOLE_DEPTH > farthest)
    closed = keys.clone()
    closed[1:-1, 1:-1] = torch.where(hole, farthest, middle)
    return closed


@dataclass(frozen=True)
class Composite:
    """All people and occluders in one picture.

    Attributes:
        owner: (H, W) int64 person 0..P-1, P for an occluder, -1 for background.
        winner: (H, W) int64 splat number where owner is a person.
        depth: (H, W) float32 metres, infinite on the background.
        total_px: (P,) float32 pixels of each person alone.
        visible_px: (P,) float32 pixels of each person that are seen.
    """

    owner: Tensor
    winner: Tensor
    depth: Tensor
    total_px: Tensor
    visible_px: Tensor


def composite(splats: Splats, occluder_depth: Tensor) -> Composite:
    """Let the nearest win, pixel by pixel.

    Args:
        splats: people.
        occluder_depth: (H, W) float32 metres, infinite where there is no occluder.
    """
    keys = splats.keys
    people = len(keys)
    thing = torch.where(
        torch.isfinite(occluder_depth),
        (occluder_depth.clamp_max(3e4) * _DEPTH_STEPS).long() << 32,
        EMPTY,
    )
    best = torch.full_like(thing, EMPTY)
    for one in keys:  # faster than one reduction over people
        best = torch.minimum(best, one)
    best = torch.minimum(_close_holes(best), thing)
    drawn = best < EMPTY
    front = drawn & (best < thing)
    winner = torch.where(front, best & _LOW_WORD, 0)
    owner = torch.where(drawn, people, -1)
    if people:
        owner = torch.where(front, splats.person[winner], owner)
    depth = torch.where(drawn, (best >> 32).float() / _DEPTH_STEPS, torch.inf)
    alone = (keys < EMPTY).flatten(1).count_nonzero(1).float()
    visible = torch.bincount(owner.flatten() + 1, minlength=people + 2)[1 : people + 1].float()
    return Composite(owner, winner, depth, torch.maximum(alone, visible), visible)
