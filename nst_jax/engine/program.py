"""The programs that are compiled: the targets, and one step of the optimization.

Everything static stands in `Program`; loss weights, targets and parameters are arguments, so that
another ratio or another image of the same size needs no compilation.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from nst_jax.architecture import block_of, canonical_layer, convolutions_up_to
from nst_jax.losses.terms import (
    Features,
    Losses,
    LossWeights,
    PackedLosses,
    Targets,
    both_variations,
    gram_observers,
    total_loss,
)
from nst_jax.network import row_bands, tiles, vgg, winograd
from nst_jax.network.gram import gram_matrix, guided_gram_matrix, observe, over_devices
from nst_jax.network.kernel_forms import choose_form, in_form
from nst_jax.network.vgg import PRECISIONS, VGG
from nst_jax.optim.optimizer import Optimizer, make_optimizer
from nst_jax.rows import ALONE, Rows
from nst_jax.weights.parameters import Parameters, Weights

if TYPE_CHECKING:
    from nst_jax.settings.settings import Settings

# A loss this many times the best one counts as exploded: what L-BFGS has learned on the way there
# says nothing of where the image goes back to.
EXPLOSION = 100.0
# How much shorter the steps get when the image goes back to the best one; they grow again, twofold,
# as the loss falls. Without it the same step would be taken, and would fail, for ever.
SHRINK = 0.25


@dataclasses.dataclass(frozen=True)
class Program:
    """All that is static: runs with equal programs and image sizes share their compilations.

    Attributes:
        architecture: "vgg16" or "vgg19".
        mean: what is subtracted from the image, RGB in [0, 1].
        static: the settings that are static; the others are as by default.
        platform: where the steps will run, "cpu", "gpu" or "tpu".
        rows: of the image, which devices share; of each device what follows sees its own rows.
    """

    architecture: str
    mean: tuple[float, float, float]
    static: "Settings"
    platform: str
    rows: Rows = ALONE

    def network(self, layers: tuple[str, ...]) -> VGG:
        """The network that returns the features of these layers."""
        one = self.static
        dtype, precision = PRECISIONS[one.precision]
        return VGG(
            self.architecture,
            layers,
            self.mean,
            one.pooling,
            dtype,
            precision,
            one.padding,
            tiled=self.platform == "tpu",
            rows=self.rows,
        )

    def make_optimizer(self, chroma_smoothing: jax.Array | float | None = None) -> Optimizer:
        """The optimizer; how chroma is smoothed decides its updates only."""
        one = self.static
        return make_optimizer(
            one.optimizer,
            one.step_size,
            one.lbfgs_memory,
            one.precondition,
            one.lbfgs_history,
            chroma_smoothing if one.smooth_chroma else None,
            by_planes=self.platform == "tpu",
            rows=self.rows,
        )

    def observe(
        self,
        layers: tuple[str, ...],
        params: Parameters,
        image: jax.Array,
        observers: Mapping[str, Sequence[Any]],
    ) -> tuple[Features, Features]:
        """Features of an image (H, W, 3), and its Gram matrices."""
        observe = (row_bands if self.static.low_memory else tiles).observe_features
        return observe(self.network(layers), params, image[None], observers)


def make_program(settings: "Settings", weights: Weights, platform: str | None = None) -> Program:
    """Gather what is static.

    Args:
        settings: of a lane.
        weights: of the network.
        platform: where the steps will run, "cpu", "gpu" or "tpu"; None: this process's.

    Raises:
        SettingsError: the network lacks a layer that a loss reads.
    """
    for layer in settings.layers:
        canonical_layer(layer, weights.architecture)
    platform = platform or jax.default_backend()
    precision = vgg.precision_on(platform, settings.precision)
    in_bands = settings.low_memory is True  # what "auto" comes to is `engine.fitting`'s
    static = dataclasses.replace(settings.static_part, precision=precision, low_memory=in_bands)
    return Program(weights.architecture, weights.mean, static, platform)


class Best(NamedTuple):
    """The image of least loss so far, (H, W, 3), and its losses.

    With normalized gradients, which are not those of the loss, it is the newest that is finite.
    """

    image: jax.Array
    losses: PackedLosses


class Average(NamedTuple):
    """The mean of the images so far, (H, W, 3), and the sum of its weights, a scalar from 0 to 1.

    Weights fall by a factor 1 − 2/(N+1) from image to image, so that the mean age is that of the
    plain mean of the last N; they are divided by their sum (Kingma & Ba 2015, section 3).
    """

    image: jax.Array
    weight_sum: jax.Array


class Carry(NamedTuple):
    """What one step hands to the next.

    Attributes:
        image: (H, W, 3), where the next gradient is taken.
        restarts: int32 scalar, how often the image went back to the best one.
        shrink: scalar, what the optimizer's updates are multiplied with; 1 but after a restart.
        rises: int32 scalar, how many images in a row, up to the last, had more than the best loss.
        average: where the program asks for one.
    """

    image: jax.Array
    optimizer: optax.OptState
    best: Best
    restarts: jax.Array
    shrink: jax.Array
    rises: jax.Array
    average: Average | None = None

    @property
    def outcome(self) -> jax.Array:
        """(H, W, 3), what the run has come to: the average, or the best image."""
        return self.best.image if self.average is None else self.average.image


def prepare_parameters(program: Program, params: Parameters, shape: Sequence[int]) -> Parameters:
    """The parameters that a program's steps read, on the device, in the form fastest there.

    They are right for images of any size. On a CPU some take four times their memory.

    Args:
        program: says which layers, and their type.
        params: of the network.
        shape: (H, W, 3) of the images, at full size.
    """
    layers = program.static.content_layers + program.static.style_layers
    dtype = program.network(layers).dtype

    def form_of(layer: str) -> str:
        halvings = block_of(layer) - 1
        positions = (shape[0] >> halvings) * (shape[1] >> halvings)
        return choose_form(program.platform, dtype, params[layer]["kernel"].shape, positions)

    needed = {layer: params[layer] for layer in convolutions_up_to(program.architecture, layers)}
    return _in_forms(needed, tuple((layer, form_of(layer)) for layer in needed), dtype)


@partial(jax.jit, static_argnums=(1, 2))
def _in_forms(
    params: Parameters, forms: tuple[tuple[str, str], ...], dtype: jnp.dtype
) -> dict[str, Any]:
    return {layer: in_form(params[layer], form, dtype) for layer, form in forms}


def content_features(program: Program, params: Parameters, image: jax.Array) -> Features:
    """The content targets of an image (H, W, 3): {layer: (1, h, w, C)}."""
    return program.observe(program.static.content_layers, params, image, {})[0]


def style_grams(
    program: Program, params: Parameters, image: jax.Array, guides: Features | None = None
) -> Features:
    """The style targets of an image (H, W, 3): {layer: (1, C, C)}.

    Of its regions, guided by {layer: (1, R, h, w)}: {layer: (1, R, C, C)}.
    """
    layers, rows = program.static.style_layers, program.rows
    observers: dict[str, tuple] = dict.fromkeys(layers, (over_devices(gram_matrix, rows),))
    if guides is not None:
        guided = over_devices(guided_gram_matrix, rows)
        observers = {layer: (guided, guides[layer]) for layer in observers}
    return program.observe((), params, image, observers)[1]


def objective(
    program: Program, image: jax.Array, params: Parameters, targets: Targets, weights: LossWeights
) -> tuple[jax.Array, Losses]:
    """The total loss of one image (H, W, 3), and all its terms, scalars.

    It has no gradient at pixels that the targets do not leave free.
    """
    if targets.free is not None:
        image = jnp.where(targets.free[0], image, lax.stop_gradient(image))
    normalizing, rows = program.static.normalize_gradients, program.rows
    observers = gram_observers(targets, weights, normalizing, rows)
    images, variations = image[None], None
    if program.platform != "cpu":  # or XLA would hold their gradient while the network runs
        images, variations = observe(partial(both_variations, rows=rows), images)
    features, grams = program.observe(tuple(targets.content), params, images[0], observers)
    how = program.static.convention, grams, normalizing, rows, variations
    losses = total_loss(images, features, targets, weights, *how)
    losses = jax.tree.map(lambda per_image: per_image[0], losses)
    return losses.total, losses


def start(program: Program, image: jax.Array) -> Carry:
    """The carry before the first step, for an image (H, W, 3)."""
    static, worst = program.static, jnp.full((), jnp.inf, image.dtype)
    style_layers = dict.fromkeys(static.style_layers, worst)
    content_layers = dict.fromkeys(static.content_layers, worst)
    losses = Losses(worst, worst, worst, worst, content_layers, style_layers, worst)
    state = program.make_optimizer().init(image)
    none, whole = jnp.zeros((), jnp.int32), jnp.ones((), image.dtype)
    average = Average(image, jnp.zeros((), image.dtype)) if static.average else None
    best = Best(image, PackedLosses.pack(losses))
    return Carry(image, state, best, none, whole, none, average)


def step(
    program: Program, carry: Carry, params: Parameters, targets: Targets, weights: LossWeights
) -> tuple[Carry, PackedLosses]:
    """Evaluate the loss and its gradient once, and update the image.

    The image goes back to the best one, and steps get shorter, where the loss or its gradient is
    not finite, where the loss has exploded, or where it has been above the best for as many images
    in a row as the optimizer allows. In the last case L-BFGS keeps its history: the way back is one
    more pair, of the curvature that the failed steps did not know. Else it begins with an empty
    one. Returns the next carry, and the losses of the image that came in.
    """
    optimizer = program.make_optimizer(weights.chroma_smoothing)
    gradient_of = jax.value_and_grad(objective, argnums=1, has_aux=True)
    (_, terms), gradient = gradient_of(program, carry.image, params, targets, weights)
    losses = PackedLosses.pack(terms)
    finite = jnp.isfinite(losses.total) & program.rows.all(jnp.all(jnp.isfinite(gradient)))
    normalizing, best_loss = program.static.normalize_gradients, carry.best.losses.total
    lost = ~finite | (losses.total > EXPLOSION * best_loss)
    failed, rises = lost, carry.rises
    if optimizer.patience and not normalizing:
        rises = jnp.where(losses.total > best_loss, carry.rises + 1, 0)
        failed = lost | (rises >= optimizer.patience)
    better = ~failed & (normalizing or (losses.total < best_loss))
    best = _select(better, Best(carry.image, losses), carry.best)
    updates, state = optimizer.update(gradient, carry.optimizer, carry.image)
    image = optimizer.project(carry.image + carry.shrink * updates)
    if targets.free is not None:  # a preconditioned update reaches beyond the gradient
        image = jnp.where(targets.free[0], image, carry.image)
    grown = jnp.where(better, jnp.minimum(1.0, 2.0 * carry.shrink), carry.shrink)
    return Carry(
        image=jnp.where(failed, best.image, image),
        optimizer=_select(lost, optimizer.restart(state), state),
        best=best,
        restarts=carry.restarts + failed.astype(jnp.int32),
        shrink=jnp.where(failed, SHRINK * carry.shrink, grown),
        rises=jnp.where(failed, 0, rises),
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
    """The axes of a carry's lanes, a prefix of its tree, for `jax.vmap`; None where they share."""
    axes: Any = Carry._make([0] * len(Carry._fields))
    return axes._replace(optimizer=program.make_optimizer().lane_axes)


