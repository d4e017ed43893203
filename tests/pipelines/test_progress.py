"""Progress is counted, and time left is what it says."""

import pytest

from aios.pipelines.progress import CancelledError, ProgressReporter, duration_text


def reports(stages, script):
    """What is told during a script of ("begin", stage, total) and ("step", seconds)."""
    now, told = [100.0], []
    reporter = ProgressReporter(told.append, stages, clock=lambda: now[0])
    for action, *rest in script:
        if action == "begin":
            reporter.begin(*rest)
        else:
            now[0] += rest[0]
            reporter.step()
    return told


def test_one_stage():
    told = reports({"Look": 1.0}, [("begin", "Look", 4), *[("step", 2.0)] * 4])
    assert [round(p.share, 3) for p in told] == [0, 0.25, 0.5, 0.75, 1]
    assert [p.seconds_left for p in told] == [None, 6.0, 4.0, 2.0, 0.0]
    assert told[1].text == "Look: 1 of 4, 6 seconds left"
    assert told[0].text == "Look: 0 of 4"


def test_later_stages_count():
    script = [("begin", "A", 2), ("step", 10.0), ("step", 10.0), ("begin", "B", 2), ("step", 3.0)]
    told = reports({"A": 1.0, "B": 0.5}, script)
    assert told[1].seconds_left == pytest.approx(10 + 0.5 * 20)
    assert told[3].share == pytest.approx(2 / 3)
    assert told[4].seconds_left == pytest.approx(3.0)  # measured now, not guessed
    assert all(a.share <= b.share for a, b in zip(told, told[1:], strict=False))


def test_without_a_known_end():
    told = reports({"A": 1.0}, [("begin", "A", None), ("step", 1.0)])
    assert (told[1].seconds_left, told[1].text) == (None, "A: 1")


def test_more_steps_than_expected():
    told = reports({"A": 1.0}, [("begin", "A", 1), ("step", 1.0), ("step", 1.0)])
    assert (told[-1].done, told[-1].total, told[-1].share) == (2, 2, 1.0)


def test_cancelling_goes_through():
    def stop(progress):
        raise CancelledError

    with pytest.raises(CancelledError):
        ProgressReporter(stop, {"A": 1.0}).begin("A", 3)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 second"),
        (8.4, "8 seconds"),
        (60, "1 min"),
        (150, "2 min 30 s"),
        (3600, "1 h"),
        (3900, "1 h 5 min"),
    ],
)
def test_duration_text(seconds, text):
    assert duration_text(seconds) == text
