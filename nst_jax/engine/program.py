"""The programs that are compiled: the targets, and one step of the optimization.

Everything static stands in `Program`; loss weights, targets and parameters are arguments, so that
another ratio or another image of the same size needs no compilation.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from nst_jax.architecture import FILTERS, canonical_layer, convolutions_up_to
from nst_jax.losses.terms import Features, Losses, LossWeights, Targets, gram_observers, total_loss
from nst_jax.network import row_bands, vgg, winograd
from nst_jax.network.gram import gram_matrix, guided_gram_matrix
from nst_jax.network.vgg import PRECISIONS, VGG
from nst_jax.optim.optimizer import Optimizer, make_optimizer
from nst_jax.settings.settings import Settings, static_part
from nst_jax.weights.parameters import Parameters, Weights

# A loss this many times the best one counts as exploded. L-BFGS with its fixed step finds back from
# less by itself: from 35 times, after a first step that was too long.
EXPLOSION = 100.0
# How much shorter the steps get after that; they grow again, twofold, as the loss falls. Without it
# the same first step would be taken, and would explode, for ever.
SHRINK = 0.25


@dataclasses.dataclass(frozen=True)
class Program:
    """All that is static: runs with equal programs and image sizes share their compilations.

    Attributes:
        architecture: "vgg16" or "vgg19".
        mean: what is subtracted from the image, RGB in [0, 1].
        static: the settings that are static; the others are as by default.
    """

    architecture: str
    mean: tuple[float, float, float]
    static: Settings

    def network(self, layers: tuple[str, ...]) -> VGG:
        """The network that returns the features of these layers."""
        dtype, precision = PRECISIONS[self.static.precision]
        return VGG(
            self.architecture,
            layers,
            self.mean,
            pooling=self.static.pooling,
            dtype=dtype,
            precision=precision,
            padding=self.static.padding,
        )

    def make_optimizer(self) -> Optimizer:
        """The optimizer."""
        return make_optimizer(
            self.static.optimizer,
            self.static.step_size,
            self.static.lbfgs_memory,
            self.static.precondition,
            self.static.lbfgs_history,
        )


def make_program(settings: Settings, weights: Weights) -> Program:
    """Gather what is static.

    Raises:
        SettingsError: the network lacks a layer that a loss reads.
    """
    for layer in settings.layers:
        canonical_layer(layer, weights.architecture)
    return Program(weights.architecture, weights.mean, static_part(settings))


class Best(NamedTuple):
    """The image with the least loss so far, (H, W, 3), and its losses, scalars.

    With normalized gradients it is the newest instead that is finite: they are not the gradient of
    the loss, which need not fall.
    """

    image: jax.Array
    losses: Losses


class Average(NamedTuple):
    """The mean of the images so far, the newest counting most.

    Weights fall by a factor 1 − 2/(N+1) from image to image, so that the mean age is that of the
    plain mean of the last N; and they are divided by their sum from the first image on, as Kingma &
    Ba 2015 do, section 3.

    Attributes:
        image: (H, W, 3).
        weight_sum: scalar, the sum of the weights, from 0 up to 1.
    """

    image: jax.Array
    weight_sum: jax.Array


class Carry(NamedTuple):
    """What one step hands to the next.

    Attributes:
        image: (H, W, 3), where the next gradient is taken.
        optimizer: state of the optimizer.
        best: so far.
        restarts: int32 scalar, how often the optimizer had to begin again.
        shrink: scalar, what the optimizer's updates are multiplied with; 1 but after a restart.
        average: where the program asks for one.
    """

    image: jax.Array
    optimizer: optax.OptState
    best: Best
    restarts: jax.Array
    shrink: jax.Array
    average: Average | None = None

    @property
    def outcome(self) -> jax.Array:
        """(H, W, 3), what the run has come to: the average, or the best image."""
        return self.best.image if self.average is None else self.average.image


def prepare_parameters(program: Program, params: Parameters) -> Parameters:
    """The parameters that the steps of a program read, on the device, in the form fastest there.

    Only those of the layers that are needed. On a CPU convolutions of many channels get their
    kernels transformed once for all steps, which takes four times the memory of the kernels.
    """
    layers = program.static.content_layers + program.static.style_layers
    needed = {layer: params[layer] for layer in convolutions_up_to(program.architecture, layers)}
    if jax.default_backend() != "cpu" or program.network(layers).dtype == jnp.bfloat16:
        return jax.device_put(needed)
    return {layer: _transformed(tensors) for layer, tensors in needed.items()}


@jax.jit
def _transformed(tensors: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    kernel, bias = tensors["kernel"], tensors["bias"]
    if kernel.shape[2] < FILTERS[0]:  # the image's own channels
        return {"kernel": kernel, "bias": bias}
    return {"transformed_kernel": winograd.transform_kernel(kernel), "bias": bias}


def content_features(program: Program, params: Parameters, image: jax.Array) -> Features:
    """The content targets of an image (H, W, 3): {layer: (1, h, w, C)}."""
    return _observe(program, program.static.content_layers, params, image, {})[0]


def style_grams(program: Program, params: Parameters, image: jax.Array) -> Features:
    """The style targets of an image (H, W, 3): {layer: (1, C, C)}."""
    observers = dict.fromkeys(program.static.style_layers, (gram_matrix,))
    return _observe(program, (), params, image, observers)[1]


def guided_grams(
    program: Program, params: Parameters, image: jax.Array, guides: Features
) -> Features:
    """The style targets of an image's regions, guided by {layer: (1, R, h, w)}: (1, R, C, C)."""
    layers = program.static.style_layers
    observers = {layer: (guided_gram_matrix, guides[layer]) for layer in layers}
    return _observe(program, (), params, image, observers)[1]


