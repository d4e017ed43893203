"""Thread pool for drawing with numpy, which releases the interpreter lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

MAX_THREADS = 4
"""With more threads, memory bandwidth is the limit."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def num_threads() -> int:
    """Number of threads to split work over."""
    return min(os.cpu_count() or 1, MAX_THREADS)


def parallel_map(work: Callable[[_Item], _Result], parts: Iterable[_Item]) -> list[_Result]:
    """Apply `work` to each part in the thread pool; results in order.  Calls must not nest."""
    parts = list(parts)
    if len(parts) < 2 or num_threads() == 1:
        return [work(part) for part in parts]
    return list(_pool().map(work, parts))


def split_evenly(count: int) -> list[slice]:
    """Split range(count) into at most `num_threads()` non-empty slices."""
    number = min(num_threads(), count)
    return [slice(count * i // number, count * (i + 1) // number) for i in range(number)]


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(num_threads(), thread_name_prefix="aios-draw")
