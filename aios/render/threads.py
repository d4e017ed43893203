"""Drawing on several cores: numpy works on one, and most of it may work beside itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

MOST_THREADS = 4
"""More wait for memory."""

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


def threads() -> int:
    """How many parts to cut work into."""
    return min(os.cpu_count() or 1, MOST_THREADS)


def side_by_side(work: Callable[[_Given], _Made], parts: Iterable[_Given]) -> list[_Made]:
    """What `work`, which must not call this in turn, makes of each part, in their order."""
    parts = list(parts)
    if len(parts) < 2 or threads() == 1:
        return [work(part) for part in parts]
    return list(_pool().map(work, parts))


def shares(count: int) -> list[slice]:
    """Whole numbers below `count` cut into as many parts as there are threads; none is empty."""
    number = min(threads(), count)
    return [slice(count * i // number, count * (i + 1) // number) for i in range(number)]


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads(), thread_name_prefix="aios-draw")