def _observe(
    program: Program,
    layers: tuple[str, ...],
    params: Parameters,
    image: jax.Array,
    observers: Mapping[str, Sequence[Any]],
) -> tuple[Features, Features]:
    """Features of an image (H, W, 3), and its Gram matrices, in the program's way."""
    observe = row_bands.observe_features if program.static.low_memory else vgg.observe_features
    return observe(program.network(layers), params, image[None], observers)


def objective(
    program: Program,
    image: jax.Array,
    params: Parameters,
    targets: Targets,
    weights: LossWeights,
) -> tuple[jax.Array, Losses]:
    """The total loss of one image (H, W, 3), and all its terms, scalars.

    It has no gradient at pixels that the targets do not leave free.
    """
    if targets.free is not None:
        image = jnp.where(targets.free[0], image, lax.stop_gradient(image))
    normalizing = program.static.normalize_gradients
    observers = gram_observers(targets, weights, normalizing)
    features, grams = _observe(program, tuple(targets.content), params, image, observers)
    losses = total_loss(
        image[None], features, targets, weights, program.static.convention, grams, normalizing
    )
    losses = jax.tree.map(lambda per_image: per_image[0], losses)
    return losses.total, losses


def start(program: Program, image: jax.Array) -> Carry:
    """The carry before the first step, for an image (H, W, 3)."""
    worst = jnp.full((), jnp.inf, image.dtype)
    style_layers = dict.fromkeys(program.static.style_layers, worst)
    content_layers = dict.fromkeys(program.static.content_layers, worst)
    losses = Losses(worst, worst, worst, worst, content_layers, style_layers, worst)
    state = program.make_optimizer().init(image)
    none, whole = jnp.zeros((), jnp.int32), jnp.ones((), image.dtype)
    average = Average(image, jnp.zeros((), image.dtype)) if program.static.average else None
    return Carry(image, state, Best(image, losses), none, whole, average)


