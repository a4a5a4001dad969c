"""The preconditioner against SciPy in float64, and what it is to the optimisers."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft
from reference import SAMPLES

from nst_jax import Settings, load_image, stylize
from nst_jax.optim.lbfgs import scale_by_lbfgs
from nst_jax.optim.optimizer import make_optimizer
from nst_jax.optim.preconditioner import (
    CORNER,
    FLOOR,
    _filtered,
    _transform_by_products,
    precondition,
)
from scripts.figures.judge import speckle

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


def reference_with_chroma(gradient, power, smoothing):
    """As `reference` for the mean of the channels; what deviates from it by the other formula."""
    height, width, _ = gradient.shape
    squares = (np.arange(height)[:, None] / height) ** 2 + (np.arange(width) / width) ** 2
    luminance = gradient.mean(axis=-1, keepdims=True)
    smoothed = [
        scipy.fft.idctn(
            scipy.fft.dctn(channel, norm="ortho") / (1 + smoothing**4 * squares**2) ** power,
            norm="ortho",
        )
        for channel in (gradient - luminance).transpose(2, 0, 1)
    ]
    return reference(luminance + np.stack(smoothed, axis=-1), power)


@pytest.mark.parametrize("shape", [(16, 16, 3), (17, 33, 3), (1, 5, 3), (40, 23, 1)])
@pytest.mark.parametrize("power", [1.0, 0.5])
def test_by_scipy(random, shape, power):
    gradient = random.standard_normal(shape)
    got = jax.jit(precondition, static_argnums=1)(jnp.float32(gradient), power)
    assert np.asarray(got) == pytest.approx(reference(gradient, power), abs=SINGLE * 1 / FLOOR)


@pytest.mark.parametrize("shape", [(16, 16, 3), (17, 33, 3), (1, 5, 3)])
@pytest.mark.parametrize("power", [1.0, 0.5])
@pytest.mark.parametrize("smoothing", [0.0, 1.0, 10.0])
def test_chroma_by_scipy(random, shape, power, smoothing):
    gradient = random.standard_normal(shape)
    got = jax.jit(precondition, static_argnums=1)(jnp.float32(gradient), power, smoothing)
    wanted = reference_with_chroma(gradient, power, smoothing)
    assert np.asarray(got) == pytest.approx(wanted, abs=SINGLE * 1 / FLOOR)


def test_gray_is_as_without_smoothing(random):
    gray = np.repeat(random.standard_normal((12, 9, 1)).astype(np.float32), 3, axis=-1)
    apply = jax.jit(precondition, static_argnums=1)
    smooth, plain = apply(gray, 1.0, 20.0), apply(gray, 1.0)
    assert np.asarray(smooth) == pytest.approx(np.asarray(plain), abs=SINGLE / FLOOR)


def test_smoothing_is_symmetric_and_positive(random):
    """As a matrix over positions and channels; nothing is left out, however fine."""
    with jax.enable_x64(True):
        units = jnp.eye(5 * 4 * 3).reshape(60, 5, 4, 3)
        whole = jax.jit(jax.vmap(lambda unit: precondition(unit, 1.0, 10.0)))(units)
        half = jax.jit(jax.vmap(lambda unit: precondition(unit, 0.5, 10.0)))(units)
        matrix, square_root = np.asarray(whole).reshape(60, 60), np.asarray(half).reshape(60, 60)
    assert matrix == pytest.approx(matrix.T, abs=DOUBLE)
    assert square_root @ square_root == pytest.approx(matrix, abs=DOUBLE)
    assert np.linalg.eigvalsh(matrix).min() > 1 / (1 + 10.0**4 * 4)


def test_lanes_smooth_each_by_its_own(random):
    gradients = jnp.float32(random.standard_normal((2, 12, 9, 3)))
    smoothing = jnp.float32([0.0, 10.0])
    lanes = jax.jit(jax.vmap(lambda g, s: precondition(g, 1.0, s)))(gradients, smoothing)
    for lane, gradient, own in zip(lanes, gradients, smoothing, strict=True):
        wanted = reference_with_chroma(np.asarray(gradient, float), 1.0, float(own))
        assert np.asarray(lane) == pytest.approx(wanted, abs=SINGLE * 1 / FLOOR)


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


@pytest.mark.parametrize("smoothing", [None, 5.0])
@pytest.mark.parametrize("size", [(8, 6), (9, 14), (1, 5)])
def test_products_transform_as_fourier_does(random, size, smoothing):
    """What GPUs and TPUs take, on this device; also for lanes."""
    with jax.enable_x64(True):
        gradients = jnp.asarray(random.standard_normal((2, *size, 3)))
        options = {"power": 1.0, "chroma_smoothing": smoothing}
        by_products = partial(_filtered, **options, transform=_transform_by_products)
        found = jax.jit(jax.vmap(by_products))(gradients)
        alone = jax.jit(by_products)(gradients[0])
        wanted = jax.jit(jax.vmap(partial(_filtered, **options)))(gradients)
    assert np.asarray(found) == pytest.approx(np.asarray(wanted), abs=100 * DOUBLE)
    assert np.asarray(alone) == pytest.approx(np.asarray(wanted[0]), abs=100 * DOUBLE)


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
        x = jax.jit(root)(z)
        state_z, state_x = jax.jit(plain.init)(z), jax.jit(preconditioned.init)(x)

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
        x = jax.jit(root)(z)
        state_z, state_x = jax.jit(plain.init)(z), jax.jit(other.init)(x)

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
def test_less_speckle_at_the_same_loss(normalized):
    """From noise, 64 px: about 7.4 and 2.4 levels of fine color, losses 2 % apart."""
    settings = Settings(size=64, steps=60, init="noise", lbfgs_memory=20)
    files = SAMPLES / "china.jpg", SAMPLES / "van_gogh_cafe_terrace.jpg"
    each = (dataclasses.replace(settings, smooth_chroma=s) for s in (0.0, None))
    coarse, clean = (stylize(*files, one, weights=normalized) for one in each)
    assert speckle(clean.image) < 0.5 * speckle(coarse.image)
    assert clean.losses.total < 1.1 * coarse.losses.total


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
