"""With a preconditioner against plain gradients: how many steps to the same loss.

    python -m scripts.benchmark.compare_preconditioning CONTENT STYLE [STYLE …]

prints, for each painting, optimiser and start, the least loss of so many plain steps, and how many
preconditioned ones come as low. Steps, not seconds: a preconditioned one takes some 2 % longer. A
dash: not within as many. This is how `CORNER` and `FLOOR` in `nst_jax/optim/preconditioner.py` were
chosen, and `--corner` and `--floor` try others.
"""

import argparse
import dataclasses
import itertools
import math
from pathlib import Path
from typing import Any

import nst_jax
from nst_jax import Progress, Settings, Weights
from nst_jax.images.io import load_image
from nst_jax.optim import preconditioner
from nst_jax.records.write import device_metadata, versions

STARTS, OPTIMIZERS = ("content", "noise"), ("lbfgs", "adam")


def run(images: tuple[Any, Any], settings: Settings, weights: Weights, goal: float) -> list[float]:
    """The loss of each step, until one is no more than the goal."""
    losses: list[float] = []

    def watch(progress: Progress) -> None:
        losses.append(float(progress.losses.total))
        if losses[-1] <= goal:
            raise StopIteration

    nst_jax.stylize(*images, settings, weights=weights, callback=watch)
    return losses


def main() -> None:
    """Compare, and print a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("content")
    parser.add_argument("styles", nargs="+", metavar="style")
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=STARTS)
    parser.add_argument("--optimizers", nargs="+", choices=OPTIMIZERS, default=OPTIMIZERS)
    parser.add_argument("--corner", type=float, default=preconditioner.CORNER)
    parser.add_argument("--floor", type=float, default=preconditioner.FLOOR)
    options = parser.parse_args()
    preconditioner.CORNER, preconditioner.FLOOR = options.corner, options.floor
    weights = nst_jax.normalize(nst_jax.load_weights(nst_jax.find_weights("auto")))
    print(
        f"{weights.name}, {options.size} px, corner {options.corner}, floor {options.floor}; "
        f"{device_metadata()}, {versions()}"
    )
    cases = itertools.product(options.styles, options.starts, options.optimizers)
    for style, start, optimizer in cases:
        size, steps = options.size, options.steps
        settings = Settings(size=size, steps=steps, init=start, optimizer=optimizer)
        plain = dataclasses.replace(settings, precondition=False)
        images = load_image(options.content, size), load_image(style, size)
        goal = min(run(images, plain, weights, -math.inf))
        losses = run(images, settings, weights, goal)
        needed = f"{len(losses) - 1} steps" if losses[-1] <= goal else "—"
        print(
            f"{Path(style).stem}, from {start}, {optimizer}: {goal:.4g} after {steps} plain "
            f"steps, or {needed}",
            flush=True,
        )


if __name__ == "__main__":
    main()