def step(
    program: Program, carry: Carry, params: Parameters, targets: Targets, weights: LossWeights
) -> tuple[Carry, Losses]:
    """Evaluate the loss and its gradient once, and update the image.

    Where the loss or its gradient is not finite, or the loss has exploded, the image goes back to
    the best one and the optimizer begins again with an empty history and shorter steps.

    Returns:
        The next carry, and the losses of the image that came in.
    """
    optimizer = program.make_optimizer()
    gradient_of = jax.value_and_grad(objective, argnums=1, has_aux=True)
    (_, losses), gradient = gradient_of(program, carry.image, params, targets, weights)
    finite = jnp.isfinite(losses.total) & jnp.all(jnp.isfinite(gradient))
    failed = ~finite | (losses.total > EXPLOSION * carry.best.losses.total)
    falling = program.static.normalize_gradients or (losses.total < carry.best.losses.total)
    better = ~failed & falling
    best = _select(better, Best(carry.image, losses), carry.best)
    updates, state = optimizer.update(gradient, carry.optimizer, carry.image)
    image = optimizer.project(carry.image + carry.shrink * updates)
    if targets.free is not None:  # a preconditioned update reaches beyond the gradient
        image = jnp.where(targets.free[0], image, carry.image)
    grown = jnp.where(better, jnp.minimum(1.0, 2.0 * carry.shrink), carry.shrink)
    return Carry(
        image=jnp.where(failed, best.image, image),
        optimizer=_select(failed, optimizer.restart(state), state),
        best=best,
        restarts=carry.restarts + failed.astype(jnp.int32),
        shrink=jnp.where(failed, SHRINK * carry.shrink, grown),
        average=_averaged(program.static.average, carry, failed),
    ), losses


def _averaged(span: int, carry: Carry, failed: jax.Array) -> Average | None:
    """The average with the carry's image, unless that has failed."""
    before = carry.average
    if before is None:
        return None
    share = 2 / (span + 1)
    weight_sum = before.weight_sum + share * (1 - before.weight_sum)
    image = before.image + share / weight_sum * (carry.image - before.image)
    return _select(failed, before, Average(image, weight_sum))


def _select(condition, if_true, if_false):
    """Choose leaf by leaf. What is the same either way stays as it is, and shared among lanes."""
    return jax.tree.map(lambda a, b: a if a is b else jnp.where(condition, a, b), if_true, if_false)


def lane_axes(program: Program) -> Any:
    """A carry of the axes along which it has its lanes, for `jax.vmap`; None for what they share.

    A prefix of the carry's tree: one number stands for all arrays below it.
    """
    axes: Any = Carry._make([0] * len(Carry._fields))
    return axes._replace(optimizer=program.make_optimizer().lane_axes)


def take_lanes(carry: Carry, axes: Carry, lanes: Sequence[int]) -> Carry:
    """The carry of some lanes, in the order given; of arrays on the host with an axis of lanes.

    The first ones, in their order, are not copied.
    """
    index: Any = np.asarray(lanes)
    if np.array_equal(index, np.arange(len(index))):
        index = slice(len(index))
    return map_lanes(lambda leaf: leaf[index], carry, axes)


def map_lanes(change: Callable[[Any], Any], carry: Carry, axes: Carry) -> Carry:
    """Change every leaf that has, or is to have, an axis of lanes; what lanes share stays."""

    def change_subtree(axis: int | None, subtree: Any) -> Any:
        return subtree if axis is None else jax.tree.map(change, subtree)

    return jax.tree.map(change_subtree, axes, carry, is_leaf=lambda axis: axis is None)


class Compiled(NamedTuple):
    """The jitted functions of one program; the step's carry is donated."""

    content_features: jax.stages.Wrapped
    style_grams: jax.stages.Wrapped
    guided_grams: jax.stages.Wrapped
    start: jax.stages.Wrapped
    step: jax.stages.Wrapped


@lru_cache(maxsize=16)
def jitted(program: Program) -> Compiled:
    """Jit the functions above for one program; the same ones each time, so JAX's caches hold."""

    def bind(function):
        def bound(*arguments):
            return function(program, *arguments)

        bound.__name__ = function.__name__
        return bound

    return Compiled(
        jax.jit(bind(content_features)),
        jax.jit(bind(style_grams)),
        jax.jit(bind(guided_grams)),
        jax.jit(bind(start)),
        jax.jit(bind(step), donate_argnums=0, compiler_options=compiler_options()),
    )


def compiler_options() -> dict[str, str] | None:
    """What XLA must be told where steps are compiled for this machine's devices."""
    return winograd.COMPILER_OPTIONS if jax.default_backend() == "cpu" else None
