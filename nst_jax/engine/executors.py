"""Where steps are taken: one lane by itself, or many as one program, spread over devices.

Both speak the same protocol, so that the runner need not know which it has. The single executor's
program has no lane axis: under a `vmap` over one lane XLA copies L-BFGS's history in each step.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from nst_jax.engine import device_memory
from nst_jax.engine import program as steps
from nst_jax.engine.program import Carry, Program, compiler_options, jitted, lane_axes, map_lanes
from nst_jax.errors import SettingsError
from nst_jax.losses.terms import Losses, LossWeights, Targets
from nst_jax.weights.parameters import Parameters

# Carry → (carry, losses of the images that came in); may return before it has finished.
Step = Callable[[Carry], tuple[Carry, Losses]]
# What the step of one lane compares with, and the weights of its terms.
Arguments = tuple[Targets, LossWeights]


class Executor(Protocol):
    """Takes steps of some lanes at once.

    Attributes:
        lanes: that one carry holds, those that only fill it up included.
        compiled_lanes: along the lane axis of the program; 0 where it has none.
    """

    lanes: int
    compiled_lanes: int

    def compile(self, shape: tuple[int, int], one_lane: Arguments) -> jax.stages.Compiled:
        """The step for images (H, W, 3) of this shape (H, W); of the arguments shapes count."""

    def start(self, images: Sequence[np.ndarray]) -> Carry:
        """The carry before the first step, from one image (H, W, 3) for each lane."""

    def step(self, compiled: jax.stages.Compiled, of_lanes: Sequence[Arguments]) -> Step:
        """The compiled step with the arguments of each lane, which are on the host."""

    def outcome(self, carry: Carry) -> np.ndarray:
        """(lanes, H, W, 3) on the host: the best images so far, or the averages."""

    def store(self, carry: Carry) -> Carry:
        """The carry on the host, with an axis of lanes; `restore` takes it."""

    def restore(self, carry: Carry) -> Carry:
        """The carry on the devices, from one on the host with an axis of lanes."""


class SingleExecutor:
    """One lane, on the process's first device; methods as of `Executor`."""

    lanes, compiled_lanes = 1, 0

    def __init__(self, program: Program, params: Parameters):
        """Take the program, and parameters from `prepare_parameters`."""
        self._params, self._functions = params, jitted(program)
        self._axes = lane_axes(program)

    def compile(self, shape: tuple[int, int], one_lane: Arguments) -> jax.stages.Compiled:  # noqa: D102
        carry = jax.eval_shape(self._functions.start, _image_shape(shape))
        return device_memory.compile_for(self._functions.step, carry, self._params, *one_lane)

    def start(self, images: Sequence[np.ndarray]) -> Carry:  # noqa: D102
        return self._functions.start(jnp.asarray(images[0], jnp.float32))

    def step(self, compiled: jax.stages.Compiled, of_lanes: Sequence[Arguments]) -> Step:  # noqa: D102
        arguments = jax.device_put(of_lanes[0])
        return lambda carry: compiled(carry, self._params, *arguments)

    def outcome(self, carry: Carry) -> np.ndarray:  # noqa: D102
        return np.asarray(carry.outcome)[None]

    def store(self, carry: Carry) -> Carry:  # noqa: D102
        return map_lanes(lambda leaf: leaf[None], jax.device_get(carry), self._axes)

    def restore(self, carry: Carry) -> Carry:  # noqa: D102
        return jax.device_put(map_lanes(lambda leaf: leaf[0], carry, self._axes))


