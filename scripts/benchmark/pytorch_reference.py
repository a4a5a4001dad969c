"""Style transfer in PyTorch with its own optimisers: the yardstick.

    python -m scripts.benchmark.pytorch_reference CONTENT STYLE -o OUT.png

does what `nst-jax stylize` does, starting from the photograph, and prints OUT.png. Needs the
extra `torch`.
"""

import argparse
import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nst_jax.images.io import load_image, save_image
from nst_jax.optim.optimizer import COOLING
from nst_jax.settings.settings import LEARNING_RATES, Settings
from nst_jax.weights.locate import find_weights
from nst_jax.weights.parameters import normalize
from nst_jax.weights.storage import load_weights
from scripts.benchmark.pytorch_network import Options, synchronize
from scripts.benchmark.pytorch_objective import Objective, to_image

__all__ = [
    "Objective",
    "Options",
    "Outcome",
    "Stepper",
    "make_adam",
    "make_lbfgs",
    "run_adam",
    "run_lbfgs",
    "synchronize",
    "to_image",
]

# Told of every evaluation: its number, from 0, and its loss.
OnEvaluation = Callable[[int, float], None]


class Stepper:
    """One evaluation of the loss and its gradient, and one update, per step.

    Attributes:
        image: (1, 3, H, W), where the next gradient is taken.
        best: (1, 3, H, W), the image of least loss so far.
        least: scalar, its loss.
    """

    def __init__(
        self,
        objective: Objective,
        image: np.ndarray,
        make_optimizer: Callable[[Tensor], torch.optim.Optimizer],
        clip: bool,
        rate_at: Callable[[int], float] = lambda step: 1.0,
    ):
        self.image = objective.start(image)
        self.best = self.image.clone()
        self.least = torch.full((), math.inf, dtype=self.image.dtype, device=self.image.device)
        self._objective, self._clip = objective, clip
        self._optimizer = make_optimizer(self.image)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimizer, rate_at)
        self._loss = self.least

    def step(self) -> Tensor:
        """Evaluate and update; the loss before the update, a scalar on the device."""
        self._optimizer.step(self._evaluate)  # type: ignore[arg-type]  # a tensor will do
        self._schedule.step()
        if self._clip:
            self.image.clamp_(0.0, 1.0)
        return self._loss

    def _evaluate(self) -> Tensor:
        self._loss, self.image.grad = self._objective.value_and_gradient(self.image)
        # On the device: asking which loss is less would wait for it.
        torch.where(self._loss < self.least, self.image, self.best, out=self.best)
        self.least = torch.fmin(self._loss, self.least)
        return self._loss


def make_lbfgs(objective: Objective, image: np.ndarray, history: int = 100) -> Stepper:
    """`torch.optim.LBFGS(lr=1)` without line search, one evaluation per step.

    With `max_iter=1` it keeps its history between steps and never evaluates twice in one, and
    tolerances of 0 never end it; it waits for the device some times in each step by itself.
    """

    def make_optimizer(tensor: Tensor) -> torch.optim.Optimizer:
        return torch.optim.LBFGS(
            [tensor],
            lr=LEARNING_RATES["lbfgs"],
            max_iter=1,
            max_eval=1,
            history_size=history,
            tolerance_grad=0,
            tolerance_change=0,
        )

    return Stepper(objective, image, make_optimizer, clip=False)


def make_adam(
    objective: Objective, image: np.ndarray, learning_rate: float = LEARNING_RATES["adam"]
) -> Stepper:
    """`torch.optim.Adam`, clipped to [0, 1] after each step, with our falling learning rate."""

    def make_optimizer(tensor: Tensor) -> torch.optim.Optimizer:
        return torch.optim.Adam([tensor], lr=learning_rate, fused=True)

    return Stepper(
        objective,
        image,
        make_optimizer,
        clip=True,
        rate_at=lambda step: 1 / math.sqrt(1 + step / COOLING),
    )


class Stopwatch:
    """Times of many events, taken on the device: no event makes the host wait."""

    def __init__(self, device: torch.device):
        self._on_cuda, self._device = device.type == "cuda", device
        self._times: list = []
        self.lap()

    def lap(self) -> None:
        """Note the time at which the device has done all that it was asked so far."""
        if self._on_cuda:
            event = torch.cuda.Event(enable_timing=True)
            event.record(torch.cuda.current_stream(self._device))
            self._times.append(event)
        else:
            self._times.append(time.perf_counter())

    def seconds(self) -> list[float]:
        """Seconds from the beginning to each lap."""
        first, *laps = self._times
        if not self._on_cuda:
            return [lap - first for lap in laps]
        laps[-1].synchronize()
        return [first.elapsed_time(lap) / 1000 for lap in laps]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run led to.

    Attributes:
        image: (H, W, 3), the image of least loss, not clipped.
        losses: of all evaluations in order.
        seconds: from the first evaluation's beginning to the end of each one's update.
    """

    image: np.ndarray
    losses: list[float]
    seconds: list[float]


def run_lbfgs(
    objective: Objective,
    image: np.ndarray,
    evaluations: int,
    history: int = 100,
    on_evaluation: OnEvaluation | None = None,
) -> Outcome:
    """L-BFGS from an image (H, W, 3), for so many evaluations."""
    return run(make_lbfgs(objective, image, history), evaluations, on_evaluation)


def run_adam(
    objective: Objective,
    image: np.ndarray,
    steps: int,
    learning_rate: float = LEARNING_RATES["adam"],
    on_evaluation: OnEvaluation | None = None,
) -> Outcome:
    """Adam from an image (H, W, 3), for so many evaluations."""
    return run(make_adam(objective, image, learning_rate), steps, on_evaluation)


def run(stepper: Stepper, steps: int, on_evaluation: OnEvaluation | None = None) -> Outcome:
    """Take so many steps; with `on_evaluation` the host waits for the loss of each."""
    stopwatch, losses = Stopwatch(stepper.image.device), []
    for number in range(steps):
        losses.append(stepper.step())
        stopwatch.lap()
        if on_evaluation:
            on_evaluation(number, losses[-1].item())
    return Outcome(to_image(stepper.best), torch.stack(losses).tolist(), stopwatch.seconds())


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("content", type=Path)
    parser.add_argument("style", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--size", type=int, default=Settings.size)
    parser.add_argument("--evaluations", type=int, default=Settings.steps + 1)
    parser.add_argument("--ratio", type=float)
    parser.add_argument("--optimizer", choices=LEARNING_RATES, default="lbfgs")
    parser.add_argument("--history", type=int, default=100, help="pairs that L-BFGS keeps")
    parser.add_argument("--device", default=Options.device)
    parser.add_argument("--precision", default=Options.precision)
    parser.add_argument("--compile", action="store_true")
    return parser.parse_args()


def main() -> None:
    """Paint one photograph, file to file."""
    arguments = parse_options()
    settings = Settings(size=arguments.size, ratio=arguments.ratio, precision=arguments.precision)
    options = Options(
        device=arguments.device, precision=settings.precision, compile=arguments.compile
    )
    weights = normalize(load_weights(find_weights(settings.weights)))
    content = load_image(arguments.content, settings.size)
    style = load_image(arguments.style, settings.size)
    objective = Objective(settings, weights, content, style, options)
    if arguments.optimizer == "adam":
        outcome = run_adam(objective, content, arguments.evaluations)
    else:
        outcome = run_lbfgs(objective, content, arguments.evaluations, arguments.history)
    save_image(outcome.image, arguments.output)
    print(arguments.output)


if __name__ == "__main__":
    main()
