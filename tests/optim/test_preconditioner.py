"""The preconditioner against SciPy in float64, and what it is to the optimisers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft
from reference import SAMPLES

from nst_jax import Settings, load_image, stylize
from nst_jax.optim.lbfgs import scale_by_lbfgs
from nst_jax.optim.optimizer import make_optimizer
from nst_jax.optim.preconditioner import CORNER, FLOOR, precondition

# float32 cosine transforms of some thousand numbers; in float64, the same.
SINGLE, DOUBLE = 1e-5, 1e-12


def reference(gradient, power):
    """By SciPy, channel by channel."""
    height, width, _ = gradient.shape
    squares = (np.arange(height) / height)[:, None] ** 2 + (np.arange(width) / width) ** 2
    scale = ((squares + CORNER**2) / (squares + FLOOR * CORNER**2)) ** power
    channels = [scipy.fft.dctn(channel, norm="ortho") for channel in gradient.transpose(2, 0, 1)]
    back = [scipy.fft.idctn(scale * waves, norm="ortho") for waves in channels]
    return np.stack(back, axis=-1)


@pytest.mark.parametrize("shape", [(16, 16, 3), (17, 33, 3), (1, 5, 3), (40, 23, 1)])
@pytest.mark.parametrize("power", [1.0, 0.5])
def test_by_scipy(random, shape, power):
    gradient = random.standard_normal(shape)
    got = jax.jit(precondition, static_argnums=1)(jnp.float32(gradient), power)
    assert np.asarray(got) == pytest.approx(reference(gradient, power), abs=SINGLE * 1 / FLOOR)


def test_lanes(random):
    gradients = jnp.float32(random.standard_normal((3, 12, 9, 3)))
    lanes, alone = jax.jit(jax.vmap(precondition))(gradients), jax.jit(precondition)
    for lane, gradient in zip(lanes, gradients, strict=True):
        assert np.asarray(lane) == pytest.approx(np.asarray(alone(gradient)), abs=1e-4)


def test_symmetric_and_positive(random):
    """As a matrix; the root twice is the whole; constants grow by 1/ε, the finest waves do not."""
    whole = jax.jit(precondition)
    with jax.enable_x64(True):
        units = jnp.eye(8 * 6).reshape(8, 6, 48)  # a channel each
        matrix = np.asarray(whole(units)).reshape(48, 48)
        gradient = jnp.asarray(random.standard_normal((8, 6, 48)))
        twice = jax.jit(lambda gradient: root(root(gradient)))(gradient)
        assert np.asarray(twice) == pytest.approx(np.asarray(whole(gradient)), abs=DOUBLE)
        flat = np.asarray(whole(jnp.ones((8, 6, 48))))
    assert matrix == pytest.approx(matrix.T, abs=DOUBLE)
    values = np.linalg.eigvalsh(matrix)
    assert 1 < values.min() < 1.1 and values.max() == pytest.approx(1 / FLOOR)
    assert flat == pytest.approx(1 / FLOOR, rel=DOUBLE)


def loss(image):
    """Quartic, bent unequally; so small that no first step is shortened."""
    bend = jnp.linspace(0.5, 5.0, image.size).reshape(image.shape)
    return 1e-4 * jnp.sum(bend * image**2 + 0.1 * image**4)


def root(image):
    return precondition(image, 0.5)


def test_lbfgs_is_the_plain_one_in_other_variables(random):
    """x = M½ z: the same images, step by step, also after the ring has turned."""
    with jax.enable_x64(True):
        plain, preconditioned = scale_by_lbfgs(4), scale_by_lbfgs(4, precondition)
        z = jnp.asarray(random.standard_normal((6, 5, 3)))
        x = root(z)
        state_z, state_x = plain.init(z), preconditioned.init(x)

        @jax.jit
        def advance(z, x, state_z, state_x):
            of_z, state_z = plain.update(jax.grad(lambda z: loss(root(z)))(z), state_z, z)
            of_x, state_x = preconditioned.update(jax.grad(loss)(x), state_x, x)
            z, x = z - 0.9 * of_z, x - 0.9 * of_x
            return z, x, state_z, state_x, root(z)

        for step in range(15):
            z, x, state_z, state_x, wanted = advance(z, x, state_z, state_x)
            assert np.asarray(x) == pytest.approx(np.asarray(wanted), abs=1e-8), step


def test_adam_is_the_plain_one_in_other_variables(random):
    with jax.enable_x64(True):
        plain, other = (make_optimizer("adam", 0.02, 1, on) for on in (False, True))
        z = jnp.asarray(random.standard_normal((6, 5, 3)))
        x = root(z)
        state_z, state_x = plain.init(z), other.init(x)

        @jax.jit
        def advance(z, x, state_z, state_x):
            of_z, state_z = plain.update(jax.grad(lambda z: loss(root(z)))(z), state_z, z)
            of_x, state_x = other.update(jax.grad(loss)(x), state_x, x)
            z, x = z + of_z, x + of_x
            return z, x, state_z, state_x, root(z)

        for step in range(5):
            z, x, state_z, state_x, wanted = advance(z, x, state_z, state_x)
            assert np.asarray(x) == pytest.approx(np.asarray(wanted), abs=1e-10), step


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_sooner(normalized, optimizer):
    """From a photograph to a lower loss in as many steps: 0.91 and 0.78 of it; less when larger."""
    content = load_image(SAMPLES / "china.jpg", 80)
    style = load_image(SAMPLES / "van_gogh_cafe_terrace.jpg", 80)
    layers = {"content_layers": ("conv3_1",), "style_layers": ("conv1_1", "conv2_1", "conv3_1")}
    settings = Settings(steps=20, optimizer=optimizer, lbfgs_memory=20, **layers)
    plain = dataclasses.replace(settings, precondition=False)
    sooner, later = (stylize(content, style, s, weights=normalized) for s in (settings, plain))
    assert sooner.losses.total < 0.95 * later.losses.total
