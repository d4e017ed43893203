"""Prefetch one item in another thread, which overlaps reading, computing and writing."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def prefetch(items: Iterable[T]) -> Generator[T, None, None]:
    """Yield `items` in order while a thread computes the next one.

    An error of `items` is raised at the position of its item. Close the generator (see
    `contextlib.closing`) before the resources that `items` reads from: closing waits for the item
    in progress.
    """
    end = object()
    iterator = iter(items)
    with ThreadPoolExecutor(1, thread_name_prefix="aios-prefetch") as pool:
        pending = pool.submit(next, iterator, end)
        while (item := pending.result()) is not end:
            pending = pool.submit(next, iterator, end)
            yield item  # type: ignore[misc]  # only `end` is not a T
