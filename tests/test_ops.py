"""The operators against NumPy float64, and their gradients against central differences."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from jax.test_util import check_grads

from nst_jax import ops

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
    function = jax.jit(ops.conv3x3) if jit else ops.conv3x3
    got = function(jnp.float32(images), jnp.float32(kernel))
    expected = [reference.convolve(image, kernel, 0.0) for image in images]
    assert np.asarray(got) == pytest.approx(np.array(expected), abs=SUMS * 9 * shape[3])


@pytest.mark.parametrize("shape", SHAPES)
def test_conv3x3_gradients(random, shape):
    """Of the inputs and of the kernel, in float64."""
    with jax.enable_x64(True):
        images, kernel = (jnp.asarray(array) for array in arrays(random, shape))
        check_grads(ops.conv3x3, (images, kernel), order=1, modes=["rev"], atol=1e-6, rtol=1e-6)


def test_conv3x3_under_vmap_and_scan(random):
    images, kernel = (jnp.float32(a) for a in arrays(random, (4, 6, 5, 3, 3)))

    def loss(image):
        return jnp.sum(jnp.sin(ops.conv3x3(image[None], kernel)))

    each = np.stack([jax.grad(loss)(image) for image in images])
    assert np.asarray(jax.vmap(jax.grad(loss))(images)) == pytest.approx(each, abs=1e-5)
    _, scanned = jax.lax.scan(lambda _, image: (None, jax.grad(loss)(image)), None, images)
    assert np.asarray(scanned) == pytest.approx(each, abs=1e-5)


@pytest.mark.parametrize("pad", [0, 1, 2])
@pytest.mark.parametrize("shape", [(1, 5, 7, 3, 4), (2, 3, 3, 4, 2)])
def test_conv3x3_with_other_zeros_around(random, shape, pad):
    """One pixel more or less of them on each side; the gradients in float64."""
    images, kernel = arrays(random, shape)
    wide = [np.pad(image, ((pad, pad), (pad, pad), (0, 0))) for image in images]
    expected = [reference.convolve(image, kernel, 0.0)[1:-1, 1:-1] for image in wide]
    with jax.enable_x64(True):

        def convolve(images, kernel):
            return ops.conv3x3(images, kernel, pad=pad)

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
        assert np.array_equal(ops.pad_border(images, padding), expected)
        pad = partial(ops.pad_border, padding=padding)
        check_grads(pad, (images,), order=1, modes=["rev"], atol=1e-6, rtol=1e-6)


POOLS = [("average", ops.average_pool2x2), ("max", ops.max_pool2x2)]


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
        check_grads(pool, (images,), order=1, modes=["rev"], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 5, 7, 4), (3, 16, 17, 2)])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_gram_matrix(random, shape, dtype):
    features = jnp.asarray(random.standard_normal(shape), dtype)
    expected = np.array([reference.gram(image) for image in np.asarray(features, np.float64)])
    gram = ops.gram_matrix(features)
    assert gram.dtype == jnp.float32
    assert np.asarray(gram) == pytest.approx(expected, abs=1e-6)


def test_gram_matrix_of_many_large_features(random):
    """At 512 px 4·M²·C² overflows int32; and sums of 10⁵ products must stay exact."""
    features = 1e4 * random.random((1, 300, 300, 2), np.float32)
    expected = reference.gram(features[0].astype(np.float64))
    assert np.asarray(ops.gram_matrix(features)[0]) == pytest.approx(expected, rel=10 * SUMS)
