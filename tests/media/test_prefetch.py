import threading
from contextlib import closing

import pytest

from aios.media.prefetch import prefetch


def test_items_come_in_order_and_one_ahead():
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
            # The next one comes by itself; the one after it does not.
            assert waiting.acquire(timeout=10)
            waiting.release()
        assert len(made) == min(number + 2, 4)


def test_an_error_comes_in_its_place():
    def items():
        yield 1
        yield 2
        raise ValueError("damaged")

    coming = prefetch(items())
    assert [next(coming), next(coming)] == [1, 2]
    with pytest.raises(ValueError, match="damaged"):
        next(coming)


def test_closing_waits_for_the_item_being_made():
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
