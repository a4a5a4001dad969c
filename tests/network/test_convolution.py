"""The operators against NumPy float64, and their gradients against central differences."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from jax.test_util import check_grads

from nst_jax.network import convolution

# float32 sums of 9·I products against float64.
SUMS = 1e-5
SHAPES = [(1, 5, 7, 3, 4), (3, 8, 8, 2, 5), (2, 1, 9, 4, 1), (1, 17, 33, 3, 2)]


def arrays(random, shape):
    count, height, width, inputs, filters = shape
    return (
        random.standard_normal((count, height, width, inputs)),
        random.standard_normal((3, 3, inputs, filters)),
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("jit", [False, True])
def test_conv3x3(random, shape, jit):
    images, kernel = arrays(random, shape)
    function = jax.jit(convolution.conv3x3) if jit else convolution.conv3x3
    got = function(jnp.float32(images), jnp.float32(kernel))
    expected = [reference.convolve(image, kernel, 0.0) for image in images]
    assert np.asarray(got) == pytest.approx(np.array(expected), abs=SUMS * 9 * shape[3])


@pytest.mark.parametrize("shape", SHAPES)
def test_conv3x3_gradients(random, shape):
    """Of the inputs and of the kernel, in float64."""
    with jax.enable_x64(True):
        images, kernel = (jnp.asarray(array) for array in arrays(random, shape))
        check_grads(
            jax.jit(convolution.conv3x3),
            (images, kernel),
            order=1,
            modes=["rev"],
            atol=1e-6,
            rtol=1e-6,
        )


def test_conv3x3_under_vmap_and_scan(random):
    images, kernel = (jnp.float32(a) for a in arrays(random, (4, 6, 5, 3, 3)))

    def loss(image):
        return jnp.sum(jnp.sin(convolution.conv3x3(image[None], kernel)))

    gradient_of = jax.jit(jax.grad(loss))
    each = np.stack([gradient_of(image) for image in images])
    assert np.asarray(jax.jit(jax.vmap(gradient_of))(images)) == pytest.approx(each, abs=1e-5)
    _, scanned = jax.lax.scan(lambda _, image: (None, gradient_of(image)), None, images)
    assert np.asarray(scanned) == pytest.approx(each, abs=1e-5)


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_bias_relu(random, kept, dtype):
    inputs = jnp.asarray(random.standard_normal((2, 3, 4, 5)), dtype)
    bias = jnp.asarray(random.standard_normal(5), dtype)
    got = jax.jit(convolution.bias_relu, static_argnums=2)(inputs, bias, kept)
    wide = np.asarray(inputs, np.float64) + np.asarray(bias, np.float64)
    assert got.dtype == dtype
    assert np.asarray(got, np.float64) == pytest.approx(
        np.maximum(wide, 0), rel=float(jnp.finfo(dtype).eps)
    )


@pytest.mark.parametrize("kept", [False, True])
def test_bias_relu_gradients(random, kept):
    """In float64, away from the edge; of lanes, too."""
    with jax.enable_x64(True):
        inputs = jnp.asarray(random.uniform(0.1, 1, (2, 3, 4, 5)))
        inputs *= jnp.asarray(random.choice([-1.0, 1.0], inputs.shape))
        bias = jnp.asarray(random.uniform(-0.05, 0.05, 5))

        def activate(inputs, bias):
            return convolution.bias_relu(inputs, bias, kept)

        check_grads(jax.jit(activate), (inputs, bias), order=1, modes=["rev"], atol=1e-6, rtol=1e-6)
        lanes = jax.jit(jax.vmap(jax.grad(lambda x: activate(x, bias).sum())))(inputs[:, None])
        expected = np.float64(np.asarray(inputs) + np.asarray(bias) > 0)
        assert np.asarray(lanes[:, 0]) == pytest.approx(expected, abs=0)


def test_the_edge_of_the_relu_has_no_gradient():
    """As in Caffe, PyTorch and the paper's eq. 2 for F = 0."""
    gradient = jax.grad(lambda x: convolution.bias_relu(x, jnp.zeros(1)).sum())(
        jnp.zeros((1, 1, 1, 1))
    )
    assert float(gradient.squeeze()) == 0


@pytest.mark.parametrize("pad", [0, 1, 2])
@pytest.mark.parametrize("shape", [(1, 5, 7, 3, 4), (2, 3, 3, 4, 2)])
def test_conv3x3_with_other_zeros_around(random, shape, pad):
    """One pixel more or less of them on each side; the gradients in float64."""
    images, kernel = arrays(random, shape)
    wide = [np.pad(image, ((pad, pad), (pad, pad), (0, 0))) for image in images]
    expected = [reference.convolve(image, kernel, 0.0)[1:-1, 1:-1] for image in wide]
    with jax.enable_x64(True):

        @jax.jit
        def convolve(images, kernel):
            return convolution.conv3x3(images, kernel, pad=pad)

        images, kernel = jnp.asarray(images), jnp.asarray(kernel)
        assert np.asarray(convolve(images, kernel)) == pytest.approx(np.array(expected), abs=1e-12)
        check_grads(convolve, (images, kernel), order=1, modes=["rev"], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("padding", ["reflect", "replicate"])
@pytest.mark.parametrize("shape", [(2, 5, 4, 3), (1, 2, 2, 1), (3, 1, 4, 2), (1, 1, 1, 2)])
def test_pad_border(random, padding, shape):
    """As NumPy pads, and the gradient folds the border back onto what it was made from."""
    images = random.standard_normal(shape)
    expected = [
        np.pad(image, ((1, 1), (1, 1), (0, 0)), reference.PADDINGS[padding]) for image in images
    ]
    with jax.enable_x64(True):
        images = jnp.asarray(images)
        pad = jax.jit(partial(convolution.pad_border, padding=padding))
        assert np.array_equal(pad(images), expected)
        check_grads(pad, (images,), order=1, modes=["rev"], atol=1e-6, rtol=1e-6)


POOLS = [("average", convolution.average_pool2x2), ("max", convolution.max_pool2x2)]


@pytest.mark.parametrize(("kind", "pool"), POOLS)
@pytest.mark.parametrize("shape", [(1, 4, 4, 1), (2, 5, 7, 3), (1, 2, 3, 2), (3, 9, 2, 4)])
def test_pooling(random, kind, pool, shape):
    images = random.standard_normal(shape)
    expected = np.array([reference.pool(image, kind) for image in images])
    assert np.asarray(pool(jnp.float32(images))) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("kind", "pool"), POOLS)
def test_pooling_gradients(random, kind, pool):
    with jax.enable_x64(True):
        images = jnp.asarray(random.standard_normal((2, 5, 6, 2)))
        check_grads(jax.jit(pool), (images,), order=1, modes=["rev"], atol=1e-6, rtol=1e-6)
