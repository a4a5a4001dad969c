"""A plan: for each kind of device whether a run fits, how many lanes at once, how long, how large.

Everything is asked of XLA, which compiles the very step that would run; `Compiler` does so for
devices that are not there. What it says is its account, not a measurement: memory is exact but for
what a driver takes for itself, and times are bounds that a device comes near at best.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax

from nst_jax.engine import device_memory
from nst_jax.engine.fitting import alternatives, flags_text, what_was_taken
from nst_jax.engine.problem import Problem
from nst_jax.errors import SettingsError
from nst_jax.network.vgg import precision_on
from nst_jax.planning.account import Account
from nst_jax.planning.compile_elsewhere import Compiler, Job
from nst_jax.planning.device_kinds import DeviceKind
from nst_jax.rows import Rows
from nst_jax.settings.settings import MAX_SIZE

# Of a device's memory, what the command lets JAX have (`nst_jax.__main__`).
USABLE = device_memory.USABLE
# Settings that need less memory, in the order of what they cost the picture: nothing, rounding.
SPARING: tuple[dict[str, Any], ...] = (
    {},
    {"low_memory": True, "lbfgs_history": "bfloat16"},
    {"low_memory": True, "lbfgs_history": "bfloat16", "precision": "bfloat16"},
)

PROBE_SIZE = 4096  # px, the long side that the search for the largest begins with
MAX_PROBES = 3
ROUND_SIZE = 32  # px, of which the sizes that are offered are multiples


class Plan(NamedTuple):
    """What a kind of device would do with a run.

    Attributes:
        account: of the step with `lanes` lanes at once; None where one lane does not fit.
        lanes: at once, of all that were asked for.
        rounds: that they take.
        steps: of each round.
        problem: why it cannot be done, or what it takes; "" where all is well.
        largest: {flags: long side in px of the largest image that fits, one lane}.
        rows: devices that share each image.
    """

    account: Account | None
    lanes: int
    rounds: int
    steps: int
    problem: str
    largest: dict[str, int]
    rows: int = 1

    @property
    def least_seconds(self) -> float | None:
        """Of all rounds, their steps only."""
        if self.account is None or self.account.least_seconds is None:
            return None
        return self.rounds * self.steps * self.account.least_seconds


def job_of(
    problem: Problem,
    platform: str,
    lanes: int,
    shape: tuple[int, int] | None = None,
    rows: int = 1,
    **changed: Any,
) -> Job:
    """What one step of a problem's lanes is compiled from; nothing is computed.

    Args:
        problem: that was prepared.
        platform: where the step will run, "gpu" or "tpu".
        lanes: at once; 0 for a step without an axis of lanes.
        shape: (H, W) in place of the problem's; its regions are left out then.
        rows: devices that share each image.
        changed: static settings, in place of the problem's own.
    """
    changed = {"precision": precision_on(platform, problem.settings[0].precision), **changed}
    static = dataclasses.replace(problem.program.static, **changed)
    program = dataclasses.replace(
        problem.program, static=static, platform=platform, rows=Rows(rows)
    )
    params = jax.tree.map(_shape_of, dict(problem.weights.params))
    targets = problem.target_shapes(program, shape)
    weights = jax.tree.map(_shape_of, problem.loss_weights(0))
    return Job(program, shape or problem.shape[:2], lanes, params, targets, weights)


def make_plan(
    problem: Problem,
    kind: DeviceKind,
    lanes_at_once: int | None = None,
    rows: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Plan:
    """Ask XLA what a kind of device would do with a problem's lanes.

    Args:
        problem: that was prepared.
        kind: of device, one of them.
        lanes_at_once: at most; None: as many as fit.
        rows: how many devices share each image; None: all of a single one, of several lanes none.
        say: told what is being compiled.

    Raises:
        SettingsError: what compiles for this kind is not installed; rows do not divide the devices.
    """
    given, (problem, *sparing) = problem, alternatives(problem)
    if rows is None:
        rows = kind.devices if len(problem.settings) == 1 else 1
    if rows < 1 or kind.devices % rows:
        raise SettingsError(f"--rows {rows}: wanted a number that divides {kind.devices} devices")
    groups = kind.devices // rows
    count, budget, shared = len(problem.settings), USABLE * kind.memory, _shared(problem)
    with Compiler(kind) as compiler:

        def account(lanes: int, shape: tuple[int, int] | None = None, **changed: Any) -> Account:
            height, width = shape or problem.shape[:2]
            many = f"{lanes} lanes of " if lanes > 1 else ""
            has_lanes = lanes > 1 or groups > 1
            flags = flags_text(changed)
            say(f"{kind.label}: compiling {many}{width}×{height} px {flags}".rstrip())
            found = compiler.account(
                job_of(problem, kind.backend, lanes if has_lanes else 0, shape, rows, **changed)
            )
            if isinstance(found, str):
                raise SettingsError(f"{kind.title}: {found}")
            return found

        one = account(groups)
        largest = {}
        if kind.platform == "cuda":
            largest = _largest_sizes(problem, kind, partial(account, groups))
        least = one
        while one.memory > budget and sparing:
            problem = sparing.pop(0)
            one = account(groups)
            least = min(least, one, key=lambda each: each.memory)
        if one.memory > budget:
            return Plan(None, 0, 0, 0, _too_large(least, budget), largest, rows)
        found, wanted = one, min(count, lanes_at_once or count)
        lanes = min(wanted, groups * int((budget - shared) // max(one.memory - shared, 1)))
        while (lanes := device_memory.even_share(count, max(lanes, groups), groups)) > groups:
            found = account(lanes)
            if found.memory <= budget:
                break
            lanes -= groups
        else:
            found = one
        steps = problem.settings[0].steps + 1
        taken = what_was_taken(given, problem)
        remark = f"to fit into memory: {taken}" if taken else ""
        return Plan(found, lanes, math.ceil(count / lanes), steps, remark, largest, rows)


def _largest_sizes(
    problem: Problem, kind: DeviceKind, account: Callable[..., Account]
) -> dict[str, int]:
    """{flags: long side, px}: as asked for, and with what spares memory; compiled to be sure.

    It is at most what can be asked for.
    """
    budget, sizes = USABLE * kind.memory, {}
    for changed in SPARING:
        side, memory = PROBE_SIZE, account(_with_long_side(problem.shape, PROBE_SIZE), **changed)
        for _ in range(MAX_PROBES):
            scale = math.sqrt(budget / memory.memory)
            if 1 <= scale < 1 + ROUND_SIZE / side or (1 <= scale and side == MAX_SIZE):
                break
            side = min(int(scale * side) // ROUND_SIZE * ROUND_SIZE, MAX_SIZE)
            memory = account(_with_long_side(problem.shape, side), **changed)
        if memory.memory <= budget:
            sizes[flags_text(changed) or "with these flags"] = side
            if side == MAX_SIZE:  # which no flag makes larger
                break
    return sizes


def _with_long_side(shape: Sequence[int], side: int) -> tuple[int, int]:
    scale = side / max(shape)
    return round(shape[0] * scale), round(shape[1] * scale)


def _shared(problem: Problem) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(dict(problem.weights.params)))


def _too_large(one: Account, budget: float) -> str:
    needed, there = device_memory.as_text(one.memory), device_memory.as_text(budget)
    return f"one lane needs {needed}, and {there} may be used"


def _shape_of(leaf) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
