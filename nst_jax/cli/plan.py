"""`nst-jax plan CONTENT STYLE … --on h100,v5e`: what a device would do, before it is rented.

All flags are those of `stylize` and, where there is an axis, of `sweep`.
"""

import argparse
import json
from collections.abc import Sequence
from typing import Any

import jax

from nst_jax.cli import sweep
from nst_jax.cli.messages import answer, say
from nst_jax.cli.running import choose_network
from nst_jax.cli.settings_flags import add_settings_flags, read_settings
from nst_jax.engine.host_plan import image_bytes, run_bytes
from nst_jax.engine.problem import Problem, prepare_problem
from nst_jax.engine.sharing import shared
from nst_jax.host_memory import as_text
from nst_jax.planning.device_kinds import DEVICE_KINDS, HERE, device_kinds, find_device_kind
from nst_jax.planning.device_plan import Plan, make_plan
from nst_jax.planning.here import plan_here
from nst_jax.settings.settings import MAX_SIZE
from nst_jax.weights.locate import find_weights
from nst_jax.weights.storage import load_weights

HEAD = ("device", "fits", "lanes at once", "memory", "a step", "the run")


def add_command(commands: Any) -> None:
    """Add `plan` to the parser's commands."""
    parser = commands.add_parser("plan", description=__doc__)
    sweep.add_inputs_and_axes(parser)
    group = parser.add_argument_group("plan", f"devices: {', '.join((*DEVICE_KINDS, HERE))}")
    several = "such as h100,8xh100,v5e-8 [%(default)s]"
    group.add_argument("--on", metavar="DEVICE,…", default=HERE, help=several)
    shared = "devices that share each image [all of a single one, 1 of a sweep]"
    group.add_argument("--rows", type=int, metavar="N", help=shared)
    group.add_argument("--lanes", type=int, metavar="N", help="at once [as many as fit]")
    group.add_argument("--json", action="store_true", help="all figures, as JSON")
    add_settings_flags(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, arguments: Sequence[str]) -> bool:
    """Make the plans, and answer with a table."""
    names = device_kinds(options.on)
    wanted = read_settings(options)
    settings, weights, network = choose_network(wanted, load_weights(find_weights(wanted.weights)))
    say(network)
    single = not sweep.asks_for_axes(options)  # as `stylize`, which mixes several styles
    options.mix = options.mix or single
    grid = sweep.grid_of(options, settings, default_ratios=not single)
    contents, styles = zip(*map(grid.files_of, grid.lanes), strict=True)
    problem = prepare_problem(contents, styles, [lane.settings for lane in grid.lanes], weights)
    plans = {name: _plan(problem, name, options) for name in names}
    if options.json:
        answer(json.dumps({name: _as_json(plan, name) for name, plan in plans.items()}, indent=2))
        return True
    rows = [HEAD, *(_row(name, plan, len(grid.lanes)) for name, plan in plans.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        answer("  ".join(cells).rstrip())
    for name, plan in plans.items():
        for flags, side in plan.largest.items():
            most = ", the most that can be asked for" if side == MAX_SIZE else ""
            answer(f"{name}: largest long side {side} px{most}, {flags}")
        if plan.problem:
            answer(f"{name}: {plan.problem}")
        if plan.account and not (name == HERE and jax.default_backend() == "cpu"):
            host = image_bytes(problem) + run_bytes(problem.shared(plan.rows), plan.lanes)
            answer(f"{name}: {as_text(host)} of the host's memory, without checkpoints")
    answer("by XLA's account; times are the least that the device's peaks allow, but for 'here'")
    return True


def _plan(problem: Problem, name: str, options: argparse.Namespace) -> Plan:
    if name == HERE:
        here = shared(problem, 1 if options.rows is None else options.rows, flag="--rows")
        return plan_here(here, options.lanes, say)
    return make_plan(problem, find_device_kind(name), options.lanes, options.rows, say)


def _row(name: str, plan: Plan, count: int) -> tuple[str, ...]:
    if plan.account is None:
        return (name, "no", "", "", "", "")
    step, run = plan.account.least_seconds, plan.least_seconds
    return (
        name,
        "yes",
        f"{min(plan.lanes, count)} of {count}",
        as_text(plan.account.memory),
        "" if step is None else f"{1e3 * step:.3g} ms",
        "" if run is None else _duration(run),
    )


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


def _as_json(plan: Plan, name: str) -> dict[str, Any]:
    kind = None if name == HERE else find_device_kind(name)
    account = plan.account._asdict() if plan.account else None
    return {
        "device": kind.title if kind else name,
        "source": kind.source if kind else "measured",
        **plan._replace(account=None)._asdict(),
        "account": account,
        "least_seconds": plan.least_seconds,
    }
