"""What a step costs over the loss and gradient that it needs, and what a loop costs around them.

    python -m scripts.benchmark.check_step --size 256

prints the median and the least of several repeats of: one loss-and-gradient; one whole step at
several history lengths; loss-and-gradient inside `lax.while_loop`. Let nothing else run meanwhile.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax import Settings, find_weights, load_weights, normalize
from nst_jax.engine.program import (
    Program,
    compiler_options,
    jitted,
    make_program,
    objective,
    prepare_parameters,
)
from nst_jax.engine.targets import compute_targets
from nst_jax.losses.terms import LossWeights
from nst_jax.records.write import device_metadata, versions

LOOPS = 5  # evaluations inside one while_loop
IN_LOOP = "loss and gradient in a while_loop"


def time_in_turn(
    functions: dict[str, Callable[[], Any]], repeats: int
) -> dict[str, tuple[float, float]]:
    """Median and least seconds of each function, called in turn (A B C A B C …) after a warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for repeat in range(repeats + 1):
        for name, function in functions.items():
            began = time.perf_counter()
            jax.block_until_ready(function())
            if repeat:
                seconds[name].append(time.perf_counter() - began)
    return {name: (statistics.median(values), min(values)) for name, values in seconds.items()}


class Measurements:
    """One image, and the programs to be timed on it."""

    def __init__(self, size: int):
        self.settings = Settings(size=size, ratio=1e-5)
        self.weights = normalize(load_weights(find_weights("vgg16")))
        random = np.random.default_rng(0)
        self.image = jnp.asarray(random.random((size * 2 // 3, size, 3), np.float32))
        style = random.random((size, size, 3), np.float32)
        self.program = make_program(self.settings, self.weights)
        params = prepare_parameters(self.program, self.weights.params)
        targets = compute_targets(self.program, self.weights.params, np.array(self.image), style)
        self.arguments = jax.device_put((params, targets, LossWeights.from_settings(self.settings)))

    def value_and_gradient(self) -> Callable[..., tuple[Any, jax.Array]]:
        """The losses, all terms, and the gradient with respect to the image."""
        function = jax.value_and_grad(objective, argnums=1, has_aux=True)
        return lambda image, *arguments: function(self.program, image, *arguments)

    def evaluation(self) -> Callable[[], Any]:
        """One loss-and-gradient."""
        function = jax.jit(self.value_and_gradient(), compiler_options=compiler_options())
        return lambda: function(self.image, *self.arguments)

    def looped(self) -> Callable[[], Any]:
        """Several loss-and-gradients inside a loop."""
        evaluate = self.value_and_gradient()

        @partial(jax.jit, compiler_options=compiler_options())
        def loop(image, *arguments):
            def body(state):
                count, image, _ = state
                (loss, _), gradient = evaluate(image, *arguments)
                return count + 1, image - 1e-6 * gradient, loss

            start = 0, image, jnp.float32(0)
            return jax.lax.while_loop(lambda state: state[0] < LOOPS, body, start)

        return lambda: loop(self.image, *self.arguments)

    def step(self, memory: int) -> Callable[[], Any]:
        """One step; how full the history is makes no difference."""
        program = Program(**{**vars(self.program), "lbfgs_memory": memory})
        functions = jitted(program)
        carry = functions.start(self.image)

        def advance():
            nonlocal carry
            carry, losses = functions.step(carry, *self.arguments)
            return carry.image, losses

        return advance


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    measurements = Measurements(options.size)
    print(f"{measurements.image.shape[1]}×{measurements.image.shape[0]} px, VGG-16, float32")
    print(f"{device_metadata()}, {versions()}")
    functions = {"loss and gradient": measurements.evaluation()}
    for memory in (1, 50, 100):
        functions[f"step, history {memory}"] = measurements.step(memory)
    functions[IN_LOOP] = measurements.looped()
    rows = time_in_turn(functions, options.repeats)
    rows[IN_LOOP] = (rows[IN_LOOP][0] / LOOPS, rows[IN_LOOP][1] / LOOPS)
    base = rows["loss and gradient"]
    for name, (median, least) in rows.items():
        print(
            f"{name:36s} median {median:.4f} s ({median / base[0]:.3f} ×)  "
            f"least {least:.4f} s ({least / base[1]:.3f} ×)"
        )


if __name__ == "__main__":
    main()
