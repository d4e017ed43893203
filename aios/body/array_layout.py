"""Shapes in which programs store the same array: merged axes, axes of size 1, transposed tables."""

from __future__ import annotations

import math
from itertools import accumulate
from operator import mul
from typing import NamedTuple

import numpy as np


class Layout(NamedTuple):
    """How a stored array becomes one of the expected shape."""

    shape: tuple[int, ...]
    """After `is_transposed` has been undone."""
    is_transposed: bool

    def apply(self, stored: np.ndarray) -> np.ndarray:
        """The array in its expected shape."""
        return (stored.T if self.is_transposed else stored).reshape(self.shape)


def find_layout(stored: tuple[int, ...], expected: tuple[int | None, ...]) -> Layout | None:
    """How to read an array of shape `stored`; None if it cannot have the expected shape.

    Args:
        stored: shape in the file.
        expected: shape; one size may be None, which accepts any.
    """
    for is_transposed in (False, True):
        # With more axes than two, the order of a transposed array is a guess.
        if is_transposed and len(stored) != 2:
            continue
        shape = stored[::-1] if is_transposed else stored
        full = _complete(expected, math.prod(shape))
        if full is not None and _have_one_order(shape, full):
            return Layout(full, is_transposed)
    return None


def _complete(expected: tuple[int | None, ...], count: int) -> tuple[int, ...] | None:
    """`expected` for an array of `count` elements; None if there is no such shape."""
    known = math.prod(size for size in expected if size is not None)
    free, rest = divmod(count, known)
    if count == 0 or rest or (None not in expected and free != 1):
        return None
    return tuple(free if size is None else size for size in expected)


def _have_one_order(first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    """Whether reshaping merges or divides axes and never mixes their elements."""
    ends = [set(accumulate(shape, mul)) - {1} for shape in (first, second)]
    return ends[0] <= ends[1] or ends[1] <= ends[0]
