"""A plan for this machine's own device: memory by XLA's account, the time of a step measured."""

import contextlib
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import jax

from nst_jax.engine.fitting import fitted
from nst_jax.engine.options import RunOptions
from nst_jax.engine.problem import Problem
from nst_jax.engine.results import SweepProgress
from nst_jax.engine.runner import Runner
from nst_jax.errors import SettingsError
from nst_jax.planning.account import Account
from nst_jax.planning.device_plan import Plan

TIMED_STEPS = 3  # after one that is not counted


def plan_here(
    problem: Problem, lanes_at_once: int | None, say: Callable[[str], None] = lambda line: None
) -> Plan:
    """Compile a problem's step as a run would, and take a few.

    Memory is what the step needs by XLA's account and, where devices have none of their own, what
    this process came to hold with it; compiling, which a run does once, takes more for a moment.
    """
    device = jax.devices()[0]
    say(f"here: compiling for {device.device_kind}, and taking {TIMED_STEPS + 1} steps")
    seconds: list[float] = []

    def callback(progress: SweepProgress) -> None:
        seconds.append(progress.seconds)
        if len(seconds) > TIMED_STEPS + 1:
            raise StopIteration

    options = RunOptions(callback, report_every=1, lanes_at_once=lanes_at_once)
    try:
        runner = Runner(fitted(problem), options)
    except SettingsError as error:
        return Plan(None, 0, 0, 0, str(error), {})
    rounds, lanes = runner.rounds(), runner.executor.lanes
    memory = runner.needed_bytes
    _forget_peak()
    next(runner.run())
    if device.memory_stats() is None:
        memory = max(memory, _peak_bytes())
    step = (seconds[-1] - seconds[1]) / (len(seconds) - 2)
    account = Account(memory, 0, 0, 0, {}, 0.0, {}, step)
    steps, shared_by = problem.settings[0].steps + 1, problem.program.rows.devices
    return Plan(account, lanes, len(rounds), steps, "", {}, shared_by)


def _forget_peak() -> None:
    """Let Linux count this process's peak memory anew."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_bytes() -> int:
    """The most that this process has held, where it can since the peak was forgotten."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)
