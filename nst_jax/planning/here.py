"""A plan for this machine's own device: memory by XLA's account, the time of a step measured."""

import resource
import sys
from collections.abc import Callable
from pathlib import Path

import jax

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

    Memory is what the step needs and, where devices have none of their own, what this process
    holds already.
    """
    device = jax.devices()[0]
    say(f"here: compiling for {device.device_kind}, and taking {TIMED_STEPS + 1} steps")
    seconds: list[float] = []

    def callback(progress: SweepProgress) -> None:
        seconds.append(progress.seconds)
        if len(seconds) > TIMED_STEPS + 1:
            raise StopIteration

    held = _resident_bytes() if device.memory_stats() is None else 0
    options = RunOptions(callback, report_every=1, lanes_at_once=lanes_at_once, resumable=False)
    try:
        runner = Runner(problem, options)
    except SettingsError as error:
        return Plan(None, 0, 0, 0, str(error), {})
    rounds, lanes = runner.rounds(), runner.executor.lanes
    memory = runner.needed_bytes + held
    next(runner.run())
    step = (seconds[-1] - seconds[1]) / (len(seconds) - 2)
    account = Account(memory, 0, 0, 0, 0.0, {}, step)
    return Plan(account, lanes, len(rounds), problem.settings[0].steps + 1, "", {})


def _resident_bytes() -> int:
    """What this process holds now, or, where that cannot be told, at most."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak * (1 if sys.platform == "darwin" else 1024)
    return pages * resource.getpagesize()
