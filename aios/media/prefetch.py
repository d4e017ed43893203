"""Items made one ahead in another thread, so that reading, computing and writing overlap."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def prefetch(items: Iterable[T]) -> Generator[T, None, None]:
    """The same items in the same order; while one is worked on, the next is made.

    An error of `items` comes where its item would have come.  Close the generator (see
    `contextlib.closing`) before what `items` reads from: that waits for the item being made.
    """
    end = object()
    iterator = iter(items)
    with ThreadPoolExecutor(1, thread_name_prefix="aios-ahead") as pool:
        coming = pool.submit(next, iterator, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, iterator, end)
            yield item  # type: ignore[misc]  # what is not the end is an item
