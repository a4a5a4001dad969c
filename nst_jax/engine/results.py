"""What a run tells while it goes on, and what it has come to in the end."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

import jax
import numpy as np

from nst_jax.engine.pyramid import Scale, scale_at
from nst_jax.losses.terms import Losses
from nst_jax.weights.parameters import Weights

if TYPE_CHECKING:
    from nst_jax.settings.settings import Settings

# (step, losses) of the steps that a record tells of; losses are Python floats.
History = list[tuple[int, Losses]]


@dataclasses.dataclass(frozen=True)
class Progress:
    """What a callback of `stylize` is told after each step.

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


@dataclasses.dataclass(frozen=True)
class SweepProgress:
    """What a callback of `sweep` is told after each step of the lanes that run together.

    Attributes:
        lanes: numbers of the lanes that this process computes now.
        together: how many lanes run in this round, over all processes.
        done: how many lanes were finished before.
        total: how many lanes there are.
        step, steps, seconds, size, work: of the round, as `Progress` has them of a run.
        losses: of the images at this step, arrays (lanes,).
        images: (lanes, H, W, 3) float32 in [0, 1], as `Progress.image`.
    """

    lanes: tuple[int, ...]
    together: int
    done: int
    total: int
    step: int
    steps: int
    losses: Losses
    seconds: float
    size: int
    work: float
    images: np.ndarray | None = None

    def seconds_left(self, lanes: int) -> float | None:
        """Until the first so many lanes are done, the rounds included that have not begun.

        None before the first step.
        """
        if not self.work:
            return None
        rounds = (lanes - self.done) / min(self.together, lanes) - self.work
        return self.seconds / self.work * rounds


Callback = Callable[[Progress], object]
SweepCallback = Callable[[SweepProgress], object]
# Gives the progress, with images, and the histories of its lanes, thinned to so many entries.
Look = Callable[[int], tuple[SweepProgress, list[History]]]


class Watch(AbstractContextManager, Protocol):
    """What a run is shown to now and then; `nst_jax.WatchPage` is one. Entered before it begins."""

    def begin(self, settings: Sequence["Settings"]) -> object:
        """Take the settings of all lanes, before anything is compiled."""

    def is_due(self, step: int) -> bool:
        """Whether it wants to look after this step."""

    def show(self, look: Look) -> object:
        """Look at lanes that run."""

    def take(self, results: Mapping[int, "Result"]) -> object:
        """Take what a round has come to, by the lane's number."""


def told_of_first_lane(callback: Callback) -> SweepCallback:
    """A sweep's callback that tells a single run's of the first lane."""

    def tell(told: SweepProgress) -> object:
        losses, image = losses_of_lane(told.losses, 0), told.images
        common = told.step, told.steps, losses, told.seconds, told.size, told.work
        return callback(Progress(*common, None if image is None else image[0]))

    return tell


@dataclasses.dataclass(frozen=True)
class Result:
    """The outcome of a run.

    Attributes:
        image: (H, W, 3) float32 in [0, 1], the image of least loss (with normalized gradients: the
            last one) or the average, at the last scale that the run came to; enlarged to the full
            size, clipped once; with the colors "luminance", with the content image's chroma.
        losses: of that image before it was enlarged and clipped, Python floats.
        history: (step, losses) of the first step at each scale, every `report_every` steps, and
            the last.
        evaluations: of the loss and its gradient, but for that of an average at the end.
        restarts: how often the image went back to the best one, for shorter steps.
        compile_seconds: spent compiling the step; of a sweep, once for all lanes.
        run_seconds: spent in steps.
        completed: False where the callback ended the run early.
        settings: as given.
        weights: what is known of those that were used; without their tensors.
        lanes: how many settings were computed together in that time.
        scales: of the run, the coarsest first.
        devices: that shared the image.
        compiled_lanes: of the program, copies that fill it up included; 0 is one without lanes.
            Only programs with as many round alike.
        alpha: (H, W) float32 in [0, 1], how opaque the content image is, and the result is to be
            saved; None: wholly. The image is on white.
    """

    image: np.ndarray
    losses: Losses
    history: History
    evaluations: int
    restarts: int
    compile_seconds: float
    run_seconds: float
    completed: bool
    settings: "Settings"
    weights: Weights
    lanes: int = 1
    scales: tuple[Scale, ...] = ()
    compiled_lanes: int = 0
    devices: int = 1
    alpha: np.ndarray | None = None

    @property
    def first_losses(self) -> Losses:
        """Of the image that the last scale began with, Python floats."""
        if not self.scales:
            return self.history[0][1]
        scale = scale_at(self.scales, self.evaluations - 1)
        return next(one for step, one in self.history if scale_at(self.scales, step) == scale)

    @property
    def improved(self) -> bool | None:
        """Whether the image's loss is below that of the one that the last scale began with.

        None where that says nothing: before any step, from a loss of 0, and with normalized
        gradients, whose steps do not follow the loss.
        """
        first = self.first_losses.total
        if self.settings.normalize_gradients or first == 0 or self.evaluations == 1:
            return None
        return bool(self.losses.total < first)


def losses_of_lane(losses: Losses, lane: int) -> Losses:
    """The losses of one lane, Python floats, from arrays (lanes,)."""
    return jax.tree.map(lambda each: float(each[lane]), losses)


def why_not_finite(losses: Losses) -> str:
    """What is wrong with the losses of an initial image, Python floats, and the remedy."""
    if math.isfinite(losses.total):
        return (
            f"the loss of the initial image is {losses.total:g}, but its gradient is not finite; "
            f"use smaller weights"
        )
    return (
        f"the loss of the initial image is {losses.total} (content {losses.content:g}, "
        f"style {losses.style:g}); use a smaller ratio or smaller layer weights"
    )
