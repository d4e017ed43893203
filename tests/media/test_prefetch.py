"""Prefetching: order, errors, closing."""

import threading
from contextlib import closing

import pytest

from aios.media.prefetch import prefetch


def test_items_are_yielded_in_order_with_one_prefetched():
    made, waiting = [], threading.Semaphore(0)

    def items():
        for number in range(4):
            made.append(number)
            waiting.release()
            yield number

    assert list(prefetch([])) == []
    for number in prefetch(items()):
        assert waiting.acquire(timeout=10)
        if number < 3:
            # The next item is computed unasked; the one after it is not.
            assert waiting.acquire(timeout=10)
            waiting.release()
        assert len(made) == min(number + 2, 4)


def test_error_is_raised_at_the_position_of_its_item():
    def items():
        yield 1
        yield 2
        raise ValueError("damaged")

    coming = prefetch(items())
    assert [next(coming), next(coming)] == [1, 2]
    with pytest.raises(ValueError, match="damaged"):
        next(coming)


def test_closing_waits_for_the_item_in_progress():
    begun, may_end, ended = threading.Event(), threading.Event(), []

    def items():
        yield 1
        begun.set()
        assert may_end.wait(10)
        ended.append(True)
        yield 2

    def let_it_end():
        assert begun.wait(10)
        may_end.set()

    helper = threading.Thread(target=let_it_end)
    with pytest.raises(KeyError), closing(prefetch(items())) as taken:
        assert next(taken) == 1
        helper.start()
        raise KeyError
    helper.join()
    assert ended == [True]
