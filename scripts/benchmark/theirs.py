"""PyTorch's side of the benchmark: `pytorch_reference.py`, with PyTorch's own optimisers."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from nst_jax.settings.settings import without_idle_layers
from scripts.benchmark import pytorch_reference as reference
from scripts.benchmark.problem import (
    Problem,
    Spec,
    make_problem,
    off_content,
    relative_errors,
    sweep_settings,
)

PROBE, SPREAD = 1e-3, 1e-2  # as on our side


class Theirs:
    """Makes what the worker calls and times; every tensor is on the device before."""

    def __init__(self, device: str, options: dict[str, Any]):
        self._device = "cuda" if device == "gpu" else device
        self._compile = bool(options.get("compile"))
        torch.set_num_threads(int(options["threads"]))
        self._tasks: dict[str, Callable[[Problem], Callable[[], Any]]] = {
            "evaluation": self._evaluation,
            "lbfgs": self._lbfgs_step,
            "adam": self._adam_step,
        }
        self._runs = {
            "reach": self._reach,
            "sweep": self._sweep,
            "first": self._first,
            "parity": self._parity,
        }
        torch.zeros(1, device=self._device)  # starts the device

    def task(self, spec: Spec) -> Callable[[], Any]:
        """A call that may return before its result is there."""
        return self._tasks[spec.task](make_problem(spec))

    def run(self, spec: Spec) -> dict[str, Any]:
        """A whole run, with the times that it took."""
        return self._runs[spec.task](spec)

    def wait(self, result: Any) -> None:
        """Until the device has finished."""
        reference.synchronize(self._device)

    def facts(self) -> dict[str, Any]:
        """Of the device and the threads."""
        name = torch.cuda.get_device_name() if self._device == "cuda" else self._device
        return {"device": name, "threads": torch.get_num_threads()}

    def device_peak(self) -> int | None:
        """Bytes of the GPU's memory that were in use at most; None on CPU."""
        return torch.cuda.max_memory_allocated() if self._device == "cuda" else None

    def forget(self) -> None:
        """Give cached memory of the device back, and let go of compiled programs.

        After eight versions of one function PyTorch would compile no more, and say nothing.
        """
        if self._compile:
            torch.compiler.reset()
        if self._device == "cuda":
            torch.cuda.empty_cache()

    def _objective(self, problem: Problem) -> Any:
        options = reference.Options(
            device=self._device, precision=problem.settings.precision, compile=self._compile
        )
        return reference.Objective(
            problem.settings, problem.weights, problem.content, problem.style, options
        )

    def _evaluation(self, problem: Problem) -> Callable[[], Any]:
        objective = self._objective(problem)
        image = objective.start(problem.content)
        return lambda: objective.value_and_gradient(image)

    def _lbfgs_step(self, problem: Problem) -> Callable[[], Any]:
        objective, history = self._objective(problem), problem.settings.lbfgs_memory
        stepper = reference.make_lbfgs(objective, problem.content, history)
        stepper.step()  # makes the optimiser's state
        _fill(_optimizer_of(stepper), objective, objective.start(problem.content))
        return stepper.step

    def _adam_step(self, problem: Problem) -> Callable[[], Any]:
        return reference.make_adam(self._objective(problem), problem.content).step

    def _reach(self, spec: Spec) -> dict[str, Any]:
        """So many evaluations, from the targets on; a short run before warms up."""
        problem = make_problem(spec)
        reference.run_lbfgs(self._objective(problem), problem.content, 2, spec.history)
        began = time.perf_counter()
        objective = self._objective(problem)
        before = time.perf_counter() - began
        outcome = reference.run_lbfgs(objective, problem.content, spec.steps, spec.history)
        seconds = [before + at for at in outcome.seconds]
        return {"curve": list(zip(seconds, outcome.losses, strict=True)), "compile_seconds": 0.0}

    def _sweep(self, spec: Spec) -> dict[str, Any]:
        """One run after another, each with only the layers that its losses read."""
        problem, settings = make_problem(spec), sweep_settings(spec)
        noise = np.random.default_rng(0).random(problem.content.shape, np.float32)
        self._one_of_sweep(problem, settings[0], noise, 1)
        began = time.perf_counter()
        losses = [self._one_of_sweep(problem, one, noise, spec.steps + 1) for one in settings]
        return {"seconds": time.perf_counter() - began, "compile_seconds": 0.0, "losses": losses}

    def _one_of_sweep(self, problem: Problem, one: Any, image: np.ndarray, evaluations: int):
        objective = self._objective(dataclasses.replace(problem, settings=without_idle_layers(one)))
        return min(reference.run_lbfgs(objective, image, evaluations, one.lbfgs_memory).losses)

    def _first(self, spec: Spec) -> dict[str, Any]:
        problem = make_problem(spec)
        began = time.perf_counter()
        outcome = reference.run_lbfgs(self._objective(problem), problem.content, 1, spec.history)
        seconds = time.perf_counter() - began
        return {"seconds": seconds, "compile_seconds": 0.0, "losses": list(outcome.losses)}

    def _parity(self, spec: Spec) -> dict[str, Any]:
        """Loss and gradient against exact ones, as `gpu_check_tasks.parity`."""
        problem, exact = make_problem(spec), np.load(spec.file)
        objective = self._objective(problem)
        loss, gradient = objective.value_and_gradient(objective.start(off_content(problem)))
        return relative_errors(float(loss), reference.to_image(gradient), exact)


def _optimizer_of(stepper: Any) -> torch.optim.LBFGS:
    """The optimiser inside, whose history is to be filled."""
    return next(v for v in vars(stepper).values() if isinstance(v, torch.optim.LBFGS))


def _fill(optimizer: torch.optim.LBFGS, objective: Any, image: torch.Tensor) -> None:
    """Fill the history as on our side: pairs of a quadratic with the loss's own curvature."""
    (parameter,) = optimizer.param_groups[0]["params"]
    with torch.no_grad():
        parameter.copy_(image)
    curvature = _curvature(objective, image)
    generator = torch.Generator(image.device).manual_seed(0)
    state, size = optimizer.state[parameter], optimizer.param_groups[0]["history_size"]
    offsets = [
        SPREAD * torch.randn(image.numel(), generator=generator, device=image.device)
        for _ in range(size + 1)
    ]
    steps = [after - before for before, after in zip(offsets, offsets[1:], strict=False)]
    changes = [curvature * step for step in steps]
    state.update(
        old_stps=steps,
        old_dirs=changes,
        ro=[1.0 / change.dot(step) for change, step in zip(changes, steps, strict=True)],
        H_diag=torch.tensor(1 / curvature, device=image.device),
        d=-offsets[-1],  # from the last point to the image
        t=1.0,
        prev_flat_grad=curvature * offsets[-1],
        n_iter=size + 1,
    )


def _curvature(objective: Any, image: torch.Tensor) -> float:
    """Of the loss along its gradient: |∇L(x + d) − ∇L(x)| / |d|."""
    _, gradient = objective.value_and_gradient(image)
    step = PROBE * image.numel() ** 0.5 * gradient / gradient.norm()
    _, ahead = objective.value_and_gradient(image + step)
    return float((ahead - gradient).norm() / step.norm())
