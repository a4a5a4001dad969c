"""Our side of the benchmark: nst_jax as its users run it."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax

import nst_jax
from nst_jax.engine.program import jitted
from nst_jax.engine.results import Progress
from scripts.benchmark import gpu_check_tasks, steps
from scripts.benchmark.problem import Problem, Spec, make_problem, sweep_settings


class Ours:
    """Makes what the worker calls and times; every array is on the device before."""

    def __init__(self, device: str, options: dict[str, Any]):
        self._tasks: dict[str, Callable[[Problem], Callable[[], Any]]] = {
            "evaluation": steps.evaluation,
            "lbfgs": steps.lbfgs_step,
            "adam": steps.step,
        }
        self._runs = {"reach": _reach, "sweep": _sweep, "first": _first, **gpu_check_tasks.RUNS}
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


def _reach(spec: Spec) -> dict[str, Any]:
    """A run until its loss is the goal: seconds and losses of all evaluations at the final size.

    The seconds begin with the arrays in memory. A short run before does all the compiling, and says
    how long that took.
    """
    problem = make_problem(spec)
    inputs = (problem.content, problem.style)
    # With several scales each must get a step.
    warm = dataclasses.replace(problem.settings, steps=1 if spec.scales == 1 else 8 * spec.scales)
    compiled = nst_jax.stylize(*inputs, warm, weights=problem.weights)
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
        "compile_seconds": compiled.compile_seconds,
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
