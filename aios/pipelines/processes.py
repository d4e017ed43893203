"""Processes that work side by side, one task at a time each; a lost process loses no task."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 3
"""Tasks for each process that are taken ahead of the oldest unfinished one."""
_FAILED_STARTS = 3


class ProcessStartError(RuntimeError):
    """Processes end before they are ready; the message is one sentence."""


class ProcessPool(Generic[T, R]):
    """Processes that each build a function once and apply it to tasks; a context manager.

    Tasks and results must be picklable. Processes ignore an interrupt from the keyboard and end
    with this one, however it ends.
    """

    def __init__(self, start: Callable[[], Callable[[T], R]], count: int) -> None:
        """Start `count` processes.

        Args:
            start: called in each process; returns the function for the tasks. Picklable.
            count: number of processes.
        """
        self._start = start
        self._failed_starts = 0
        self._workers = [_Worker(start) for _ in range(count)]

    def map(self, tasks: Iterable[T], lost: Callable[[T], R]) -> Iterator[R]:
        """Results in the order of the tasks.

        A task whose process was lost is repeated while the other processes rest, since their
        memory may have been the reason.

        Args:
            tasks: a few are taken ahead.
            lost: result of a task that has ended its process twice.

        Raises:
            ProcessStartError: processes end before they are ready.
        """
        queue = _Queue(enumerate(tasks), _AHEAD * len(self._workers), lost)
        while True:
            self._hand_out(queue)
            if queue.is_done:
                return
            self._collect(queue, wait=not queue.has_next)
            self._hand_out(queue)
            if queue.has_next:
                yield queue.next_result()

    def _hand_out(self, queue: _Queue[T, R]) -> None:
        """Give tasks to resting processes."""
        for index, worker in enumerate(self._workers):
            if not worker.is_resting:
                continue
            number = queue.take(all_rest=all(each.number is None for each in self._workers))
            if number is None:
                return
            try:
                worker.give(number, queue.tasks[number])
            except OSError:  # it has ended while it was resting
                queue.put_back(number)
                self._replace(index)

    def _collect(self, queue: _Queue[T, R], wait: bool) -> None:
        """Take the results that are there, or wait for the first one."""
        busy = {
            each.connection: index
            for index, each in enumerate(self._workers)
            if not each.is_resting
        }
        for ready in connection.wait(list(busy), None if wait else 0):
            index = busy[ready]  # type: ignore[index]  # only connections were given
            worker = self._workers[index]
            try:
                result = worker.connection.recv()
            except (EOFError, OSError):
                number, was_ready = worker.number, worker.is_ready
                self._replace(index)
                if number is not None:
                    queue.repeat(number)
                elif not was_ready:
                    self._count_failed_start()
                continue
            if not worker.is_ready:
                worker.is_ready, self._failed_starts = True, 0
            else:
                queue.finish(worker.number, result)
                worker.number = None

    def _replace(self, index: int) -> None:
        self._workers[index].end()
        self._workers[index] = _Worker(self._start)

    def _count_failed_start(self) -> None:
        self._failed_starts += 1
        if self._failed_starts == _FAILED_STARTS:
            raise ProcessStartError("The processes end as they start: give a smaller --processes.")

    def __enter__(self) -> Self:
        """Return the pool."""
        return self

    def __exit__(self, *_: object) -> None:
        """End all processes, also in the middle of a task."""
        for worker in self._workers:
            worker.end()


class _Worker:
    """One process, seen from its parent.

    Attributes:
        connection: to the process.
        is_ready: whether its function is built.
        number: of its task; None while it is resting.
    """

    def __init__(self, start: Callable[[], Callable[[Any], Any]]) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.is_ready = False
        self.number: int | None = None
        self._process: SpawnProcess = context.Process(
            target=_serve, args=(other, start), daemon=True
        )
        with _without_interrupts():
            self._process.start()
        other.close()  # the end of the process then ends the connection

    @property
    def is_resting(self) -> bool:
        return self.is_ready and self.number is None

    def give(self, number: int, task: object) -> None:
        """Send a task.

        Raises:
            OSError: the process has ended.
        """
        self.connection.send(task)
        self.number = number

    def end(self) -> None:
        self.connection.close()
        self._process.kill()
        self._process.join()


@dataclass
class _Queue(Generic[T, R]):
    """Tasks from the first one without a result, and results that wait for their turn."""

    source: Iterator[tuple[int, T]]
    size: int
    lost: Callable[[T], R]
    tasks: dict[int, T] = field(default_factory=dict)
    _waiting: deque[int] = field(default_factory=deque)
    _suspects: deque[int] = field(default_factory=deque)
    _repeated: set[int] = field(default_factory=set)
    _results: dict[int, R] = field(default_factory=dict)
    _next: int = 0
    _suspect_runs: bool = False
    _source_ended: bool = False

    @property
    def is_done(self) -> bool:
        """Whether every task has given its result."""
        return self._source_ended and not self.tasks and not self._results

    @property
    def has_next(self) -> bool:
        """Whether the next result in order is there."""
        return self._next in self._results

    def next_result(self) -> R:
        self._next += 1
        return self._results.pop(self._next - 1)

    def take(self, all_rest: bool) -> int | None:
        """Number of a task to run now; None if there is none."""
        if self._suspect_runs:
            return None
        if self._suspects:
            if not all_rest:
                return None
            self._suspect_runs = True
            return self._suspects.popleft()
        return self._waiting.popleft() if self._waiting else self._from_source()

    def _from_source(self) -> int | None:
        if self._source_ended or len(self.tasks) + len(self._results) >= self.size:
            return None
        taken = next(self.source, None)
        if taken is None:
            self._source_ended = True
            return None
        number, self.tasks[number] = taken
        return number

    def put_back(self, number: int) -> None:
        """Undo `take`."""
        if self._suspect_runs:
            self._suspect_runs = False
            self._suspects.appendleft(number)
        else:
            self._waiting.appendleft(number)

    def repeat(self, number: int) -> None:
        """Note that a task was lost with its process."""
        if number in self._repeated:
            self.finish(number, self.lost(self.tasks[number]))
        else:
            self._repeated.add(number)
            self._suspects.append(number)

    def finish(self, number: int | None, result: R) -> None:
        assert number is not None
        del self.tasks[number]
        self._suspect_runs = self._suspect_runs and number not in self._repeated
        self._repeated.discard(number)
        self._results[number] = result


def _serve(parent: connection.Connection, start: Callable[[], Callable[[Any], Any]]) -> None:
    """Work for a parent until it closes the connection or ends."""
    try:
        work = start()
        parent.send(None)
        while True:
            parent.send(work(parent.recv()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Start processes that ignore Ctrl-C, which the terminal also sends to them.

    A blocked signal stays blocked in new processes; here it is delivered at the end.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    earlier = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, earlier)
