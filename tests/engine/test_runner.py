"""The loop: order, stopping, and when a carry may be looked at."""

from types import SimpleNamespace

import pytest

from nst_jax import SettingsError
from nst_jax.engine import monitor
from nst_jax.engine.monitor import Stopwatch
from nst_jax.engine.options import check_intervals
from nst_jax.engine.runner import STEPS_IN_FLIGHT, Runner, _dealt, iterate


class Run:
    """Steps that count, and a report that remembers."""

    def __init__(self, stop_after=None):
        self.taken, self.told, self.stop_after = [], [], stop_after

    def step(self, carry):
        self.taken.append(carry)
        return carry + 1, f"losses {carry}"

    def report(self, number, losses, carry):
        self.told.append((number, losses, carry))
        assert len(self.taken) <= self.taken[0] + number + STEPS_IN_FLIGHT
        return number != self.stop_after


def test_every_step_is_told_in_order():
    run = Run()
    assert iterate(run.step, 0, range(6), run.report) == (6, 6)
    assert run.told == [(number, f"losses {number}", None) for number in range(6)]


@pytest.mark.parametrize(
    ("every", "shown"), [(1, [0, 1, 2, 3, 4, 5]), (2, [0, 2, 4]), (4, [0, 4]), (9, [0])]
)
def test_a_carry_is_shown_with_its_own_step(every, shown):
    """It is the carry after that step: the image of that step has been judged."""
    run = Run()
    iterate(run.step, 0, range(6), run.report, lambda number: number % every == 0)
    assert [number for number, _, carry in run.told if carry is not None] == shown
    assert all(carry == number + 1 for number, _, carry in run.told if carry is not None)


@pytest.mark.parametrize("stop_after", [0, 3, 5])
def test_stopping(stop_after):
    """A step that was under way already is told as well, and counts."""
    run = Run(stop_after)
    carry, following = iterate(run.step, 0, range(6), run.report)
    assert carry == following == len(run.taken) == len(run.told)
    assert following in (stop_after + 1, stop_after + 2)


def test_going_on_in_the_middle():
    run = Run()
    assert iterate(run.step, 3, range(3, 5), run.report) == (5, 5)
    assert [number for number, *_ in run.told] == [3, 4]


def test_nothing_to_do():
    run = Run()
    assert iterate(run.step, 7, range(7, 7), run.report) == (7, 7)
    assert run.told == []


def test_each_process_goes_on_with_its_own_lanes():
    """What two have, the first takes; the fresh ones come after them."""
    dealt = _dealt([[(3, 1, 5)], [(1, 2)]])
    problem, executor = SimpleNamespace(settings=range(9)), SimpleNamespace(lanes=2)
    runner = SimpleNamespace(_problem=problem, executor=executor, _interrupted=dealt, _processes=2)
    interrupted = [((3, 1), (2,)), ((5,), ())]
    assert Runner.rounds(runner) == [*interrupted, ((0, 4), (6, 7)), ((8,), ())]


def test_a_stopwatch_counts_only_its_blocks(monkeypatch):
    now = iter([10.0, 11.0, 13.0, 100.0, 104.0])
    monkeypatch.setattr(monitor.time, "perf_counter", lambda: next(now))
    watch = Stopwatch(0.5)
    assert watch.seconds() == 0.5
    with watch:
        assert watch.seconds() == 1.5
    assert watch.seconds() == 3.5
    with watch:
        pass
    assert watch.seconds() == 7.5


def test_intervals():
    check_intervals(report_every=1, save_every=None)
    with pytest.raises(SettingsError, match="lanes_at_once is 0; wanted at least 1"):
        check_intervals(report_every=3, lanes_at_once=0)
