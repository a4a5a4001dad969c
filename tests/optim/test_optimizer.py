"""Adam, with its falling rate, against the published algorithm in NumPy; orders of vectors."""

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


def test_vectors_by_planes_are_the_same_steps(random):
    """In float64, since the sums are in another order; of a valley, where curvature matters."""
    with jax.enable_x64(True):
        widths = jnp.asarray(random.uniform(0.1, 5, (6, 5, 3)))
        start = jnp.asarray(random.standard_normal((6, 5, 3)))
        ends = []
        for by_planes in (False, True):
            optimizer = make_optimizer("lbfgs", 1.0, 5, True, by_planes=by_planes)
            image, state = start, optimizer.init(start)
            for _ in range(12):
                update, state = optimizer.update(widths * image, state, image)
                image = image + update
            ends.append(image)
        assert np.abs(ends[0]).mean() < 0.5 * np.abs(start).mean()
        np.testing.assert_allclose(ends[1], ends[0], atol=1e-9)
        kept = jnp.moveaxis(state[0].params.reshape(3, 6, 5), 0, -1)  # the image before the last
        np.testing.assert_allclose(kept + update, image, atol=1e-12)
