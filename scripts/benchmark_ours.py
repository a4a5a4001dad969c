"""Our side of the benchmark: nst_jax as its users run it."""

import dataclasses
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from benchmark_problem import Problem, Spec, make_problem, sweep_settings

import nst_jax
from nst_jax.inputs import compute_targets
from nst_jax.program import Program, jitted, make_program, objective
from nst_jax.transfer import Progress

PROBE = 1e-3  # of the range [0, 1]: how far curvature is looked for
SPREAD = 1e-2  # of the points that fill a history


class Ours:
    """Makes what the worker calls and times; every array is on the device before."""

    def __init__(self, device: str, options: dict[str, Any]):
        self._tasks: dict[str, Callable[[Problem], Callable[[], Any]]] = {
            "evaluation": _evaluation,
            "lbfgs": _lbfgs_step,
            "adam": _step,
        }
        self._runs = {"reach": _reach, "sweep": _sweep, "first": _first}
        jax.devices()  # starts the backend

    def task(self, spec: Spec) -> Callable[[], Any]:
        """A call that may return before its result is there; the result is for `wait`."""
        return self._tasks[spec.task](make_problem(spec))

    def run(self, spec: Spec) -> dict[str, Any]:
        """A whole run, with the times that it took."""
        return self._runs[spec.task](spec)

    def wait(self, result: Any) -> None:
        """Until the device has finished."""
        jax.block_until_ready(result)

    def facts(self) -> dict[str, Any]:
        """Of the devices."""
        device = jax.devices()[0]
        return {"device": device.device_kind, "platform": device.platform}

    def device_peak(self) -> int | None:
        """Bytes of the GPU's memory that were in use at most; None on CPU."""
        stats = jax.devices()[0].memory_stats()
        return stats.get("peak_bytes_in_use") if stats else None

    def forget(self) -> None:
        """Let go of compiled programs."""
        jitted.cache_clear()
        jax.clear_caches()


def _on_device(problem: Problem) -> tuple[Program, jax.Array, Any]:
    """The program, the image, and the step's other arguments."""
    program = make_program(problem.settings, problem.weights)
    targets = compute_targets(program, problem.weights, problem.content, problem.style)
    arguments = (problem.weights.params, targets, problem.settings.loss_weights())
    return program, jnp.asarray(problem.content), jax.device_put(arguments)


def _gradient(program: Program) -> Callable[..., Any]:
    """(image, params, targets, weights) → ((loss, terms), gradient)."""
    return jax.jit(partial(jax.value_and_grad(objective, argnums=1, has_aux=True), program))


def _evaluation(problem: Problem) -> Callable[[], Any]:
    program, image, arguments = _on_device(problem)
    function = _gradient(program)
    return lambda: function(image, *arguments)


def _step(problem: Problem, fill: bool = False) -> Callable[[], Any]:
    """One step of a run, each from where the last one ended."""
    program, image, arguments = _on_device(problem)
    functions = jitted(program)
    carry = functions.start(image)
    if fill:
        curvature = _curvature(program, image, arguments)
        carry = carry._replace(optimizer=_filled(program, image, carry.optimizer, curvature))

    def advance():
        nonlocal carry
        carry, losses = functions.step(carry, *arguments)
        return carry.image, losses

    return advance


def _lbfgs_step(problem: Problem) -> Callable[[], Any]:
    return _step(problem, fill=True)


def _curvature(program: Program, image: jax.Array, arguments: Any) -> float:
    """Of the loss along its gradient: |∇L(x + d) − ∇L(x)| / |d|."""
    function = _gradient(program)
    _, gradient = function(image, *arguments)
    step = PROBE * np.sqrt(image.size) * gradient / jnp.linalg.norm(gradient)
    _, ahead = function(image + step, *arguments)
    return float(jnp.linalg.norm(ahead - gradient) / jnp.linalg.norm(step))


def _filled(program: Program, image: jax.Array, state: Any, curvature: float) -> Any:
    """An optimiser's state whose history is full.

    Its pairs are those of a quadratic with the loss's own curvature at random points about the
    image, so that the steps from there on are short ones.
    """
    optimizer = program.make_optimizer()

    @partial(jax.jit, donate_argnums=0)
    def remember(state, key):
        offset = SPREAD * jax.random.normal(key, image.shape)
        return optimizer.update(curvature * offset, state, image + offset)[1]

    for key in jax.random.split(jax.random.key(0), program.lbfgs_memory + 1):
        state = remember(state, key)
    return state


def _reach(spec: Spec) -> dict[str, Any]:
    """A run until its loss is the goal: seconds and losses of all evaluations at the final size.

    The seconds begin with the arrays in memory, and leave out what was spent compiling. A short run
    before compiles what else there is: the targets.
    """
    problem = make_problem(spec)
    inputs = (problem.content, problem.style)
    # With several scales each must get a step.
    warm = dataclasses.replace(problem.settings, steps=1 if spec.scales == 1 else 8 * spec.scales)
    nst_jax.stylize(*inputs, warm, weights=problem.weights)
    curve: list[tuple[float, float]] = []

    def watch(progress: Progress) -> None:
        if getattr(progress, "size", spec.size) != spec.size:
            return
        curve.append((progress.seconds, float(progress.losses.total)))
        if spec.goal is not None and progress.losses.total <= spec.goal:
            raise StopIteration

    began = time.perf_counter()
    result = nst_jax.stylize(*inputs, problem.settings, weights=problem.weights, callback=watch)
    seconds = time.perf_counter() - began
    before = seconds - result.compile_seconds - result.run_seconds
    return {
        "curve": [(before + at, loss) for at, loss in curve],
        "compile_seconds": result.compile_seconds,
        "restarts": result.restarts,
    }


def _sweep(spec: Spec) -> dict[str, Any]:
    problem, settings = make_problem(spec), sweep_settings(spec)
    inputs = (problem.content, problem.style)
    warm = [dataclasses.replace(settings[0], steps=0)]
    nst_jax.sweep(*inputs, warm, weights=problem.weights)  # compiles the targets
    began = time.perf_counter()
    results = nst_jax.sweep(*inputs, settings, weights=problem.weights)
    seconds = time.perf_counter() - began
    return {
        "seconds": seconds - results[0].compile_seconds,
        "compile_seconds": results[0].compile_seconds,
        "losses": [float(result.losses.total) for result in results],
        "lanes_at_once": results[0].lanes,
    }


def _first(spec: Spec) -> dict[str, Any]:
    problem = make_problem(spec)
    settings = dataclasses.replace(problem.settings, steps=0)
    began = time.perf_counter()
    result = nst_jax.stylize(problem.content, problem.style, settings, weights=problem.weights)
    return {
        "seconds": time.perf_counter() - began,
        "compile_seconds": result.compile_seconds,
        "losses": [float(result.losses.total)],
    }
