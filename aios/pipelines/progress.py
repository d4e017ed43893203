"""Progress of long jobs, time left, and cancellation."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


class CancelledError(Exception):
    """Raised by a progress callback to stop a job; the job cleans up and re-raises it."""


@dataclass(frozen=True)
class Progress:
    """State of a job.

    Attributes:
        stage: label of the current stage.
        done: finished steps of this stage.
        total: steps of this stage; None if unknown.
        share: finished share of all stages, 0-1.
        seconds_left: for all stages; None if unknown.
    """

    stage: str
    done: int
    total: int | None
    share: float
    seconds_left: float | None

    @property
    def text(self) -> str:
        """One line, such as "Photo: 1 of 4, 6 seconds left"."""
        steps = f"{self.done} of {self.total}" if self.total else str(self.done)
        left = f", {duration_text(self.seconds_left)} left" if self.seconds_left else ""
        return f"{self.stage}: {steps}{left}"


ProgressCallback = Callable[[Progress], None]
"""Called after each step; may raise `CancelledError`."""


class ProgressReporter:
    """Counts the steps of a job and reports each one."""

    def __init__(
        self,
        report: ProgressCallback,
        stages: Mapping[str, float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start with nothing done.

        Args:
            report: called after each step.
            stages: label -> relative duration of a step, in order. A stage that has not begun is
                assumed to have as many steps as the current one.
            clock: returns seconds.
        """
        self._report = report
        self._stages = dict(stages)
        self._clock = clock
        self._stage = next(iter(stages))
        self._total: int | None = None
        self._done = 0
        self._start = clock()

    def begin(self, stage: str, total: int | None) -> None:
        """Begin a stage of `total` steps; None if the number is unknown."""
        self._stage, self._total, self._done = stage, total, 0
        self._start = self._clock()
        self._notify()

    def step(self) -> None:
        """Count and report one finished step."""
        self._done += 1
        if self._total is not None:
            self._total = max(self._total, self._done)
        self._notify()

    def repeat(self) -> None:
        """Report the last step again, which lets the job be stopped in a long step."""
        self._notify()

    def _notify(self) -> None:
        names = list(self._stages)
        index = names.index(self._stage)
        weights = list(self._stages.values())
        share = sum(weights[:index])
        left = None
        if self._total:
            share += weights[index] * self._done / self._total
            if self._done:
                step_seconds = (self._clock() - self._start) / self._done
                later = sum(weights[index + 1 :]) / weights[index]
                left = step_seconds * (self._total - self._done + later * self._total)
        self._report(Progress(self._stage, self._done, self._total, share / sum(weights), left))


def duration_text(seconds: float) -> str:
    """A duration in words: "8 seconds", "2 min 30 s", "1 h 5 min"."""
    whole = max(1, round(seconds))
    if whole < 60:
        return "1 second" if whole == 1 else f"{whole} seconds"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
