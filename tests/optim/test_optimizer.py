"""Adam with its falling rate, against the published algorithm in NumPy float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nst_jax.optim.optimizer import make_optimizer

# float32 updates of 0.07 and less, summed.
UPDATES = 1e-5


def adam(gradients, rate):
    """The updates, after Kingma & Ba 2015, algorithm 1; the rate falls as 1/√(1 + step/25)."""
    first = second = 0.0
    for step, gradient in enumerate(gradients):
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        mean, spread = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1))
        yield -rate / np.sqrt(1 + step / 25) * mean / (np.sqrt(spread) + 1e-8)


def test_adam(random):
    gradients = random.standard_normal((60, 4, 5, 3)) * np.linspace(1, 0.1, 60).reshape(-1, 1, 1, 1)
    optimizer = make_optimizer("adam", 0.07, 1)
    image = jnp.zeros((4, 5, 3))
    state = optimizer.init(image)
    for gradient, expected in zip(gradients, adam(gradients, 0.07), strict=True):
        updates, state = jax.jit(optimizer.update)(jnp.float32(gradient), state, image)
        assert np.asarray(updates) == pytest.approx(expected, abs=UPDATES)


def test_adam_begins_again_with_the_first_rate(random):
    optimizer = make_optimizer("adam", 0.07, 1)
    image, gradient = jnp.zeros((4, 5, 3)), jnp.float32(random.standard_normal((4, 5, 3)))
    state = optimizer.init(image)
    first, state = optimizer.update(gradient, state, image)
    for _ in range(30):
        _, state = optimizer.update(gradient, state, image)
    again, _ = optimizer.update(gradient, optimizer.restart(state), image)
    assert np.array_equal(again, first)
    assert np.abs(first) == pytest.approx(0.07, rel=1e-3)


def test_adam_stays_within_the_range(random):
    project = make_optimizer("adam", 0.07, 1).project
    image = jnp.float32(random.standard_normal((4, 5, 3)))
    assert np.array_equal(project(image), np.clip(image, 0, 1))
