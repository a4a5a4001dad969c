"""Many settings as one compiled program: `vmap` over lanes, lanes spread over devices.

Lanes never speak to each other, so each device runs the same program on its share of them.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from nst_jax.engine import device_memory, program
from nst_jax.engine.program import Carry, Program
from nst_jax.errors import SettingsError


class LanePrograms(NamedTuple):
    """The jitted functions of one program for many lanes at once.

    Attributes:
        start: images (lanes, H, W, 3) → carry.
        step: (carry, params, targets, weights) → (carry, losses); all but `params` have the lanes
            along their first axis. The carry is donated.
        carry: the shardings of a carry, a prefix of its tree.
        spread: the sharding of what has lanes: a share of them to each device.
        whole: the sharding of what every device needs all of.
    """

    start: jax.stages.Wrapped
    step: jax.stages.Wrapped
    carry: Carry
    spread: NamedSharding
    whole: NamedSharding


@lru_cache(maxsize=16)
def jitted_lanes(one: Program, devices: tuple[jax.Device, ...]) -> LanePrograms:
    """Jit one program for many lanes, spread over these devices of this process."""
    # Explicit axes, the default of `make_mesh` in newer versions, refuse vmapped convolutions.
    mesh = Mesh(np.array(devices), ("lanes",), axis_types=(AxisType.Auto,))
    axes = program.lane_axes(one)
    shared = jax.tree.map(lambda axis: axis is None, axes, is_leaf=lambda axis: axis is None)
    carry = jax.tree.map(lambda is_shared: P() if is_shared else P("lanes"), shared)
    sharded = partial(jax.shard_map, mesh=mesh, check_vma=False)

    def start(images):
        return jax.vmap(partial(program.start, one), out_axes=axes)(images)

    def step(carry, params, targets, weights):
        advance = jax.vmap(
            partial(program.step, one), in_axes=(axes, None, 0, 0), out_axes=(axes, 0)
        )
        return advance(carry, params, targets, weights)

    inputs, outputs = (carry, P(), P("lanes"), P("lanes")), (carry, P("lanes"))
    placed = partial(jax.tree.map, partial(NamedSharding, mesh))
    return LanePrograms(
        jax.jit(
            sharded(start, in_specs=P("lanes"), out_specs=carry),
            in_shardings=placed(P("lanes")),
            out_shardings=placed(carry),
        ),
        jax.jit(
            sharded(step, in_specs=inputs, out_specs=outputs),
            in_shardings=placed(inputs),
            out_shardings=placed(outputs),
            donate_argnums=0,
            compiler_options=program.compiler_options(),
        ),
        carry=placed(carry),
        spread=NamedSharding(mesh, P("lanes")),
        whole=NamedSharding(mesh, P()),
    )


def shape_of_lanes(count: int, one_lane: Any) -> Any:
    """Shapes and types of a tree of arrays with `count` lanes, from those of one."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((count, *leaf.shape), leaf.dtype), one_lane
    )


class Plan(NamedTuple):
    """How many lanes run at once.

    Attributes:
        lanes: at once, on all devices of this process together; a multiple of their number.
        step: compiled for that many.
        bytes: that each device will need; predicted by XLA.
    """

    lanes: int
    step: jax.stages.Compiled
    bytes: int


def plan_lanes(
    wanted: int,
    compile_step: Callable[[int], jax.stages.Compiled],
    devices: int,
    lane_bytes: int,
    fixed_bytes: int,
    budget: int | None,
) -> Plan:
    """Find how many lanes fit, by compiling for as many as may and asking what that needs.

    Args:
        wanted: lanes, ≥ 1.
        compile_step: number of lanes in all → the compiled step.
        devices: that share them.
        lane_bytes: what one lane needs at the least: its carry.
        fixed_bytes: what does not depend on the number of lanes: the parameters.
        budget: bytes per device; None takes all lanes at once.

    Raises:
        SettingsError: one lane per device does not fit.
    """
    each = math.ceil(wanted / devices)
    if budget is not None:  # no compilation for what cannot fit: on a GPU it may fail by itself
        each = max(1, min(each, (budget - fixed_bytes) // lane_bytes))
    while True:
        try:
            step = compile_step(each * devices)
        except jax.errors.JaxRuntimeError as error:  # XLA:TPU finds out while it compiles
            if each == 1 or "RESOURCE_EXHAUSTED" not in str(error):
                raise
            each //= 2
            continue
        needed = device_memory.needed_bytes(step)
        if budget is None or needed <= budget:
            return Plan(each * devices, step, needed)
        if each == 1:
            raise SettingsError(_too_small(needed, fixed_bytes, budget))
        fitting = (budget - fixed_bytes) * each // max(needed - fixed_bytes, 1)
        each = max(1, min(each - 1, fitting))


def even_share(wanted: int, at_once: int, devices: int) -> int:
    """The least number at once that needs no more rounds: 20 lanes, 12 at once, are 10 and 10."""
    rounds = math.ceil(wanted / at_once)
    return math.ceil(wanted / (rounds * devices)) * devices


def _too_small(needed: int, fixed: int, budget: int) -> str:
    scale = max(budget - fixed, 0) / max(needed - fixed, 1)
    message = (
        f"one lane needs {device_memory.as_text(needed)} of memory, and "
        f"{device_memory.as_text(budget)} may be used; "
    )
    if scale > 0.01:
        return message + (
            f"a --size of {math.sqrt(scale):.0%} of this one would fit, and --low-memory, "
            f"--lbfgs-memory 10 or --optimizer adam need less"
        )
    return (
        message
        + f"the network alone takes {device_memory.as_text(fixed)}: allow more with --memory"
    )


def take_lanes(carry: Carry, axes: Carry, lanes: Sequence[int]) -> Carry:
    """The carry of some lanes, in the order given; of arrays on the host.

    The first ones, in their order, are not copied.
    """
    index: Any = np.asarray(lanes)
    if np.array_equal(index, np.arange(len(index))):
        index = slice(len(index))

    def take(axis, subtree):
        return jax.tree.map(lambda leaf: leaf if axis is None else leaf[index], subtree)

    return jax.tree.map(take, axes, carry, is_leaf=lambda axis: axis is None)
