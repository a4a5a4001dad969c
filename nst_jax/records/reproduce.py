"""A run repeated so that it comes out the same, bit for bit.

Every compiled program sums its floats in an order of its own: one of n lanes rounds otherwise than
one of a single image, and after some steps of L-BFGS the pictures differ visibly. But no lane
depends, in any bit, on what the others hold (measured on CPU). So a lane is repeated among copies
of itself. A run that was interrupted ends after as many evaluations again.
"""

import dataclasses
import math
from collections.abc import Callable

import jax
import numpy as np

from nst_jax.engine.job import prepare
from nst_jax.engine.rounds import Options, Runner, SweepProgress
from nst_jax.engine.style_images import Painting
from nst_jax.engine.transfer import Callback, Progress, Result, stylize
from nst_jax.settings.settings import Settings
from nst_jax.weights.parameters import Weights

Images = tuple[np.ndarray | None, tuple[Painting, ...]]


def repeat(
    images: Images,
    settings: Settings,
    weights: Weights,
    callback: Callback,
    *,
    lanes: int = 0,
    stop: int | None = None,
    report_every: int = 10,
    save_every: int | None = None,
) -> Result:
    """Run settings as they were run before.

    Args:
        images: the content image and the paintings, from `read_images`.
        settings: of the run.
        weights: of the network.
        callback: as of `stylize`.
        lanes: of the program; 0 is one without lanes. Where not as many fit into memory, there are
            fewer (`Result.compiled_lanes`), and the result may round otherwise.
        stop: number of the last step to be evaluated; None goes to the end.
        report_every: as of `stylize`.
        save_every: as of `stylize`.

    Raises:
        NSTError: as from `stylize`.
    """
    content, paintings = images
    callback = _stopping(callback, stop, save_every)
    every = _save_every(stop, save_every)
    if not lanes:
        return stylize(
            content,
            paintings,
            settings,
            weights=weights,
            callback=callback,
            report_every=report_every,
            save_every=every,
        )
    job = prepare((content,) * lanes, (paintings,) * lanes, [settings] * lanes, weights)
    runner = Runner(job, Options(_of_first_lane(callback), report_every, every, lanes))
    return next(iter(runner.run())).results[0]


def _save_every(stop: int | None, asked: int | None) -> int | None:
    """Intervals of saving that meet `stop`: there, no later step runs ahead of the callback."""
    return asked if stop is None else math.gcd(stop, asked or 0) or 1


def _stopping(tell: Callback, stop: int | None, save_every: int | None) -> Callback:
    """A callback that ends the run at a step, and passes on the images that are to be saved."""

    def callback(progress: Progress) -> None:
        wanted = save_every is not None and progress.step % save_every == 0
        tell(progress if wanted else dataclasses.replace(progress, image=None))
        if progress.step == stop:
            raise StopIteration

    return callback


def _of_first_lane(callback: Callback) -> Callable[[SweepProgress], None]:
    """A sweep's callback that tells another of the first lane."""

    def tell(progress: SweepProgress) -> None:
        callback(
            Progress(
                progress.step,
                progress.steps,
                jax.tree.map(lambda each: float(each[0]), progress.losses),
                progress.seconds,
                progress.size,
                progress.work,
                None if progress.images is None else progress.images[0],
            )
        )

    return tell
