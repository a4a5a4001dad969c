"""Our side of the benchmark: nst_jax as its users run it.

All that scripts need of the insides of `nst_jax.engine` stands here.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import nst_jax
from nst_jax import Settings
from nst_jax.engine import device_memory
from nst_jax.engine.problem import prepare_problem
from nst_jax.engine.program import (
    Program,
    compiler_options,
    jitted,
    make_program,
    objective,
    prepare_parameters,
)
from nst_jax.engine.runner import Runner
from nst_jax.engine.targets import compute_targets
from nst_jax.losses.terms import LossWeights
from scripts.benchmark.curves import changed, run_curve
from scripts.benchmark.machine import reset_peak, resident
from scripts.benchmark.problem import Problem, Spec, make_problem, sweep_settings
from scripts.benchmark.worker import Answers, serve


class Placed(NamedTuple):
    """A problem on the device."""

    program: Program  # what is compiled
    image: jax.Array  # (H, W, 3), the content image
    arguments: tuple[Any, Any, Any]  # of the objective and the step, beside the image or the carry


def place(problem: Problem) -> Placed:
    """Put a problem on the device, and compute its targets."""
    program = make_program(problem.settings, problem.weights)
    params = prepare_parameters(program, problem.weights.params, problem.content.shape)
    targets = compute_targets(program, problem.weights.params, problem.content, problem.style)
    arguments = params, targets, LossWeights.from_settings(problem.settings)
    return Placed(program, jnp.asarray(problem.content), jax.device_put(arguments))


def gradient_of(program: Program) -> jax.stages.Wrapped:
    """(image, params, targets, weights) → ((loss, terms), gradient)."""
    function = partial(jax.value_and_grad(objective, argnums=1, has_aux=True), program)
    return jax.jit(function, compiler_options=compiler_options(jax.default_backend()))


def evaluation(problem: Problem) -> Callable[[], Any]:
    """One loss-and-gradient."""
    program, image, arguments = place(problem)
    function = device_memory.compile_for(gradient_of(program), image, *arguments)
    return lambda: function(image, *arguments)


def compile_step(placed: Placed) -> jax.stages.Compiled:
    """The step, as a run compiles it."""
    functions = jitted(placed.program)
    carry = jax.eval_shape(functions.start, placed.image)
    return device_memory.compile_for(functions.step, carry, *placed.arguments)


def step(problem: Problem) -> Callable[[], Any]:
    """One step of a run, each from where the last one ended.

    How full the history of L-BFGS is makes no difference: all of it is read in every step.
    """
    placed = place(problem)
    take_step, carry = compile_step(placed), jitted(placed.program).start(placed.image)

    def advance():
        nonlocal carry
        carry, losses = take_step(carry, *placed.arguments)
        return carry.image, losses

    return advance


def device_peak() -> int | None:
    """Bytes of the device's memory that were in use at most; None on CPU."""
    stats = jax.devices()[0].memory_stats()
    return stats.get("peak_bytes_in_use") if stats else None


def sweep_memory(problem: Problem, lanes: Sequence[Settings]) -> tuple[int, int]:
    """Bytes that a sweep says it needs, and that this process came to hold beyond its start."""
    steps = problem.settings.steps
    lanes = [dataclasses.replace(settings, steps=steps) for settings in lanes]
    prepared = prepare_problem(problem.content, problem.style, lanes, problem.weights)
    params = prepare_parameters(prepared.program, prepared.weights.params, prepared.shape)
    params_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    del params
    for _ in range(2):  # the first run compiles, which takes memory of its own
        runner = Runner(prepared)
        reset_peak()
        before = (resident() or 0) - params_bytes  # they are there, and the prediction counts them
        for _ in runner.run():
            pass
    return runner.needed_bytes, (resident("VmHWM") or 0) - before


def _reach(spec: Spec) -> dict[str, Any]:
    """A run until its loss is the goal: seconds and losses of all evaluations at the final size.

    The seconds begin with the arrays in memory. A short run before does all the compiling, and says
    how long that took.
    """
    problem = make_problem(spec)
    # With several scales each must get a step.
    _, compiled = run_curve(changed(problem, steps=1 if spec.scales == 1 else 8 * spec.scales))
    began = time.perf_counter()
    points, result = run_curve(problem, -math.inf if spec.goal is None else spec.goal)
    before = time.perf_counter() - began - result.compile_seconds - result.run_seconds
    return {
        "seconds": [before + point.seconds for point in points],
        "losses": [point.loss for point in points],
        "compile_seconds": compiled.compile_seconds,
        "restarts": result.restarts,
    }


def _sweep(spec: Spec) -> dict[str, Any]:
    problem, settings = make_problem(spec), sweep_settings(spec)
    run = partial(nst_jax.sweep, problem.content, problem.style, weights=problem.weights)
    run([dataclasses.replace(settings[0], steps=0)])  # compiles the targets
    began = time.perf_counter()
    results = run(settings)
    seconds = time.perf_counter() - began
    return {
        "seconds": seconds - results[0].compile_seconds,
        "compile_seconds": results[0].compile_seconds,
        "losses": [float(result.losses.total) for result in results],
        "lanes_at_once": results[0].lanes,
    }


def _first(spec: Spec) -> dict[str, Any]:
    problem = make_problem(dataclasses.replace(spec, steps=0))
    began = time.perf_counter()
    points, result = run_curve(problem)
    return {
        "seconds": time.perf_counter() - began,
        "compile_seconds": result.compile_seconds,
        "losses": [point.loss for point in points],
    }


class Side(Answers):
    """nst_jax in a worker process."""

    tasks = {"evaluation": evaluation, "lbfgs": step, "adam": step}
    runs = {"reach": _reach, "sweep": _sweep, "first": _first}
    wait = staticmethod(jax.block_until_ready)
    device_peak = staticmethod(device_peak)

    def __init__(self, device: str, threads: int):
        jax.devices()  # starts the backend

    def device_facts(self) -> dict[str, Any]:  # noqa: D102
        device = jax.devices()[0]
        return {"device": device.device_kind, "platform": device.platform}

    def forget(self) -> None:  # noqa: D102
        jitted.cache_clear()
        jax.clear_caches()


if __name__ == "__main__":
    serve(Side)
