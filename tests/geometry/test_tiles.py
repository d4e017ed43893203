"""Tiles of panoramas."""

from itertools import pairwise

import pytest

from aios.geometry.tiles import tiles

SIZES = [(401, 100), (1000, 100), (5000, 100), (100, 401), (100, 1000), (613, 151)]


@pytest.mark.parametrize("size", [(100, 100), (400, 100), (100, 400), (4, 1)])
def test_ordinary_photos_are_not_divided(size):
    assert tiles(*size) == []


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_tiles_cover_the_photo_and_their_cores_meet(width, height):
    axis, longer, shorter = (0, width, height) if width > height else (1, height, width)
    parts = tiles(width, height)
    starts = [part.origin[axis] for part in parts]
    ends = [part.origin[axis] + part.size[axis] for part in parts]
    assert (starts[0], ends[-1]) == (0, longer)
    assert all(part.origin[1 - axis] == 0 for part in parts)
    assert all(part.size[1 - axis] == shorter for part in parts)
    # People of up to 0.7 times the shorter side lie whole in the tile of their centre.
    for part, start, end in zip(parts, starts, ends, strict=True):
        low, high = part.core
        assert start == 0 or low - start >= 0.35 * shorter - 1
        assert end == longer or end - high >= 0.35 * shorter - 1
    assert all(0 < left.core[1] - right.core[0] <= 0.1 * shorter for left, right in pairwise(parts))
