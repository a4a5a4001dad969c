"""Winograd's convolution against the sum itself, in NumPy float64."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

from nst_jax.network import convolution, winograd

# Of the largest output. Float32 rounds at 6e-8; the transforms make about thirty times that.
TOLERANCE = 1e-5
# The sums are the same in exact arithmetic.
EXACT = 1e-12

# Smaller than a tile, whole tiles, and a rest; then with a pixel of zeros less or more around.
CASES = [(1, 1, 1), (2, 5, 1), (4, 4, 1), (8, 13, 1), (17, 9, 1)]
CASES += [(3, 5, 0), (9, 17, 0), (3, 5, 2), (6, 6, 2), (9, 17, 2)]


def convolve(inputs, kernel, pad=1):
    """The sum itself, in float64, with so many pixels of zeros around."""
    wide = np.pad(inputs.astype(float), ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    return np.array([reference.convolve(image, kernel, 0.0) for image in wide])[:, 1:-1, 1:-1]


def turned(kernel):
    return kernel[::-1, ::-1].swapaxes(2, 3)


def problem(size, channels=5, filters=7, count=2, dtype=np.float32):
    random = np.random.default_rng(0)
    inputs = random.normal(size=(count, *size, channels)).astype(dtype)
    return inputs, random.normal(size=(3, 3, channels, filters)).astype(dtype)


def error(found, wanted):
    assert found.shape == wanted.shape
    return np.abs(np.asarray(found, np.float64) - wanted).max() / np.abs(wanted).max()


def apply(inputs, kernel, pad=1):
    return winograd.conv3x3(inputs, winograd.transform_kernel(kernel), pad=pad)


@partial(jax.jit, static_argnames="pad")
def apply_and_pull(inputs, kernel, cotangent, pad):
    """The outputs, and what their cotangent makes of the inputs."""
    outputs, pull = jax.vjp(lambda x: apply(x, kernel, pad), inputs)
    return outputs, *pull(cotangent)


@pytest.mark.parametrize(("height", "width", "pad"), CASES)
def test_convolution_and_its_gradient(height, width, pad):
    """The gradient is the convolution with the turned kernel, and the other number of zeros."""
    inputs, kernel = problem((height, width))
    wanted = convolve(inputs, kernel, pad)
    cotangent = np.random.default_rng(1).normal(size=wanted.shape).astype(np.float32)
    found, gradient = apply_and_pull(inputs, kernel, cotangent, pad)
    assert error(found, wanted) < TOLERANCE
    assert error(gradient, convolve(cotangent, turned(kernel), 2 - pad)) < TOLERANCE


def test_exact_in_float64():
    with jax.enable_x64(True):
        inputs, kernel = problem((9, 14), dtype=np.float64)
        found = jax.jit(apply)(inputs, kernel)
        assert found.dtype == np.float64
        assert error(found, convolve(inputs, kernel)) < EXACT


@pytest.mark.parametrize("strip_bytes", [1, 3e4, 1e9])
def test_strips_make_no_difference(monkeypatch, strip_bytes):
    inputs, kernel = problem((23, 10))
    monkeypatch.setattr(winograd, "STRIP_BYTES", strip_bytes)
    found = jax.jit(partial(apply))(inputs, kernel)  # a function of its own, traced anew
    assert error(found, convolve(inputs, kernel)) < TOLERANCE


@pytest.mark.parametrize("options", [None, winograd.COMPILER_OPTIONS])
def test_lanes(options):
    inputs, kernel = problem((11, 8), count=6)
    lanes = jnp.asarray(inputs.reshape(3, 2, 11, 8, 5))
    transformed = winograd.transform_kernel(jnp.asarray(kernel))

    def square(image, kernel):
        return jnp.sum(winograd.conv3x3(image, kernel) ** 2)

    gradient = jax.vmap(jax.grad(square), in_axes=(0, None))
    found = jax.jit(gradient, compiler_options=options)(lanes, transformed)
    wanted = 2 * convolve(convolve(inputs, kernel), turned(kernel))
    assert error(found.reshape(inputs.shape), wanted) < TOLERANCE


def test_agrees_with_the_plain_operator_on_many_channels():
    inputs, kernel = problem((9, 14), channels=256, filters=128, count=1)
    plain = jax.jit(convolution.conv3x3)(inputs, kernel)
    assert error(jax.jit(apply)(inputs, kernel), np.asarray(plain, np.float64)) < TOLERANCE


def test_the_kernels_gradient_is_not_believed():
    inputs, kernel = problem((4, 4))
    transformed = winograd.transform_kernel(jnp.asarray(kernel))
    gradient = jax.grad(lambda k: winograd.conv3x3(inputs, k).sum())(transformed)
    assert np.isnan(gradient).all()


def test_compiler_options_keep_the_barriers():
    """Else XLA:CPU would fuse the stages again, and be several times slower."""
    if jax.default_backend() != "cpu":
        pytest.skip("the options are for CPUs")
    inputs, kernel = problem((8, 8))
    transformed = winograd.transform_kernel(jnp.asarray(kernel))
    function = jax.jit(winograd.conv3x3, compiler_options=winograd.COMPILER_OPTIONS)
    assert "opt-barrier" in function.lower(inputs, transformed).compile().as_text()