class BatchedExecutor:
    """Many lanes as one program: `vmap` over lanes, in a `shard_map` over devices.

    Lanes never speak to each other, so each device runs the same program on its share of them.
    Methods as of `Executor`.
    """

    def __init__(
        self, program: Program, params: Parameters, lanes: int, devices: tuple[jax.Device, ...]
    ):
        """Take the program, prepared parameters, and lanes, a multiple of the devices."""
        self.lanes = self.compiled_lanes = lanes
        self._programs = jitted_lanes(program, devices)
        self._params = jax.device_put(params, self._programs.whole)

    def compile(self, shape: tuple[int, int], one_lane: Arguments) -> jax.stages.Compiled:  # noqa: D102
        images, arguments = shape_of_lanes(self.lanes, (_image_shape(shape), one_lane))
        carry = jax.eval_shape(self._programs.start, images)
        return device_memory.compile_for(self._programs.step, carry, self._params, *arguments)

    def start(self, images: Sequence[np.ndarray]) -> Carry:  # noqa: D102
        return self._programs.start(jax.device_put(np.stack(images), self._programs.spread))

    def step(self, compiled: jax.stages.Compiled, of_lanes: Sequence[Arguments]) -> Step:  # noqa: D102
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *of_lanes)
        arguments = jax.device_put(stacked, self._programs.spread)
        return lambda carry: compiled(carry, self._params, *arguments)

    def outcome(self, carry: Carry) -> np.ndarray:  # noqa: D102
        return np.asarray(carry.outcome)

    def store(self, carry: Carry) -> Carry:  # noqa: D102
        return jax.device_get(carry)

    def restore(self, carry: Carry) -> Carry:  # noqa: D102
        return jax.device_put(carry, self._programs.carry)


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
    axes = lane_axes(one)
    shared = jax.tree.map(lambda axis: axis is None, axes, is_leaf=lambda axis: axis is None)
    carry = jax.tree.map(lambda is_shared: P() if is_shared else P("lanes"), shared)
    sharded = partial(jax.shard_map, mesh=mesh, check_vma=False)

    def start(images):
        return jax.vmap(partial(steps.start, one), out_axes=axes)(images)

    def step(carry, params, targets, weights):
        advance = jax.vmap(partial(steps.step, one), in_axes=(axes, None, 0, 0), out_axes=(axes, 0))
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
            compiler_options=compiler_options(),
        ),
        carry=placed(carry),
        spread=NamedSharding(mesh, P("lanes")),
        whole=NamedSharding(mesh, P()),
    )


def plan_lanes(
    wanted: int,
    needed_for: Callable[[int], int],
    devices: int,
    *,
    lane_bytes: int,
    fixed_bytes: int,
    budget: int | None,
) -> int:
    """Find how many lanes fit, by compiling for as many as may and asking what that needs.

    Args:
        wanted: lanes, ≥ 1.
        needed_for: number of lanes in all → bytes that each device needs, by XLA's account.
        devices: that share them.
        lane_bytes: what one lane needs at the least: its carry.
        fixed_bytes: what does not depend on the number of lanes: the parameters.
        budget: bytes per device; None takes all lanes at once.

    Returns:
        Lanes at once, on all devices of this process together; a multiple of their number.

    Raises:
        SettingsError: one lane per device does not fit.
    """
    each = math.ceil(wanted / devices)
    if budget is not None:  # no compilation for what cannot fit: on a GPU it may fail by itself
        each = max(1, min(each, (budget - fixed_bytes) // lane_bytes))
    while True:
        try:
            needed = needed_for(each * devices)
        except jax.errors.JaxRuntimeError as error:  # XLA:TPU finds out while it compiles
            if each == 1 or "RESOURCE_EXHAUSTED" not in str(error):
                raise
            each //= 2
            continue
        if budget is None or needed <= budget:
            return each * devices
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
    as_text = device_memory.as_text
    message = f"one lane needs {as_text(needed)} of memory, and {as_text(budget)} may be used; "
    if scale > 0.01:
        return message + (
            f"a --size of {math.sqrt(scale):.0%} of this one would fit, and --low-memory, "
            f"--lbfgs-memory 10 or --optimizer adam need less"
        )
    return message + f"the network alone takes {as_text(fixed)}: allow more with --memory"


def shape_of_lanes(count: int, one_lane: Any) -> Any:
    """Shapes and types of a tree of arrays with `count` lanes, from those of one."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((count, *leaf.shape), leaf.dtype), one_lane
    )


def _image_shape(shape: tuple[int, int]) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((*shape, 3), jnp.float32)
