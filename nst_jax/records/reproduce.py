"""A run repeated so that it comes out the same, bit for bit.

Every compiled program sums its floats in an order of its own: one of n lanes rounds otherwise than
one of a single image, and after some steps of L-BFGS the pictures differ visibly. But no lane
depends, in any bit, on what the others hold (measured on CPU). So a lane is repeated among copies
of itself. A run that was interrupted ends after as many evaluations again.
"""

import dataclasses
import math

from nst_jax.engine.api import told_of_first_lane
from nst_jax.engine.problem import Problem
from nst_jax.engine.results import Callback, Progress, Result
from nst_jax.engine.runner import Runner, RunOptions


def run_again(
    problem: Problem,
    callback: Callback,
    *,
    stop: int | None = None,
    report_every: int = 10,
    save_every: int | None = None,
) -> Result:
    """Run a problem as it was run before, and tell of its first lane.

    Args:
        problem: of one lane, or of as many copies of it as the program had lanes. Where not as many
            fit into memory, there are fewer (`Result.compiled_lanes`), and the result may round
            otherwise.
        callback: told of every step; may raise StopIteration.
        stop: number of the last step to be evaluated; None goes to the end.
        report_every: steps between entries of the history.
        save_every: steps between calls of the callback that carry the image.

    Raises:
        NSTError: as from `stylize`.
    """
    copies = len(problem.settings)
    options = RunOptions(
        told_of_first_lane(_stopping(callback, stop, save_every)),
        report_every,
        # At an interval that meets `stop`, no later step runs ahead of the callback.
        save_every if stop is None else math.gcd(stop, save_every or 0) or 1,
        lanes_at_once=copies,
        within_memory=copies > 1,
        must_be_finite=copies == 1,
    )
    return next(Runner(problem, options).run()).results[0]


def _stopping(tell: Callback, stop: int | None, save_every: int | None) -> Callback:
    """A callback that ends the run at a step, and passes on the images that are to be saved."""

    def callback(progress: Progress) -> None:
        wanted = save_every is not None and progress.step % save_every == 0
        tell(progress if wanted else dataclasses.replace(progress, image=None))
        if progress.step == stop:
            raise StopIteration

    return callback
