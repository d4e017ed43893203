"""Progress: counts, shares of stages, time left."""

import pytest

from aios.pipelines.progress import CancelledError, ProgressReporter, duration_text


def reports(stages, script):
    """Reports during a script of ("begin", stage, total) and ("step", seconds)."""
    now, received = [100.0], []
    reporter = ProgressReporter(received.append, stages, clock=lambda: now[0])
    for action, *rest in script:
        if action == "begin":
            reporter.begin(*rest)
        else:
            now[0] += rest[0]
            reporter.step()
    return received


def test_share_and_time_left_of_one_stage():
    received = reports({"Detect": 1.0}, [("begin", "Detect", 4), *[("step", 2.0)] * 4])
    assert [round(p.share, 3) for p in received] == [0, 0.25, 0.5, 0.75, 1]
    assert [p.seconds_left for p in received] == [None, 6.0, 4.0, 2.0, 0.0]
    assert received[1].text == "Detect: 1 of 4, 6 seconds left"
    assert received[0].text == "Detect: 0 of 4"


def test_later_stages_count_towards_share_and_time_left():
    script = [("begin", "A", 2), ("step", 10.0), ("step", 10.0), ("begin", "B", 2), ("step", 3.0)]
    received = reports({"A": 1.0, "B": 0.5}, script)
    assert received[1].seconds_left == pytest.approx(10 + 0.5 * 20)
    assert received[3].share == pytest.approx(2 / 3)
    assert received[4].seconds_left == pytest.approx(3.0)  # measured in this stage
    assert all(a.share <= b.share for a, b in zip(received, received[1:], strict=False))


def test_unknown_total_gives_no_time_left():
    received = reports({"A": 1.0}, [("begin", "A", None), ("step", 1.0)])
    assert (received[1].seconds_left, received[1].text) == (None, "A: 1")


def test_more_steps_than_expected_raise_the_total():
    received = reports({"A": 1.0}, [("begin", "A", 1), ("step", 1.0), ("step", 1.0)])
    assert (received[-1].done, received[-1].total, received[-1].share) == (2, 2, 1.0)


def test_cancellation_is_passed_on():
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
