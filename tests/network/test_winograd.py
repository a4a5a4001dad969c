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

SIZES = [(1, 1), (2, 5), (4, 4), (7, 6), (8, 13), (17, 9)]


def convolve(inputs, kernel):
    """The sum itself, in float64."""
    return np.array([reference.convolve(image, kernel, 0.0) for image in inputs.astype(float)])


def problem(size, channels=5, filters=7, count=2, dtype=np.float32):
    random = np.random.default_rng(0)
    inputs = random.normal(size=(count, *size, channels)).astype(dtype)
    return inputs, random.normal(size=(3, 3, channels, filters)).astype(dtype)


def error(found, wanted):
    return np.abs(np.asarray(found, np.float64) - wanted).max() / np.abs(wanted).max()


@pytest.mark.parametrize("size", SIZES)
def test_is_the_convolution(size):
    inputs, kernel = problem(size)
    found = winograd.conv3x3(inputs, winograd.transform_kernel(jnp.asarray(kernel)))
    assert found.shape == (*inputs.shape[:3], 7)
    assert error(found, convolve(inputs, kernel)) < TOLERANCE


@pytest.mark.parametrize("size", SIZES)
def test_gradient_is_the_convolution_with_the_turned_kernel(size):
    inputs, kernel = problem(size)
    cotangent = np.random.default_rng(1).normal(size=(2, *size, 7)).astype(np.float32)
    transformed = winograd.transform_kernel(jnp.asarray(kernel))
    _, pull = jax.vjp(lambda x: winograd.conv3x3(x, transformed), jnp.asarray(inputs))
    wanted = convolve(cotangent, kernel[::-1, ::-1].swapaxes(2, 3))
    assert error(pull(jnp.asarray(cotangent))[0], wanted) < TOLERANCE


@pytest.mark.parametrize("pad", [0, 2])
@pytest.mark.parametrize("size", [(3, 5), (6, 6), (9, 17)])
def test_other_zeros_around(size, pad):
    """One pixel less or more on each side, and the gradient with one more or less."""
    inputs, kernel = problem(size)
    transformed = winograd.transform_kernel(jnp.asarray(kernel))
    found, pull = jax.vjp(lambda x: winograd.conv3x3(x, transformed, pad=pad), jnp.asarray(inputs))
    around = ((0, 0), (pad, pad), (pad, pad), (0, 0))
    wanted = convolve(np.pad(inputs, around), kernel)[:, 1:-1, 1:-1]
    assert found.shape == wanted.shape and error(found, wanted) < TOLERANCE
    cotangent = np.random.default_rng(1).normal(size=found.shape).astype(np.float32)
    back = ((0, 0), (2 - pad, 2 - pad), (2 - pad, 2 - pad), (0, 0))
    wanted = convolve(np.pad(cotangent, back), kernel[::-1, ::-1].swapaxes(2, 3))[:, 1:-1, 1:-1]
    assert error(pull(jnp.asarray(cotangent))[0], wanted) < TOLERANCE


def test_exact_in_float64():
    with jax.enable_x64(True):
        inputs, kernel = problem((9, 14), dtype=np.float64)
        found = winograd.conv3x3(inputs, winograd.transform_kernel(jnp.asarray(kernel)))
        assert found.dtype == np.float64
        assert error(found, convolve(inputs, kernel)) < EXACT


@pytest.mark.parametrize("strip_bytes", [1, 3e4, 1e9])
def test_strips_make_no_difference(monkeypatch, strip_bytes):
    inputs, kernel = problem((23, 10))
    monkeypatch.setattr(winograd, "STRIP_BYTES", strip_bytes)
    found = winograd.conv3x3(inputs, winograd.transform_kernel(jnp.asarray(kernel)))
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
    outputs = convolve(inputs, kernel)
    wanted = 2 * convolve(outputs, kernel[::-1, ::-1].swapaxes(2, 3))
    assert error(found.reshape(inputs.shape), wanted) < TOLERANCE


def test_agrees_with_the_plain_operator_on_many_channels():
    inputs, kernel = problem((21, 32), channels=256, filters=128, count=1)
    found = winograd.conv3x3(inputs, winograd.transform_kernel(jnp.asarray(kernel)))
    assert error(found, np.asarray(convolution.conv3x3(inputs, kernel), np.float64)) < TOLERANCE


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
