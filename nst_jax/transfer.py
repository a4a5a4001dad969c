"""Style transfer of one image: the initial image, the targets, and the loop with its callback."""

import dataclasses
import math
import time
import warnings
from collections import deque
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax import geometry, images
from nst_jax.errors import ImageError, SettingsError
from nst_jax.losses import Losses, Targets
from nst_jax.program import Carry, Program, jitted, make_program
from nst_jax.settings import Settings
from nst_jax.weights import Weights, cannot_normalize, normalize
from nst_jax.weights_file import load_weights
from nst_jax.weights_search import find_weights

ImageLike = np.ndarray | jax.Array | str | Path

# Steps in flight: the device computes one while the host reads the losses of the one before.
STEPS_IN_FLIGHT = 2
# What resizing in floats may add to [0, 1].
OVERSHOOT = 0.5


@dataclasses.dataclass(frozen=True)
class Progress:
    """What a callback is told after each step.

    Attributes:
        step: 0 is the initial image, before any update.
        steps: of the whole run.
        losses: of the image at this step, Python floats.
        seconds: since the first step began, compilation not counted.
        image: (H, W, 3) float32 in [0, 1], the best so far; None but every `save_every` steps.
    """

    step: int
    steps: int
    losses: Losses
    seconds: float
    image: np.ndarray | None = None


Callback = Callable[[Progress], object]


@dataclasses.dataclass(frozen=True)
class Result:
    """The outcome of a run.

    Attributes:
        image: (H, W, 3) float32, the image of least loss, clipped to [0, 1] once.
        losses: of that image before clipping, Python floats.
        history: (step, losses) of step 0, every `report_every` steps, and the last.
        evaluations: of the loss and its gradient.
        restarts: how often the optimiser had to begin again.
        compile_seconds: spent compiling the step.
        run_seconds: spent in steps.
        completed: False where the callback ended the run early.
        settings: as given.
        weights: what is known of those that were used; without their tensors.
    """

    image: np.ndarray
    losses: Losses
    history: list[tuple[int, Losses]]
    evaluations: int
    restarts: int
    compile_seconds: float
    run_seconds: float
    completed: bool
    settings: Settings
    weights: Weights


def stylize(
    content: ImageLike,
    style: ImageLike,
    settings: Settings | None = None,
    *,
    weights: Weights | None = None,
    callback: Callback | None = None,
    report_every: int = 10,
    save_every: int | None = None,
) -> Result:
    """Paint the content image in the manner of the style image.

    Args:
        content: path, or (H, W, 3) sRGB in [0, 1]. A file is resized so that its long side is
            `settings.size`; an array is taken as it is.
        style: likewise, with `settings.style_size`.
        settings: of the run; None takes the defaults.
        weights: of the network; None finds `settings.weights`.
        callback: called after every step; what it returns does not matter. It may raise
            StopIteration to end the run there (as in `scipy.optimize.minimize`).
        report_every: steps between entries of the history.
        save_every: steps between calls of the callback that carry the image.

    Returns:
        The image of least loss, and how it came about.

    Raises:
        ImageError: an image cannot be read, or an array is no image in [0, 1].
        SettingsError: a setting does not fit the network or the images, or makes the first loss
            overflow.
        WeightsError: there are no such weights.
    """
    settings = settings or Settings()
    weights = weights or load_weights(find_weights(settings.weights))
    check_intervals(report_every, save_every)
    if settings.normalize and weights.activation_means is None and not weights.normalized:
        warnings.warn(cannot_normalize(weights), stacklevel=2)
    elif settings.normalize:
        weights = normalize(weights)
    program = make_program(settings, weights)
    content = _as_image("content", content, settings.size)
    style = _as_image("style", style, settings.style_size or settings.size)
    image = initial_image(jax.random.key(settings.seed), settings.init, content, style)
    targets = compute_targets(program, weights, content, style)
    return optimize(program, image, targets, settings, weights, callback, report_every, save_every)


def compute_targets(
    program: Program, weights: Weights, content: np.ndarray, style: np.ndarray
) -> Targets:
    """What the generated image will be compared with.

    Args:
        program: says which layers.
        weights: of the network.
        content: (H, W, 3).
        style: (H', W', 3), of any size.
    """
    functions, params = jitted(program), jax.device_put(weights.params)
    return Targets(
        functions.content_features(params, content), functions.style_grams(params, style)
    )


def _as_image(name: str, image: ImageLike, size: int) -> np.ndarray:
    if isinstance(image, str | Path):
        return images.load_image(image, size)
    image = np.asarray(image, np.float32)
    if image.ndim != 3 or image.shape[-1] != 3 or not image.size:
        raise ImageError(f"the {name} image has shape {image.shape}; wanted (H, W, 3)")
    if not (image.min() >= -OVERSHOOT and image.max() <= 1 + OVERSHOOT):  # also where it is NaN
        raise ImageError(
            f"the {name} image has values from {image.min():g} to {image.max():g}; wanted sRGB in "
            f"[0, 1]: divide bytes by 255"
        )
    return image


