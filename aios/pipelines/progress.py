"""How far long work has come and how long it will take; and the way to stop it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


class CancelledError(Exception):
    """Raised by a report of progress: whoever works cleans up and lets it pass."""


@dataclass(frozen=True)
class Progress:
    """A moment of long work.

    Attributes:
        stage: what is being done, in words.
        done: steps of this stage that are done.
        total: steps of this stage; None if nobody knows.
        share: of all stages, 0-1.
        seconds_left: for all stages; None if nobody knows.
    """

    stage: str
    done: int
    total: int | None
    share: float
    seconds_left: float | None

    @property
    def text(self) -> str:
        """All of it in a line."""
        steps = f"{self.done} of {self.total}" if self.total else str(self.done)
        left = f", {duration_text(self.seconds_left)} left" if self.seconds_left else ""
        return f"{self.stage}: {steps}{left}"


ProgressCallback = Callable[[Progress], None]


class ProgressReporter:
    """Counts steps and reports each one."""

    def __init__(
        self,
        report: ProgressCallback,
        stages: Mapping[str, float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with nothing done.

        Args:
            report: called after each step; may raise `CancelledError` to stop the work.
            stages: in order, and how long a step of each takes against those of the others; used
                until the stage has begun, with as many steps as the one before.
            clock: seconds.
        """
        self._report = report
        self._stages = dict(stages)
        self._clock = clock
        self._stage = next(iter(stages))
        self._total: int | None = None
        self._done = 0
        self._began = clock()

    def begin(self, stage: str, total: int | None) -> None:
        """Go on to a stage of `total` steps."""
        self._stage, self._total, self._done = stage, total, 0
        self._began = self._clock()
        self._tell()

    def step(self) -> None:
        """One more is done."""
        self._done += 1
        if self._total is not None:
            self._total = max(self._total, self._done)
        self._tell()

    def _tell(self) -> None:
        names = list(self._stages)
        place = names.index(self._stage)
        weights = list(self._stages.values())
        share = sum(weights[:place])
        left = None
        if self._total:
            share += weights[place] * self._done / self._total
            if self._done:
                each = (self._clock() - self._began) / self._done
                later = sum(weights[place + 1 :]) / weights[place]
                left = each * (self._total - self._done + later * self._total)
        self._report(Progress(self._stage, self._done, self._total, share / sum(weights), left))


def duration_text(seconds: float) -> str:
    """A time as people say it: "8 seconds", "2 min 30 s", "1 h 5 min"."""
    whole = max(1, round(seconds))
    if whole < 60:
        return "1 second" if whole == 1 else f"{whole} seconds"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
