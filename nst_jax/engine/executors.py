"""Where steps are taken: one lane by itself, or many as one program, spread over devices.

The program of one has no lane axis: under a `vmap` over one lane XLA copies L-BFGS's history in
each step.
"""

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from nst_jax.engine import device_memory, distributed
from nst_jax.engine import program as steps
from nst_jax.engine.array_file import Piece, piece_of
from nst_jax.engine.program import Carry, Program, compiler_options, jitted, lane_axes, map_lanes
from nst_jax.losses.terms import Features, LossWeights, PackedLosses, Targets
from nst_jax.rows import ALONE, AXIS, Rows
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

    def __init__(self, program: Program, prepare: Prepare):
        """Take what makes the parameters, `prepare_parameters` of all its arguments."""
        self._program, self._prepare, self._functions = program, prepare, jitted(program)

    @cached_property
    def _params(self) -> Parameters:
        """On the device; not before steps are taken, since compiling takes memory for a while."""
        return self._prepare()

    def compile(self, shape: tuple[int, int], one_lane: Arguments) -> jax.stages.Compiled:
        """The step for images (H, W, 3) of this shape (H, W); of the arguments shapes count."""
        function, carry, arguments = self._inputs_of_step(shape, one_lane)
        params = jax.eval_shape(self._prepare)
        return device_memory.compile_for(function, carry, params, *arguments)

    def step(self, compiled: jax.stages.Compiled, of_lanes: Sequence[Arguments]) -> Step:
        """The compiled step with the arguments of each lane, which are on the host."""
        params, arguments = self._params, jax.device_put(of_lanes[0])
        return lambda carry: compiled(carry, params, *arguments)

    def start(self, images: Sequence[np.ndarray]) -> Carry:
        """The carry before the first step, from one image (H, W, 3) for each lane."""
        return self._functions.start(jax.device_put(images[0]))

    def outcome(self, carry: Carry) -> np.ndarray:
        """(lanes, H, W, 3) on the host: the best images so far, or the averages."""
        images = np.asarray(carry.outcome)
        return images.reshape(self.lanes, *images.shape[-3:])

    def store(self, carry: Carry) -> Carry:
        """The carry, in place of each array a list of its pieces, with an axis of lanes.

        They come to the host one by one, where they are used, and before the next step. Where an
        image is shared there is a piece for each device of this process, else one.
        """
        return self._with_lanes(jax.tree.map(lambda leaf: [piece_of(leaf)], carry))

    def restore(self, carry: Carry, shape: tuple[int, int]) -> Carry:
        """The carry on the devices, from one that was stored, of images (H, W, 3)."""
        return jax.tree.map(
            lambda pieces: jax.device_put(np.asarray(pieces[0])),
            self._without_lanes(carry),
            is_leaf=lambda each: isinstance(each, list),
        )

    def _with_lanes(self, carry: Carry) -> Carry:
        return map_lanes(self._program, lambda leaf: leaf[None], carry)

    def _without_lanes(self, carry: Carry) -> Carry:
        return map_lanes(self._program, lambda leaf: leaf[0], carry)

    def _inputs_of_step(
        self, shape: tuple[int, int], one_lane: Arguments
    ) -> tuple[jax.stages.Wrapped, Carry, Arguments]:
        """The step, and the shapes of its carry and arguments."""
        functions, image = self._functions, jax.ShapeDtypeStruct((*shape, 3), jnp.float32)
        return functions.step, jax.eval_shape(functions.start, image), one_lane


