"""PyTorch's side of the benchmark: `pytorch_reference`, with PyTorch's own optimizers."""

import dataclasses
import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from nst_jax import Settings
from nst_jax.settings.settings import without_idle_layers
from scripts.benchmark.problem import (
    Problem,
    Spec,
    make_problem,
    off_content,
    relative_errors,
    sweep_settings,
)
from scripts.benchmark.pytorch_objective import Objective, Options, synchronize, to_image
from scripts.benchmark.pytorch_reference import Outcome, Stepper, make_adam, make_lbfgs, run
from scripts.benchmark.worker import Answers, serve

STEP = 1e-3  # of the range [0, 1]: how far the first step from a filled history goes
SPREAD = 1e-2  # of the points that fill it


class Side(Answers):
    """PyTorch in a worker process."""

    def __init__(self, device: str, threads: int, compile: bool = False):
        self._device, self._compile = "cuda" if device == "gpu" else device, compile
        self.tasks = {"evaluation": self._evaluation, "lbfgs": self._lbfgs, "adam": self._adam}
        self.runs = {"reach": self._reach, "sweep": self._sweep}
        self.runs |= {"first": self._first, "parity": self._parity}
        torch.set_num_threads(threads)
        torch.zeros(1, device=self._device)  # starts the device

    def wait(self, result: Any) -> None:  # noqa: D102
        synchronize(self._device)

    def device_facts(self) -> dict[str, Any]:  # noqa: D102
        name = torch.cuda.get_device_name() if self._device == "cuda" else self._device
        return {"device": name, "threads": torch.get_num_threads()}

    def device_peak(self) -> int | None:  # noqa: D102
        return torch.cuda.max_memory_allocated() if self._device == "cuda" else None

    def forget(self) -> None:  # noqa: D102
        if self._compile:  # after eight versions of one function PyTorch compiles no more, silently
            torch.compiler.reset()
        if self._device == "cuda":
            torch.cuda.empty_cache()

    def _objective(self, problem: Problem) -> Objective:
        precision, inputs = problem.settings.precision, (problem.content, problem.style)
        options = Options(self._device, precision=precision, compile=self._compile)
        return Objective(problem.settings, problem.weights, *inputs, options)

    def _evaluation(self, problem: Problem) -> Callable[[], Any]:
        objective = self._objective(problem)
        image = objective.start(problem.content)
        return lambda: objective.value_and_gradient(image)

    def _lbfgs(self, problem: Problem) -> Callable[[], Any]:
        objective, history = self._objective(problem), problem.settings.lbfgs_memory
        stepper = make_lbfgs(objective, problem.content, history)
        stepper.step()  # makes the optimizer's state
        fill_history(stepper, objective.start(problem.content))
        return stepper.step

    def _adam(self, problem: Problem) -> Callable[[], Any]:
        return make_adam(self._objective(problem), problem.content).step

    def _run(self, problem: Problem, image: np.ndarray, evaluations: int) -> Outcome:
        history = problem.settings.lbfgs_memory
        return run(make_lbfgs(self._objective(problem), image, history), evaluations)

    def _reach(self, spec: Spec) -> dict[str, Any]:
        """So many evaluations, from the targets on; a short run before warms up."""
        problem = make_problem(spec)
        self._run(problem, problem.content, 2)
        began = time.perf_counter()
        outcome = self._run(problem, problem.content, spec.steps)
        before = time.perf_counter() - began - outcome.seconds[-1]
        seconds = [before + at for at in outcome.seconds]
        return {"seconds": seconds, "losses": outcome.losses, "compile_seconds": 0.0}

    def _sweep(self, spec: Spec) -> dict[str, Any]:
        """One run after another, each with only the layers that its losses read."""
        problem = make_problem(spec)
        noise = np.random.default_rng(0).random(problem.content.shape, np.float32)

        def best(one: Settings, evaluations: int) -> float:
            alone = dataclasses.replace(problem, settings=without_idle_layers(one))
            return min(self._run(alone, noise, evaluations).losses)

        settings = sweep_settings(spec)
        best(settings[0], 1)
        began = time.perf_counter()
        losses = [best(one, spec.steps + 1) for one in settings]
        return {"seconds": time.perf_counter() - began, "compile_seconds": 0.0, "losses": losses}

    def _first(self, spec: Spec) -> dict[str, Any]:
        problem = make_problem(spec)
        began = time.perf_counter()
        losses = self._run(problem, problem.content, 1).losses
        seconds = time.perf_counter() - began
        return {"seconds": seconds, "compile_seconds": 0.0, "losses": losses}

    def _parity(self, spec: Spec) -> dict[str, Any]:
        """Loss and gradient against exact ones, as `gpu_tasks.parity`."""
        problem, exact = make_problem(spec), np.load(spec.file)
        objective = self._objective(problem)
        loss, gradient = objective.value_and_gradient(objective.start(off_content(problem)))
        return relative_errors(float(loss), to_image(gradient), exact)


def fill_history(stepper: Stepper, image: torch.Tensor) -> None:
    """Fill the history, which costs PyTorch more the longer it is; the next step is from the image.

    Its pairs are those of a quadratic at random points about the image, with such a curvature that
    the next step is a short one.

    Args:
        stepper: of L-BFGS, after one step.
        image: (1, 3, H, W).
    """
    (parameter,) = stepper.optimizer.param_groups[0]["params"]
    size = stepper.optimizer.param_groups[0]["history_size"]
    state = stepper.optimizer.state[parameter]
    curvature = float(state["prev_flat_grad"].norm()) / (STEP * image.numel() ** 0.5)
    generator = torch.Generator(image.device).manual_seed(0)
    points = SPREAD * torch.randn(
        size + 1, image.numel(), generator=generator, device=image.device, dtype=image.dtype
    )
    steps = [after - before for before, after in itertools.pairwise(points)]
    state.update(
        old_stps=steps,
        old_dirs=[curvature * step for step in steps],
        ro=[1 / (curvature * step.dot(step)) for step in steps],
        H_diag=torch.tensor(1 / curvature, device=image.device),
        d=-points[-1],  # from the last point to the image
        t=1.0,
        prev_flat_grad=curvature * points[-1],
        n_iter=size + 1,
    )
    with torch.no_grad():
        parameter.copy_(image)


if __name__ == "__main__":
    serve(Side)
