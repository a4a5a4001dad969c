"""Loss and time over a run of `nst_jax.stylize`, and what the comparisons of such runs share."""

import argparse
import dataclasses
import math
from typing import Any, NamedTuple

import nst_jax
from nst_jax import Progress, Result, Settings
from scripts import CONTENT, STYLE, make_parser
from scripts.benchmark import machine
from scripts.benchmark.problem import Problem


class Point(NamedTuple):
    """An image of the full size that was evaluated; compilation is not counted in the seconds."""

    step: int
    seconds: float
    loss: float


def run_curve(problem: Problem, goal: float = -math.inf) -> tuple[list[Point], Result]:
    """Run until the loss at the full size is no more than the goal, or to the last step."""
    points: list[Point] = []

    def watch(progress: Progress) -> None:
        if progress.size == max(problem.content.shape):
            points.append(Point(progress.step, progress.seconds, float(progress.losses.total)))
            if points[-1].loss <= goal:
                raise StopIteration

    inputs = problem.content, problem.style, problem.settings
    result = nst_jax.stylize(*inputs, weights=problem.weights, callback=watch)
    return points, result


def first_at(points: list[Point], loss: float) -> Point | None:
    """Where the loss was first no more than this; None if it never was."""
    return next((point for point in points if point.loss <= loss), None)


def comparison_parser(description: str, size: int, steps: int) -> argparse.ArgumentParser:
    """The flags that all comparisons have."""
    parser = make_parser(description)
    parser.add_argument("content", nargs="?", default=str(CONTENT), help="image")
    parser.add_argument("style", nargs="?", default=str(STYLE), help="image")
    parser.add_argument("--size", type=int, default=size, help="long side, px")
    parser.add_argument("--steps", type=int, default=steps, help="of each run")
    return parser


def read_problem(options: argparse.Namespace, **settings: Any) -> Problem:
    """What the command line asks for; says with which weights, at what size, on what machine."""
    asked = Settings(size=options.size, steps=options.steps, **settings)
    weights = nst_jax.normalize(nst_jax.load_weights(nst_jax.find_weights(asked.weights)))
    images = (nst_jax.load_image(path, asked.size) for path in (options.content, options.style))
    device = "gpu" if machine.gpu_name() else "cpu"
    setup = machine.setup(device, threads=len(machine.pin(None)))
    facts = *machine.describe(setup), *machine.stamp().values()
    print(f"{weights.name}, {asked.size} px; {'; '.join(facts)}", flush=True)
    return Problem(asked, weights, *images)


def changed(problem: Problem, **settings: Any) -> Problem:
    """The same problem with other settings."""
    return dataclasses.replace(problem, settings=dataclasses.replace(problem.settings, **settings))
