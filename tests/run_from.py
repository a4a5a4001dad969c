"""A run from any image that is an array, such as one that leaves [0, 1]."""

import dataclasses

import numpy as np

from nst_jax.engine.options import RunOptions
from nst_jax.engine.problem import prepare_problem
from nst_jax.engine.results import told_of_first_lane
from nst_jax.engine.runner import Runner


def run_from(image, content, style, settings, weights, callback=None, **options):
    """As `stylize`, but from this image (H, W, 3)."""
    problem = prepare_problem(content, style, [dataclasses.replace(settings, scales=1)], weights)
    lane = problem.initial_images[0]
    named = dataclasses.replace(lane.settings, init="an array")
    lane = lane._replace(settings=named, file=np.float32(image))
    problem = dataclasses.replace(problem, initial_images=(lane,))
    callback = callback and told_of_first_lane(callback)
    return next(Runner(problem, RunOptions(callback, **options)).run()).results[0]
