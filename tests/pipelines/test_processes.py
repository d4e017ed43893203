"""Processes side by side: order, lost processes, tasks that end their process, unusable starts."""

import os
import signal
from functools import partial

import pytest

from aios.pipelines.processes import ProcessPool, ProcessStartError


def start(folder):
    """A function that squares numbers, and ends or delays its process where a file says so."""

    def square(number):
        (folder / f"{number}.{os.getpid()}").touch()
        order = folder / f"{number}.order"
        if order.exists():
            end = order.read_text() == "always"
            if not end:
                order.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return number**2

    return square


def fail_to_start():
    os.kill(os.getpid(), signal.SIGKILL)


def results(folder, count, lost=lambda number: -number, processes=2):
    with ProcessPool(partial(start, folder), processes) as pool:
        return list(pool.map(iter(range(1, count + 1)), lost))


def runs(folder, number):
    return len([path for path in folder.glob(f"{number}.*") if path.suffix != ".order"])


def test_lost_processes_lose_and_double_no_task(tmp_path):
    (tmp_path / "1.order").write_text("once")
    (tmp_path / "7.order").write_text("always")
    (tmp_path / "20.order").write_text("once")
    found = results(tmp_path, 20)
    assert found == [number**2 if number != 7 else -7 for number in range(1, 21)]
    assert [runs(tmp_path, number) for number in (1, 7, 20)] == [2, 2, 2]
    # Those in the other process when a task was lost have their results.
    assert {runs(tmp_path, number) for number in range(1, 21)} == {1, 2}


def test_tasks_are_taken_a_few_ahead(tmp_path):
    taken = []

    def tasks():
        for number in range(30):
            taken.append(number)
            yield number

    with ProcessPool(partial(start, tmp_path), 1) as pool:
        for count, result in enumerate(pool.map(tasks(), lambda number: -1)):
            assert result == count**2
            assert len(taken) <= count + 4
    assert len(taken) == 30


def test_process_that_ends_while_it_rests_is_replaced(tmp_path):
    with ProcessPool(partial(start, tmp_path), 1) as pool:
        assert list(pool.map(iter([2]), abs)) == [4]
        [path] = tmp_path.glob("2.*")
        os.kill(int(path.suffix[1:]), signal.SIGKILL)
        pool._workers[0]._process.join()
        assert list(pool.map(iter([3]), abs)) == [9]


def test_no_tasks_have_no_results(tmp_path):
    assert results(tmp_path, 0) == []


def test_processes_that_cannot_start_are_one_error(tmp_path):
    with ProcessPool(fail_to_start, 2) as pool, pytest.raises(ProcessStartError, match="--proc"):
        list(pool.map(iter([1]), abs))


def test_no_process_is_left(tmp_path):
    with ProcessPool(partial(start, tmp_path), 2) as pool:
        next(pool.map(iter(range(9)), abs))
        processes = [worker._process for worker in pool._workers]
    assert not any(process.is_alive() for process in processes)


def test_process_ends_with_its_parent(tmp_path):
    """The connection of a killed parent is closed by the system."""
    with ProcessPool(partial(start, tmp_path), 1) as pool:
        assert list(pool.map(iter([2]), abs)) == [4]
        worker = pool._workers[0]
        worker.connection.close()
        worker._process.join()
        assert worker._process.exitcode == 0


def test_interrupt_from_the_keyboard_ends_no_process(tmp_path):
    with ProcessPool(partial(start, tmp_path), 1) as pool:
        assert list(pool.map(iter([2]), abs)) == [4]
        [path] = tmp_path.glob("2.*")
        os.kill(int(path.suffix[1:]), signal.SIGINT)
        assert list(pool.map(iter([3]), abs)) == [9]
        assert len({path.suffix for path in tmp_path.glob("[23].*")}) == 1
