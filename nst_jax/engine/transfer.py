"""Style transfer of one image: what is asked for, the steps with their callback, the result."""

import dataclasses
import math
import time
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.engine import device_memory
from nst_jax.engine.initial_images import Starts
from nst_jax.engine.inputs import canvas, choose_weights, compute_targets, first_image, read_images
from nst_jax.engine.loop import Stopwatch, check_intervals, iterate, settle, with_arguments
from nst_jax.engine.palette import Palette, finish_image
from nst_jax.engine.program import Carry, Program, jitted, make_program, prepare
from nst_jax.engine.pyramid import (
    Scale,
    carry_up,
    enlarge,
    image_at,
    numbered,
    paintings_at,
    scale_at,
    schedule,
    work_done,
)
from nst_jax.engine.regions import read_regions
from nst_jax.engine.style_images import ImageLike, StyleLike
from nst_jax.errors import SettingsError
from nst_jax.losses.terms import Losses, LossWeights, Targets
from nst_jax.settings.settings import Settings
from nst_jax.weights.parameters import Weights


@dataclasses.dataclass(frozen=True)
class Progress:
    """What a callback is told after each step.

    Attributes:
        step: 0 is the initial image, before any update.
        steps: of the whole run.
        losses: of the image at this step, Python floats.
        seconds: since the first step began, compilation not counted.
        size: long side, in pixels, of the images at this step. Losses of different sizes are not
            comparable.
        work: how much of the run's work is done, 0 to 1: steps count as much as they have pixels.
        image: (H, W, 3) float32 in [0, 1], the best so far of those of this size, or the average;
            None but every `save_every` steps.
    """

    step: int
    steps: int
    losses: Losses
    seconds: float
    size: int
    work: float
    image: np.ndarray | None = None


Callback = Callable[[Progress], object]


@dataclasses.dataclass(frozen=True)
class Result:
    """The outcome of a run.

    Attributes:
        image: (H, W, 3) float32, the image of least loss at the last scale that the run came to,
            or the average there if the settings ask for one; enlarged where that is not the full
            size, and clipped to [0, 1] once; with the colors "luminance", its luminance with the
            photograph's chroma. With normalised gradients it is the last image.
        losses: of that image before all this, Python floats.
        history: (step, losses) of the first step at each scale, every `report_every` steps, and
            the last.
        evaluations: of the loss and its gradient, but for that of an average at the end.
        restarts: how often the optimiser had to begin again.
        compile_seconds: spent compiling the step; of a sweep, once for all lanes.
        run_seconds: spent in steps.
        lanes: how many settings were computed together in that time.
        compiled_lanes: how many the program has, copies that fill it up included; 0 is a program
            without lanes. Only programs with as many round alike.
        scales: of the run, the coarsest first; `scales.scale_at` tells that of a step.
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
    lanes: int = 1
    scales: tuple[Scale, ...] = ()
    compiled_lanes: int = 0


def stylize(
    content: ImageLike | None,
    style: StyleLike | None,
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
            `settings.size`; an array is taken as it is. May be None where there are no content
            layers: the style alone is reconstructed.
        style: likewise, with `settings.style_size`; or several of these, whose Gram matrices are
            mixed as style_blend and layers_per_style say, or which go to the regions of
            content_mask (`regions.describe` tells of gaps and overlaps). The path of a folder
            stands for its images, by name. None reconstructs the content alone.
        settings: of the run; None takes the defaults.
        weights: of the network; None finds `settings.weights`.
        callback: called after every step; what it returns does not matter. It may raise
            StopIteration to end the run there (as in `scipy.optimize.minimize`).
        report_every: steps between entries of the history.
        save_every: steps between calls of the callback that carry the image.

    Returns:
        The image of least loss, or the average, and how it came about.

    Raises:
        ImageError: an image cannot be read, or an array is no image in [0, 1].
        SettingsError: a setting does not fit the network or the images, or makes the first loss
            overflow.
        WeightsError: there are no such weights.
    """
    settings = settings or Settings()
    check_intervals(report_every=report_every, save_every=save_every)
    weights = choose_weights(settings, weights)
    program = make_program(settings, weights)
    photograph, paintings = read_images(settings, content, style)
    shown, paintings = Palette().recolor(settings, photograph, paintings)
    shares, first = settings.style_shares(len(paintings)), first_image(paintings)
    scales = schedule(settings, canvas(shown, first).shape)
    starts = Starts(settings, shown, paintings, read_regions(settings, scales[-1].shape, paintings))

    def targets_at(scale: Scale) -> Targets:
        pictures = image_at(scale, shown), paintings_at(scale, paintings)
        return compute_targets(program, weights.params, *pictures, shares, starts.regions_at(scale))

    finish = partial(finish_image, settings, photograph)
    monitor = _Monitor(scales, finish, callback, report_every)
    at_scales = starts.first(scales[0]), targets_at, starts.following
    return _optimize(program, *at_scales, settings, weights, monitor, save_every)


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
    """Evaluate and update the image `steps` times, and evaluate it once more, at one scale.

    The targets and the image are taken as they are, whatever `settings.colors`.

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
    check_intervals(report_every=report_every, save_every=save_every)
    scales = schedule(dataclasses.replace(settings, scales=1), image.shape)
    monitor = _Monitor(scales, lambda best: best.clip(0.0, 1.0), callback, report_every)
    at_scales = image, (lambda _: targets), (lambda outcome, _: outcome)
    return _optimize(program, *at_scales, settings, weights, monitor, save_every)


def _optimize(
    program: Program,
    image: np.ndarray | jax.Array,
    targets_at: Callable[[Scale], Targets],
    following: Callable[[np.ndarray, Scale], np.ndarray],
    settings: Settings,
    weights: Weights,
    monitor: "_Monitor",
    save_every: int | None,
) -> Result:
    """Run through the monitor's scales; each begins with what the one before has come to."""
    functions = jitted(program)
    params, loss_weights = prepare(program, weights.params), LossWeights.from_settings(settings)
    compile_seconds, carry = 0.0, functions.start(jnp.asarray(image, jnp.float32))
    for scale, numbers in numbered(monitor.scales):
        if numbers.start:
            carry = carry_up(partial(_begin_at, functions.start, following, scale), carry)
        arguments = (params, jax.device_put(targets_at(scale)), loss_weights)
        began = time.perf_counter()
        compiled = device_memory.compile_for(functions.step, carry, *arguments)
        compile_seconds += time.perf_counter() - began
        step = with_arguments(compiled, arguments)
        with monitor.watch:
            carry, evaluations = iterate(step, carry, numbers, monitor.report, save_every)
        if monitor.stopped:
            break
    with monitor.watch:
        restarts = int(carry.restarts)
        outcome, losses = settle(step, carry)
    return Result(
        image=monitor.finish(enlarge(outcome, monitor.scales[-1].shape)),
        losses=_as_floats(losses),
        history=monitor.finished_history(),
        evaluations=evaluations,
        restarts=restarts,
        compile_seconds=compile_seconds,
        run_seconds=monitor.watch.seconds(),
        completed=not monitor.stopped,
        settings=settings,
        weights=dataclasses.replace(weights, params={}, activation_means=None),
        scales=monitor.scales,
    )


