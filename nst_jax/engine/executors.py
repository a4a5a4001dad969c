"""Where steps are taken: one lane by itself, or many as one program, spread over devices.

The program of one has no lane axis: under a `vmap` over one lane XLA copies L-BFGS's history in
each step.
"""

import gc
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from nst_jax.engine import device_memory
from nst_jax.engine import program as steps
from nst_jax.engine.program import Carry, Program, compiler_options, jitted, lane_axes, map_lanes
from nst_jax.losses.terms import LossWeights, PackedLosses, Targets
from nst_jax.weights.parameters import Parameters

# A picture's compiled programs take some 40 MB until the process ends; of more sizes than these
# the older ones are let go. JAX would keep them all.
MAX_SHAPES = 8
_seen: set[tuple[Any, ...]] = set()

# Carry → (carry, losses of the images that came in); may return before it has finished.
Step = Callable[[Carry], tuple[Carry, PackedLosses]]
# What the step of one lane compares with, and the weights of its terms.
Arguments = tuple[Targets, LossWeights]
Prepare = Callable[[], Parameters]


class Executor:
    """Takes steps of one lane, on the process's first device.

    Attributes:
        lanes: that one carry holds, those that only fill it up included.
        compiled_lanes: along the lane axis of the program; 0 where it has none.
    """

    lanes, compiled_lanes = 1, 0
    _functions: "steps.Compiled | LanePrograms"

    def __init__(self, program: Program, prepare: Prepare):
        """Take what makes the parameters, `prepare_parameters` of all its arguments."""
        self._program, self._prepare, self._functions = program, prepare, jitted(program)

    @cached_property
    def _params(self) -> Parameters:
        """On the device; not before steps are taken, since compiling takes memory for a while."""
        return self._prepare()

    def compile(self, shape: tuple[int, int], one_lane: Arguments) -> jax.stages.Compiled:
        """The step for images (H, W, 3) of this shape (H, W); of the arguments shapes count."""
        image = jax.ShapeDtypeStruct((*shape, 3), jnp.float32)
        images, arguments = self._shapes_of((image, one_lane))
        carry = jax.eval_shape(self._functions.start, images)
        params = jax.eval_shape(self._prepare)
        return device_memory.compile_for(self._functions.step, carry, params, *arguments)

    def step(self, compiled: jax.stages.Compiled, of_lanes: Sequence[Arguments]) -> Step:
        """The compiled step with the arguments of each lane, which are on the host."""
        params, arguments = self._params, self._placed(of_lanes)
        return lambda carry: compiled(carry, params, *arguments)

    def start(self, images: Sequence[np.ndarray]) -> Carry:
        """The carry before the first step, from one image (H, W, 3) for each lane."""
        return self._functions.start(self._placed(images))

    def outcome(self, carry: Carry) -> np.ndarray:
        """(lanes, H, W, 3) on the host: the best images so far, or the averages."""
        images = np.asarray(carry.outcome)
        return images.reshape(self.lanes, *images.shape[-3:])

    def store(self, carry: Carry) -> Carry:
        """The carry on the host, with an axis of lanes."""
        return map_lanes(self._program, lambda leaf: leaf[None], jax.device_get(carry))

    def restore(self, carry: Carry) -> Carry:
        """The carry on the devices, from one that was stored."""
        return jax.device_put(map_lanes(self._program, lambda leaf: leaf[0], carry))

    def _shapes_of(self, one_lane: Any) -> Any:
        """Shapes of the step's inputs, from those of one lane."""
        return one_lane

    def _placed(self, of_lanes: Sequence[Any]) -> Any:
        """The lanes' trees of arrays on the devices, as the step takes them."""
        return jax.device_put(of_lanes[0])


class BatchedExecutor(Executor):
    """Many lanes as one program: `vmap` over lanes, in a `shard_map` over devices.

    Lanes never speak to each other, so each device runs the same program on its share of them.
    """

    def __init__(
        self, program: Program, prepare: Prepare, lanes: int, devices: tuple[jax.Device, ...]
    ):
        """Take what makes the parameters, and lanes, a multiple of the devices."""
        self.lanes = self.compiled_lanes = lanes
        self._prepare = prepare
        self._functions = self._programs = jitted_lanes(program, devices)

    @cached_property
    def _params(self) -> Parameters:
        return jax.device_put(self._prepare(), self._programs.whole)

    def store(self, carry: Carry) -> Carry:  # noqa: D102
        return jax.device_get(carry)

    def restore(self, carry: Carry) -> Carry:  # noqa: D102
        return jax.device_put(carry, self._programs.carry)

    def _shapes_of(self, one_lane: Any) -> Any:
        return shape_of_lanes(self.lanes, one_lane)

    def _placed(self, of_lanes: Sequence[Any]) -> Any:
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *of_lanes)
        return jax.device_put(stacked, self._programs.spread)


class LanePrograms(NamedTuple):
    """The jitted functions of one program for many lanes, and where their arrays lie.

    Attributes:
        start: images (lanes, H, W, 3) → carry.
        step: (carry, params, targets, weights) → (carry, losses); all but `params` have the lanes
            along their first axis. The carry is donated.
        carry: the shardings of a carry, a prefix of its tree.
        spread: of what has lanes: a share of them to each device.
        whole: of what every device needs all of.
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
    axes, whole, spread = lane_axes(one), P(), P("lanes")
    carry = jax.tree.map(
        lambda axis: whole if axis is None else spread, axes, is_leaf=lambda axis: axis is None
    )
    placed = partial(jax.tree.map, partial(NamedSharding, mesh))

    def jit(function, axes_in, axes_out, inputs, outputs, **options):
        lanes = jax.vmap(partial(function, one), axes_in, axes_out)
        sharded = jax.shard_map(
            lanes, mesh=mesh, in_specs=inputs, out_specs=outputs, check_vma=False
        )
        shardings = {"in_shardings": placed(inputs), "out_shardings": placed(outputs)}
        return jax.jit(sharded, **shardings, **options)

    inputs = (carry, whole, spread, spread)
    options = {"donate_argnums": 0, "compiler_options": compiler_options(devices[0].platform)}
    return LanePrograms(
        jit(steps.start, 0, axes, (spread,), carry),
        jit(steps.step, (axes, None, 0, 0), (axes, 0), inputs, (carry, spread), **options),
        *placed((carry, spread, whole)),
    )


def remember_shapes(shapes: tuple[Any, ...]) -> None:
    """Say what is compiled next; where it is one too many, all that was compiled before is let go.

    What still runs keeps its own programs.

    Args:
        shapes: a program, and the shapes of its images.
    """
    if shapes not in _seen and len(_seen) == MAX_SHAPES:
        forget_compiled()
    _seen.add(shapes)


def forget_compiled() -> None:
    """Let go of all that was compiled and is not used now; JAX would keep it with its function."""
    _seen.clear()
    jitted.cache_clear()
    jitted_lanes.cache_clear()
    gc.collect()  # JAX's functions refer to themselves
    device_memory.give_back()


def shape_of_lanes(count: int, one_lane: Any) -> Any:
    """Shapes and types of a tree of arrays with `count` lanes, from those of one."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((count, *leaf.shape), leaf.dtype), one_lane
    )