def initial_image(
    key: jax.Array, init: str, content: np.ndarray, style: np.ndarray
) -> np.ndarray | jax.Array:
    """The image that the optimisation starts from.

    Args:
        key: of the noise.
        init: "content"; "noise": white, uniform over [0, 1]; "style": the style image, cut to the
            content's shape; or the path of an image, likewise.
        content: (H, W, 3).
        style: (H', W', 3).

    Returns:
        (H, W, 3), float32.
    """
    if init == "content":
        return content
    if init == "noise":
        return jax.random.uniform(key, content.shape, jnp.float32)
    source = style if init == "style" else images.load_image(init)
    return geometry.cover(source, content.shape[:2])


def optimize(
    program: Program,
    image: np.ndarray | jax.Array,
    targets: Targets,
    settings: Settings,
    weights: Weights,
    callback: Callback | None = None,
    report_every: int = 10,
    save_every: int | None = None,
) -> Result:
    """Evaluate and update the image `steps` times, and evaluate it once more.

    Args:
        program: what is compiled.
        image: (H, W, 3), the initial image.
        targets: from `compute_targets`.
        settings: the number of steps and the weights of the losses.
        weights: of the network.
        callback: as in `stylize`.
        report_every: as in `stylize`.
        save_every: as in `stylize`.

    Raises:
        SettingsError: the loss of the initial image is not finite; an interval is less than 1.
    """
    check_intervals(report_every, save_every)
    functions = jitted(program)
    arguments = jax.device_put((weights.params, targets, settings.loss_weights()))
    carry = functions.start(jnp.asarray(image, jnp.float32))
    began = time.perf_counter()
    step = functions.step.lower(carry, *arguments).compile()
    compile_seconds = time.perf_counter() - began

    monitor = _Monitor(settings.steps, callback, report_every)
    in_flight: deque[tuple[int, Losses]] = deque()
    for number in range(settings.steps + 1):
        carry, losses = step(carry, *arguments)
        in_flight.append((number, losses))
        saving = save_every is not None and number % save_every == 0
        at_rest = saving or number == settings.steps
        while in_flight and (at_rest or len(in_flight) == STEPS_IN_FLIGHT):
            newest = len(in_flight) == 1
            monitor.report(*in_flight.popleft(), carry if saving and newest else None)
        if monitor.stopped:
            break
    for late in in_flight:
        monitor.report(*late, None)
    best = jax.device_get(carry.best)
    return Result(
        image=best.image.clip(0.0, 1.0),
        losses=_as_floats(best.losses),
        history=monitor.finished_history(),
        evaluations=number + 1,
        restarts=int(carry.restarts),
        compile_seconds=compile_seconds,
        run_seconds=monitor.seconds(),
        completed=not monitor.stopped,
        settings=settings,
        weights=dataclasses.replace(weights, params={}, activation_means=None),
    )


def check_intervals(report_every: int, save_every: int | None) -> None:
    """Refuse numbers of steps below 1.

    Raises:
        SettingsError: one of them is.
    """
    for name, value in (("report_every", report_every), ("save_every", save_every)):
        if value is not None and value < 1:
            raise SettingsError(f"{name} is {value}; wanted at least 1")


class _Monitor:
    """Reads losses as steps finish, keeps the history, and asks the callback whether to go on."""

    def __init__(self, steps: int, callback: Callback | None, report_every: int):
        self.history: list[tuple[int, Losses]] = []
        self.stopped = False
        self._last: tuple[int, Losses] | None = None
        self._steps, self._callback, self._report_every = steps, callback, report_every
        self._began = time.perf_counter()

    def seconds(self) -> float:
        return time.perf_counter() - self._began

    def report(self, number: int, losses: Losses, carry: Carry | None) -> None:
        """Take the losses of a step, waiting for it; `carry` where its image is to be shown."""
        losses = _as_floats(losses)
        if number == 0 and not math.isfinite(losses.total):
            raise SettingsError(
                f"the loss of the initial image is {losses.total} (content {losses.content:g}, "
                f"style {losses.style:g}); use a smaller ratio or smaller layer weights"
            )
        self._last = (number, losses)
        if number % self._report_every == 0:
            self.history.append(self._last)
        if self._callback and not self.stopped:
            image = None if carry is None else np.asarray(carry.best.image).clip(0.0, 1.0)
            progress = Progress(number, self._steps, losses, self.seconds(), image)
            try:
                self._callback(progress)
            except StopIteration:
                self.stopped = True

    def finished_history(self) -> list[tuple[int, Losses]]:
        """The history, with the last step that was read at its end."""
        if self._last and self.history[-1][0] != self._last[0]:
            self.history.append(self._last)
        return self.history


def _as_floats(losses: Losses) -> Losses:
    return jax.tree.map(float, jax.device_get(losses))