def _begin_at(
    start: Callable[[np.ndarray], Carry],
    following: Callable[[np.ndarray, Scale], np.ndarray],
    scale: Scale,
    coarse: np.ndarray,
) -> Carry:
    return start(following(coarse, scale))


def why_not_finite(losses: Losses) -> str:
    """What is wrong with the losses of an initial image, and the remedy."""
    if math.isfinite(losses.total):
        return (
            f"the loss of the initial image is {losses.total:g}, but its gradient is not finite; "
            f"use smaller weights"
        )
    return (
        f"the loss of the initial image is {losses.total} (content {losses.content:g}, "
        f"style {losses.style:g}); use a smaller ratio or smaller layer weights"
    )


class _Monitor:
    """Reads losses as steps finish, keeps the history, and asks the callback whether to go on."""

    def __init__(
        self,
        scales: tuple[Scale, ...],
        finish: Callable[[np.ndarray], np.ndarray],
        callback: Callback | None,
        report_every: int,
    ):
        self.scales, self.finish, self.watch = scales, finish, Stopwatch()
        self.history: list[tuple[int, Losses]] = []
        self.stopped = False
        self._last: tuple[int, Losses] | None = None
        self._steps = sum(scale.steps for scale in scales)
        self._firsts = {numbers.start for _, numbers in numbered(scales)}
        self._callback, self._report_every = callback, report_every

    def report(self, number: int, losses: Losses, carry: Carry | None) -> bool:
        """Take the losses of a step, waiting for it; `carry` where its image is to be shown."""
        losses = _as_floats(losses)
        if number in self._firsts and not math.isfinite(losses.total):
            raise SettingsError(why_not_finite(losses))
        self._last = (number, losses)
        if number in self._firsts or number % self._report_every == 0:
            self.history.append(self._last)
        if self._callback and not self.stopped:
            image = None if carry is None else self.finish(np.asarray(carry.outcome))
            progress = Progress(
                number,
                self._steps,
                losses,
                self.watch.seconds(),
                scale_at(self.scales, number).size,
                work_done(self.scales, number),
                image,
            )
            try:
                self._callback(progress)
            except StopIteration:
                self.stopped = True
        return not self.stopped

    def finished_history(self) -> list[tuple[int, Losses]]:
        """The history, with the last step that was read at its end."""
        if self._last and self.history[-1][0] != self._last[0]:
            self.history.append(self._last)
        return self.history


def _as_floats(losses: Losses) -> Losses:
    return jax.tree.map(float, jax.device_get(losses))
