"""When checkpoints are due, and what they may cost."""

import math

import pytest

from nst_jax import SettingsError
from nst_jax.engine import pace
from nst_jax.engine.pace import AUTO, FIRST_SECONDS, SHARE, SLOW_DISK, Interval, Pace, read_interval


class Clock:
    """Seconds that go by when they are told to."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(pace.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


TEXTS = {
    "50": Interval(steps=50),
    "300s": Interval(seconds=300),
    "0.5s": Interval(seconds=0.5),
    "10m": Interval(seconds=600),
    "2h": Interval(seconds=7200),
    "auto": AUTO,
    "never": None,
}


@pytest.mark.parametrize("text", TEXTS)
def test_reading(text):
    assert read_interval(text) == TEXTS[text]


@pytest.mark.parametrize("text", ["", "0", "0s", "-5", "5 m", "5.5", "1d", "s", "1e3s", ".5s"])
def test_what_is_no_interval(text):
    with pytest.raises(SettingsError, match="checkpoint_every is .*; wanted a number of steps"):
        read_interval(text)


def run(pace, clock, steps, seconds, cost):
    """Take steps of so many seconds, and checkpoints when they are due; when that was, and how."""
    kept, begin = [], clock.now
    for step in range(steps):
        if pace.is_due(step):
            clock.now += cost
            pace.spent(cost)
            kept.append((step, clock.now - begin))
        clock.now += seconds
    return kept, clock.now - begin


def test_by_steps(clock):
    kept, _ = run(Pace(Interval(steps=3), 10**9), clock, 10, 100, 50)
    assert [step + 1 for step, _ in kept] == [3, 6, 9]


def test_the_next_step_by_number():
    """Where the last one was, and which of those before it make no difference."""
    by_steps = Pace(read_interval("5"), 0)
    assert [by_steps.next_step(step) for step in (0, 3, 4, 8, 9)] == [4, 4, 9, 9, 14]
    for step in range(20):
        following = by_steps.next_step(step)
        assert by_steps.is_due(following)
        assert not any(by_steps.is_due(between) for between in range(step + 1, following))
    assert Pace(read_interval("5s"), 0).next_step(3) == math.inf


def test_by_seconds(clock):
    kept, _ = run(Pace(Interval(seconds=10), 10**9), clock, 10, 4, 0)
    assert [step for step, _ in kept] == [3, 6, 9]


@pytest.mark.parametrize("cost", [0.001, 0.5, 2.0, 60.0])
def test_of_its_own_accord_two_per_cent_at_most(clock, cost):
    """Whatever a checkpoint takes, once that was seen; and nothing in the first minute."""
    kept, whole = run(Pace(AUTO, int(cost * SLOW_DISK)), clock, 50_000, 1, cost)
    assert len(kept) >= 3 and kept[0][1] >= FIRST_SECONDS
    spent = [(number * cost) / seconds for number, (_, seconds) in enumerate(kept, 1)]
    assert max(spent) <= SHARE and len(kept) * cost / whole <= SHARE
    apart = kept[-1][1] - kept[-2][1]
    assert apart == pytest.approx(max(FIRST_SECONDS, cost / SHARE), abs=cost + 2)


def test_a_disk_that_is_slower_than_thought(clock):
    kept, _ = run(Pace(AUTO, 1), clock, 2000, 1, 10.0)
    assert kept[1][1] - kept[0][1] >= 10.0 / SHARE
