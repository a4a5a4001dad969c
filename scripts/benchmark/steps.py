"""What is called and timed on our side: the compiled programs of a run, with their arguments."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.engine import device_memory
from nst_jax.engine.program import (
    Carry,
    Program,
    compiler_options,
    jitted,
    make_program,
    objective,
    prepare_parameters,
)
from nst_jax.engine.targets import compute_targets
from nst_jax.losses.terms import LossWeights
from scripts.benchmark.problem import Problem

PROBE = 1e-3  # of the range [0, 1]: how far curvature is looked for
SPREAD = 1e-2  # of the points that fill a history


class Placed(NamedTuple):
    """A problem on the device.

    Attributes:
        program: what is compiled.
        image: (H, W, 3), the content image.
        arguments: of the objective and the step, beside the image or the carry.
    """

    program: Program
    image: jax.Array
    arguments: tuple[Any, Any, Any]


def place(problem: Problem, precision: str | None = None) -> Placed:
    """Put a problem on the device, and compute its targets; in the settings' precision, or this."""
    program = make_program(problem.settings, problem.weights)
    program = dataclasses.replace(program, precision=precision or program.precision)
    params = prepare_parameters(program, problem.weights.params)
    targets = compute_targets(program, problem.weights.params, problem.content, problem.style)
    arguments = (params, targets, LossWeights.from_settings(problem.settings))
    return Placed(program, jnp.asarray(problem.content), jax.device_put(arguments))


def gradient_of(program: Program) -> jax.stages.Wrapped:
    """(image, params, targets, weights) → ((loss, terms), gradient)."""
    function = partial(jax.value_and_grad(objective, argnums=1, has_aux=True), program)
    return jax.jit(function, compiler_options=compiler_options())


def evaluation(problem: Problem) -> Callable[[], Any]:
    """One loss-and-gradient."""
    program, image, arguments = place(problem)
    function = device_memory.compile_for(gradient_of(program), image, *arguments)
    return lambda: function(image, *arguments)


def step(problem: Problem) -> Callable[[], Any]:
    """One step of a run, each from where the last one ended."""
    return _advance(placed := place(problem), jitted(placed.program).start(placed.image))


def lbfgs_step(problem: Problem) -> Callable[[], Any]:
    """The same with a history that is full already."""
    placed = place(problem)
    carry = jitted(placed.program).start(placed.image)
    return _advance(placed, carry._replace(optimizer=filled(placed, carry.optimizer)))


def _advance(placed: Placed, carry: Carry) -> Callable[[], Any]:
    take_step = device_memory.compile_for(jitted(placed.program).step, carry, *placed.arguments)

    def advance():
        nonlocal carry
        carry, losses = take_step(carry, *placed.arguments)
        return carry.image, losses

    return advance


def filled(placed: Placed, state: Any) -> Any:
    """An optimiser's state whose history is full.

    Its pairs are those of a quadratic with the loss's own curvature at random points about the
    image, so that the steps from there on are short ones.
    """
    optimizer, curvature = placed.program.make_optimizer(), _curvature(placed)

    @partial(jax.jit, donate_argnums=0)
    def remember(state, image, key):
        offset = SPREAD * jax.random.normal(key, image.shape)
        return optimizer.update(curvature * offset, state, image + offset)[1]

    for key in jax.random.split(jax.random.key(0), placed.program.lbfgs_memory + 1):
        state = remember(state, placed.image, key)
    return state


def _curvature(placed: Placed) -> float:
    """Of the loss along its gradient: |∇L(x + d) − ∇L(x)| / |d|."""
    program, image, arguments = placed
    function = gradient_of(program)
    _, gradient = function(image, *arguments)
    offset = PROBE * np.sqrt(image.size) * gradient / jnp.linalg.norm(gradient)
    _, ahead = function(image + offset, *arguments)
    return float(jnp.linalg.norm(ahead - gradient) / jnp.linalg.norm(offset))