class MeshExecutor(Executor):
    """Many lanes as one program over devices, or lanes whose images several devices share.

    It is `vmap` over the lanes of a device, in a `shard_map` over a mesh of lanes and rows. Lanes
    never speak to each other; devices that share an image do (`nst_jax.rows`). One lane that
    devices share has no lane axis.
    """

    def __init__(
        self, program: Program, prepare: Prepare, lanes: int, devices: tuple[jax.Device, ...]
    ):
        """Take what makes the parameters, and lanes, a multiple of the groups of devices."""
        self._program, self._prepare, self._devices = program, prepare, devices
        self.lanes, self._has_axis = lanes, lanes > 1 or program.rows.devices == 1
        self.compiled_lanes = lanes if self._has_axis else 0
        self._height = 0  # of the images that the carry has

    def step(self, compiled: jax.stages.Compiled, of_lanes: Sequence[Arguments]) -> Step:  # noqa: D102
        programs = self._programs(self._height)
        padded = [(pad_targets(targets, programs.rows), weights) for targets, weights in of_lanes]
        params, arguments = self._params, self._placed(padded, programs.arguments)
        return lambda carry: compiled(carry, params, *arguments)

    def start(self, images: Sequence[np.ndarray]) -> Carry:  # noqa: D102
        self._height = len(images[0])
        programs = self._programs(self._height)
        padded = [_pad_rows(image, 0, programs.rows) for image in images]
        return programs.start(self._placed(padded, programs.images))

    def outcome(self, carry: Carry) -> np.ndarray:  # noqa: D102
        images: Any = carry.outcome
        if not images.is_fully_addressable:
            images = self._gathered(images)
        return np.asarray(images).reshape(self.lanes, *images.shape[-3:])[:, : self._height]

    def _gathered(self, images: jax.Array) -> np.ndarray:
        """Images ([lanes,] H, W, 3) of all processes; no device ever has more than two shares."""
        programs, whole = self._programs(self._height), np.empty(images.shape, images.dtype)
        height = programs.rows.share
        for number in range(programs.rows.devices):
            share = programs.share(images, np.int32(number)).addressable_data(0)
            whole[..., number * height : (number + 1) * height, :, :] = share
        return whole

    def store(self, carry: Carry) -> Carry:  # noqa: D102
        pieces = jax.tree.map(self._pieces_of, carry)
        return pieces if self._has_axis else self._with_lanes(pieces)

    def restore(self, carry: Carry, shape: tuple[int, int]) -> Carry:  # noqa: D102
        self._height = shape[0]
        if not self._has_axis:
            carry = self._without_lanes(carry)
        programs = self._programs(self._height)
        shapes = _carry_shapes(programs, self.compiled_lanes, shape)
        return jax.tree.map(self._from_pieces, shapes, programs.carry, carry)

    def _pieces_of(self, array: jax.Array) -> list[Piece]:
        """Those of this process, by rows; each with all lanes."""
        found: dict[Any, dict[Any, jax.Array]] = {}
        for shard in array.addressable_shards:
            lanes, rows = self._place_of(shard.index)
            found.setdefault(rows, {})[lanes] = shard.data
        return [
            _joined([piece_of(parts[lanes]) for lanes in sorted(parts)])
            for _, parts in sorted(found.items())
        ]

    def _from_pieces(self, shape: Any, sharding: NamedSharding, pieces: list[np.ndarray]) -> Any:
        """An array from those of this process, as `_pieces_of` has them."""
        own = sharding.addressable_devices_indices_map(shape.shape).values()
        order = sorted({self._place_of(index)[1] for index in own})

        def part(index: Any) -> np.ndarray:
            piece = np.asarray(pieces[order.index(self._place_of(index)[1])])
            return piece[index[0]] if self._has_axis and index else piece

        return jax.make_array_from_callback(shape.shape, sharding, part)

    def _place_of(self, index: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Where a shard begins: along the axis of lanes, if there is one, and along the others."""
        begins = tuple(each.start or 0 for each in index)
        return (begins[:1], begins[1:]) if self._has_axis else ((), begins)

    @cached_property
    def _params(self) -> Parameters:
        return place(self._prepare(), self._programs(self._height).whole)

    def _inputs_of_step(
        self, shape: tuple[int, int], one_lane: Arguments
    ) -> tuple[jax.stages.Wrapped, Carry, Arguments]:
        lanes = self.compiled_lanes
        inputs = on_mesh(self._program, self._devices, lanes, shape, one_lane)
        return inputs[0].step, inputs[1], inputs[2]

    def _programs(self, height: int) -> "MeshPrograms":
        return jitted_on(_with_height(self._program, height), self._devices, self._has_axis)

    def _placed(self, of_lanes: Sequence[Any], shardings: Any) -> Any:
        if not self._has_axis:
            return place(of_lanes[0], shardings)

        def stacked(sharding: NamedSharding, *of_lanes: Any) -> Any:
            def stack(*leaves: Any) -> Any:
                if not isinstance(leaves[0], jax.Array) or leaves[0].is_fully_addressable:
                    return np.stack(leaves)
                return jax.jit(lambda *each: jnp.stack(each), out_shardings=sharding)(*leaves)

            return jax.tree.map(stack, *of_lanes)

        return place(jax.tree.map(stacked, shardings, *of_lanes), shardings)


def _joined(pieces: list[Piece]) -> Piece:
    """Pieces as one, along their first axis."""
    if len(pieces) == 1:
        return pieces[0]
    shape = (sum(each.shape[0] for each in pieces), *pieces[0].shape[1:])
    return Piece(lambda: np.concatenate(list(map(np.asarray, pieces))), shape, pieces[0].dtype)


def place(tree: Any, shardings: Any) -> Any:
    """A tree of arrays on devices, each with its part; `shardings` is a prefix of it.

    Where the devices are of several processes, all must call this, with the same arrays.
    """

    def placed(sharding: NamedSharding, leaf: Any) -> jax.Array:
        if sharding.is_fully_addressable:
            return jax.device_put(leaf, sharding)
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
            return leaf
        array = np.asarray(leaf)
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

    return jax.tree.map(lambda s, leaves: jax.tree.map(partial(placed, s), leaves), shardings, tree)


def executor_of_one(program: Program, prepare: Prepare) -> Executor:
    """For one lane: on the first device, or on the first of those that share an image."""
    if program.rows.devices == 1:
        return Executor(program, prepare)
    return MeshExecutor(program, prepare, 1, _first_devices(program))


class MeshPrograms(NamedTuple):
    """The jitted functions of one program on a mesh of devices, and where their arrays lie.

    Attributes:
        start: images ([lanes,] H, W, 3) → carry.
        step: (carry, params, targets, weights) → (carry, losses); all but `params` have the lanes
            along their first axis. The carry is donated.
        content_features: of `Compiled`, but of padded images.
        style_grams: of `Compiled`, but of padded images.
        share: images, and the number of one of the devices that share each → on all of them what
            that one holds, ([lanes,] rows of a share, W, 3).
        carry: the shardings of a carry.
        images: of images.
        arguments: of targets and weights, a prefix of their tree.
        whole: of what every device needs all of.
        rows: of the images.
    """

    start: jax.stages.Wrapped
    step: jax.stages.Wrapped
    content_features: jax.stages.Wrapped
    style_grams: jax.stages.Wrapped
    share: jax.stages.Wrapped
    carry: Carry
    images: NamedSharding
    arguments: Any
    whole: NamedSharding
    rows: Rows


@lru_cache(maxsize=16)
def jitted_on(
    program: Program, devices: tuple[jax.Device, ...], has_lanes: bool = True
) -> MeshPrograms:
    """Jit one program for a mesh: lanes over devices, and rows over those that share an image.

    Args:
        program: its `rows` say how many devices share an image.
        devices: a multiple of them.
        has_lanes: whether all but parameters have an axis of lanes.
    """
    shape = len(devices) // program.rows.devices, program.rows.devices
    # Explicit axes, the default of `make_mesh` in newer versions, refuse vmapped convolutions.
    types = (AxisType.Auto, AxisType.Auto)
    mesh = Mesh(np.array(devices).reshape(shape), ("lanes", AXIS), axis_types=types)

    def spec(axis: int | None = None, of_lanes: bool = has_lanes) -> P:
        """Of an array whose rows lie along an axis."""
        lanes = ("lanes",) if of_lanes else ()
        return P(*lanes, *(() if axis is None else (*[None] * axis, AXIS)))

    axes, whole, images = lane_axes(program) if has_lanes else None, P(), spec(0)
    carry = _carry_specs(program, spec)
    content, style = spec(1), spec()
    arguments = Targets(content, style, spec(2), style, spec(1)), spec()  # type: ignore[arg-type]
    placed = partial(jax.tree.map, partial(NamedSharding, mesh))

    def jit(function, inputs, outputs, axes_in=None, axes_out=None, **options):
        bound = partial(function, program)
        sharded = jax.shard_map(
            jax.vmap(bound, axes_in, axes_out) if axes_in is not None else bound,
            mesh=mesh,
            in_specs=inputs,
            out_specs=outputs,
            check_vma=False,
        )
        shardings = {"in_shardings": placed(inputs), "out_shardings": placed(outputs)}
        return jax.jit(sharded, **shardings, **options)

    options = {"donate_argnums": 0, "compiler_options": compiler_options(devices[0].platform)}
    step_axes = ((axes, None, 0, 0), (axes, 0)) if has_lanes else (None, None)
    start_axes = (0, axes) if has_lanes else (None, None)
    image, guides = P(AXIS), P(None, None, AXIS)
    return MeshPrograms(
        jit(steps.start, (images,), carry, *start_axes),
        jit(steps.step, (carry, whole, *arguments), (carry, spec()), *step_axes, **options),
        jit(steps.content_features, (whole, image), P(None, AXIS)),
        jit(steps.style_grams, (whole, image, guides), whole),
        jit(_share_of, (images, whole), spec()),
        placed(carry),
        placed(images),
        placed(arguments),
        placed(whole),
        program.rows,
    )


def _share_of(program: Program, images: jax.Array, number: jax.Array) -> jax.Array:
    own = lax.axis_index(AXIS) == number
    return lax.psum(jnp.where(own, images, jnp.zeros_like(images)), AXIS)


def _with_height(program: Program, height: int) -> Program:
    """The program for images (H, W, 3); where one device has all of an image, one for all H."""
    rows = program.rows
    return program if rows.devices == 1 else replace(program, rows=rows._replace(height=height))


def content_features(program: Program, params: Parameters, image: np.ndarray) -> Features:
    """The content targets of an image (H, W, 3): {layer: (1, h, w, C)}, on the devices.

    Where devices share images, the features are shared and padded, too.
    """
    if program.rows.devices == 1:
        return jitted(program).content_features(jax.device_put(params), image)
    programs = _of_one_image(program, image)
    return programs.content_features(*_of_image(programs, params, image))


def style_grams(
    program: Program,
    params: Parameters,
    image: np.ndarray,
    guides: Mapping[str, np.ndarray] | None = None,
) -> Features:
    """The style targets of an image (H, W, 3), as `program.style_grams` has them, on the host."""
    if program.rows.devices == 1:
        return jax.device_get(jitted(program).style_grams(jax.device_put(params), image, guides))
    programs = _of_one_image(program, image)
    guides = jax.tree.map(partial(_pad_rows, axis=2, rows=programs.rows), guides)
    if guides is not None:
        guides = place(guides, programs.arguments[0].guides)
    return jax.device_get(programs.style_grams(*_of_image(programs, params, image), guides))


def _of_one_image(program: Program, image: np.ndarray) -> MeshPrograms:
    return jitted_on(_with_height(program, len(image)), _first_devices(program), False)


def _of_image(programs: MeshPrograms, params: Parameters, image: np.ndarray) -> tuple[Any, Any]:
    """Parameters and an image (H, W, 3), padded, on the devices."""
    padded = _pad_rows(image, 0, programs.rows)
    return place(params, programs.whole), place(padded, programs.images)


def _first_devices(program: Program) -> tuple[jax.Device, ...]:
    """As many as share an image."""
    return devices_of(program)[: program.rows.devices]


def devices_of(program: Program) -> tuple[jax.Device, ...]:
    """All that steps run on: this process's, or all processes' where they share each image."""
    if not distributed.spans_processes(program.rows.devices):
        return tuple(jax.local_devices())
    return tuple(sorted(jax.devices(), key=lambda device: (device.process_index, device.id)))


def on_mesh(
    program: Program,
    devices: tuple[jax.Device, ...],
    lanes: int,
    shape: tuple[int, int],
    one_lane: Arguments,
) -> tuple[MeshPrograms, Carry, Arguments]:
    """What a step on these devices is compiled from: programs, shapes of carry and arguments.

    Args:
        program: its `rows` say how many devices share an image.
        devices: a multiple of them.
        lanes: of all devices; 0 without an axis of lanes.
        shape: (H, W) of the images.
        one_lane: the arguments of one lane, or their shapes.
    """
    programs = jitted_on(_with_height(program, shape[0]), devices, lanes > 0)
    targets, weights = one_lane
    arguments: Any = pad_targets(targets, programs.rows), weights
    arguments = shape_of_lanes(lanes, arguments) if lanes else arguments
    return programs, _carry_shapes(programs, lanes, shape), arguments


def _carry_shapes(programs: MeshPrograms, lanes: int, shape: tuple[int, int]) -> Carry:
    """Shapes of the carry of images (H, W, 3); `lanes` as `on_mesh` has them."""
    image: Any = _pad_rows(jax.ShapeDtypeStruct((*shape, 3), jnp.float32), 0, programs.rows)
    return jax.eval_shape(programs.start, shape_of_lanes(lanes, image) if lanes else image)


def _carry_specs(program: Program, spec: Callable[..., P]) -> Carry:
    """Of all arrays of a carry; their rows lie along the axis that grows with the image."""
    begin = partial(jax.eval_shape, partial(steps.start, replace(program, rows=ALONE)))
    low, high = (begin(jax.ShapeDtypeStruct((h, 16, 3), jnp.float32)) for h in (16, 32))

    def of_subtree(lane_axis: int | None, *subtrees: Any) -> Any:
        def of_leaf(one: Any, other: Any) -> P:
            grown = (n for n in range(one.ndim) if one.shape[n] != other.shape[n])
            axis = next(grown, None)
            return P() if lane_axis is None else spec(axis)

        return jax.tree.map(of_leaf, *subtrees)

    axes = lane_axes(program)
    return jax.tree.map(of_subtree, axes, low, high, is_leaf=lambda axis: axis is None)


def pad_targets(targets: Targets, rows: Rows) -> Targets:
    """Targets, or their shapes, with zeros in the rows that devices hold beyond the image."""

    def padded(tree: Any, axis: int) -> Any:
        return jax.tree.map(partial(_pad_rows, axis=axis, rows=rows), tree)

    content, guides, free = targets.content, targets.guides, targets.free
    return targets._replace(
        content=padded(content, 1), guides=padded(guides, 2), free=padded(free, 1)
    )


def _pad_rows(array: Any, axis: int, rows: Rows) -> Any:
    """An array, or its shape, with zeros in the rows beyond; what devices hold has them."""
    if rows.devices == 1 or isinstance(array, jax.Array):
        return array
    beyond = rows.padded(array.shape[axis]) - array.shape[axis]
    if not beyond:
        return array
    if isinstance(array, jax.ShapeDtypeStruct):
        shape = (*array.shape[:axis], array.shape[axis] + beyond, *array.shape[axis + 1 :])
        return jax.ShapeDtypeStruct(shape, array.dtype)
    return np.pad(array, [(0, beyond if n == axis else 0) for n in range(array.ndim)])


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
    jitted_on.cache_clear()
    gc.collect()  # JAX's functions refer to themselves
    device_memory.give_back()


def shape_of_lanes(count: int, one_lane: Any) -> Any:
    """Shapes and types of a tree of arrays with `count` lanes, from those of one."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((count, *leaf.shape), leaf.dtype), one_lane
    )
