"""Style transfer in PyTorch with its own optimizers: the yardstick.

    python -m scripts.benchmark.pytorch_reference CONTENT STYLE -o OUT.png

does what `nst-jax stylize` does, starting from the content image, and prints OUT.png. Needs the
extra `torch`.
"""

import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nst_jax import Settings, find_weights, load_image, load_weights, normalize, save_image
from nst_jax.optim.optimizer import COOLING
from nst_jax.settings.settings import LEARNING_RATES
from scripts import make_parser
from scripts.benchmark.pytorch_objective import Objective, Options, synchronize, to_image


class Stepper:
    """One evaluation of the loss and its gradient, and one update, per step.

    Attributes:
        image: (1, 3, H, W), where the next gradient is taken.
        best: (1, 3, H, W), the image of least loss so far.
        best_loss: scalar, its loss.
        optimizer: PyTorch's.
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
        self.best_loss = torch.full((), math.inf, dtype=self.image.dtype, device=self.image.device)
        self.optimizer = make_optimizer(self.image)
        self._objective, self._clip, self._loss = objective, clip, self.best_loss
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, rate_at)

    def step(self) -> Tensor:
        """Evaluate and update; the loss before the update, a scalar on the device."""
        self.optimizer.step(self._evaluate)  # type: ignore[arg-type]  # a tensor will do
        self._schedule.step()
        if self._clip:
            self.image.clamp_(0.0, 1.0)
        return self._loss

    def _evaluate(self) -> Tensor:
        self._loss, self.image.grad = self._objective.value_and_gradient(self.image)
        # On the device: asking which loss is less would wait for it.
        torch.where(self._loss < self.best_loss, self.image, self.best, out=self.best)
        self.best_loss = torch.fmin(self._loss, self.best_loss)
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


def make_adam(objective: Objective, image: np.ndarray) -> Stepper:
    """`torch.optim.Adam`, clipped to [0, 1] after each step, with our falling learning rate."""

    def make_optimizer(tensor: Tensor) -> torch.optim.Optimizer:
        return torch.optim.Adam([tensor], lr=LEARNING_RATES["adam"], fused=True)

    def rate_at(step: int) -> float:
        return 1 / math.sqrt(1 + step / COOLING)

    return Stepper(objective, image, make_optimizer, clip=True, rate_at=rate_at)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run led to."""

    image: np.ndarray  # (H, W, 3), the image of least loss, not clipped
    losses: list[float]  # of all evaluations in order
    seconds: list[float]  # from the first evaluation's beginning to the end of each one's update


def run(stepper: Stepper, evaluations: int) -> Outcome:
    """Take so many steps; L-BFGS waits for the device in each by itself."""
    losses, seconds, began = [], [], time.perf_counter()
    for _ in range(evaluations):
        losses.append(stepper.step())
        synchronize(stepper.image.device)
        seconds.append(time.perf_counter() - began)
    return Outcome(to_image(stepper.best), torch.stack(losses).tolist(), seconds)


def main() -> None:
    """Make one picture, file to file."""
    parser = make_parser(__doc__)
    parser.add_argument("content", type=Path)
    parser.add_argument("style", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--size", type=int, default=512, help="long side, px")
    parser.add_argument("--evaluations", type=int, default=501, help="of loss and gradient")
    parser.add_argument("--ratio", type=float, help="content over style")
    parser.add_argument("--optimizer", choices=LEARNING_RATES, default="lbfgs")
    parser.add_argument("--history", type=int, default=100, help="pairs that L-BFGS keeps")
    parser.add_argument("--device", default=Options.device)
    parser.add_argument("--precision", default=Options.precision)
    parser.add_argument("--compile", action="store_true", help="by torch.compile")
    arguments = parser.parse_args()
    settings = Settings(size=arguments.size, ratio=arguments.ratio, precision=arguments.precision)
    weights = normalize(load_weights(find_weights(settings.weights)))
    content, style = (load_image(p, settings.size) for p in (arguments.content, arguments.style))
    options = Options(arguments.device, precision=settings.precision, compile=arguments.compile)
    objective = Objective(settings, weights, content, style, options)
    if arguments.optimizer == "adam":
        stepper = make_adam(objective, content)
    else:
        stepper = make_lbfgs(objective, content, arguments.history)
    save_image(run(stepper, arguments.evaluations).image, arguments.output)
    print(arguments.output)


if __name__ == "__main__":
    main()