def take_lanes(program: Program, carry: Carry, lanes: Sequence[int]) -> Carry:
    """Some lanes of a carry on the host, in the order given; the first in order are not copied."""
    index: Any = np.asarray(lanes)
    if np.array_equal(index, np.arange(len(index))):
        index = slice(len(index))
    return map_lanes(program, lambda leaf: leaf[index], carry)


def map_lanes(program: Program, change: Callable[[Any], Any], carry: Carry) -> Carry:
    """Change every leaf that has, or is to have, an axis of lanes; what lanes share stays."""

    def change_subtree(axis: int | None, subtree: Any) -> Any:
        return subtree if axis is None else jax.tree.map(change, subtree)

    return jax.tree.map(
        change_subtree, lane_axes(program), carry, is_leaf=lambda axis: axis is None
    )


class Compiled(NamedTuple):
    """The jitted functions of one program; the step's carry is donated."""

    content_features: jax.stages.Wrapped
    style_grams: jax.stages.Wrapped
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
        jax.jit(bind(start)),
        jax.jit(bind(step), donate_argnums=0, compiler_options=compiler_options(program.platform)),
    )


def compiler_options(platform: str) -> dict[str, str] | None:
    """What XLA must be told where steps are compiled for devices of this platform."""
    return winograd.COMPILER_OPTIONS if platform == "cpu" else None
