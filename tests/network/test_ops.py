"""The operators against NumPy float64, and their gradients against central differences."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from jax.test_util import check_grads

from nst_jax.network import ops

# float32 sums of 9·I products against float64.
SUMS = 1e-5
# The same products, summed once with and once without weights: rounding.
SAME = 2e-6
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


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_bias_relu(random, kept, dtype):
    inputs = jnp.asarray(random.standard_normal((2, 3, 4, 5)), dtype)
    bias = jnp.asarray(random.standard_normal(5), dtype)
    got = jax.jit(ops.bias_relu, static_argnums=2)(inputs, bias, kept)
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
            return ops.bias_relu(inputs, bias, kept)

        check_grads(activate, (inputs, bias), order=1, modes=["rev"], atol=1e-6, rtol=1e-6)
        lanes = jax.vmap(jax.grad(lambda x: activate(x, bias).sum()))(inputs[:, None])
        expected = np.float64(np.asarray(inputs) + np.asarray(bias) > 0)
        assert np.asarray(lanes[:, 0]) == pytest.approx(expected, abs=0)


def test_the_edge_of_the_relu_has_no_gradient():
    """As in Caffe, PyTorch and the paper's eq. 2 for F = 0."""
    gradient = jax.grad(lambda x: ops.bias_relu(x, jnp.zeros(1)).sum())(jnp.zeros((1, 1, 1, 1)))
    assert float(gradient.squeeze()) == 0


@pytest.mark.parametrize("lanes", [False, True])
def test_what_is_observed_changes_neither_values_nor_gradients(random, lanes):
    """Σ sin(x) + Σ (x·w)²: the gradient in x and w is a closed form."""
    with jax.enable_x64(True):
        x, w = random.standard_normal((2, 3, 4)), random.standard_normal((2, 4))

        def loss(x, w):
            onward, product = ops.observe(lambda x, w: jnp.dot(x, w), x, w)
            return jnp.sum(jnp.sin(onward)) + jnp.sum(product**2)

        gradient = jax.grad(loss, argnums=(0, 1))
        got = jax.vmap(gradient)(x, w) if lanes else [np.stack(g) for g in zip(
            *(gradient(*one) for one in zip(x, w, strict=True)), strict=True)]  # fmt: skip
    product = np.einsum("nij,nj->ni", x, w)
    expected = np.cos(x) + 2 * product[:, :, None] * w[:, None]
    assert np.asarray(got[0]) == pytest.approx(expected, abs=1e-12)
    assert np.asarray(got[1]) == pytest.approx(2 * np.einsum("ni,nij->nj", product, x), abs=1e-12)


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


GUIDED = [((1, 7, 5, 4), 1), ((3, 8, 8, 2), 2), ((1, 33, 31, 8), 5), ((2, 1, 1, 3), 1)]


def features_and_guides(random, shape, regions):
    count, height, width, _ = shape
    return random.random(shape), random.random((count, regions, height, width))


@pytest.mark.parametrize(("shape", "regions"), GUIDED)
@pytest.mark.parametrize("mode", ["eager", "jit", "jit of vmap"])
@pytest.mark.parametrize("block", [ops.BLOCK, 48])
def test_guided_gram_matrix(random, shape, regions, mode, block, monkeypatch):
    """In one block of positions, and in several with a rest."""
    monkeypatch.setattr(ops, "BLOCK", block)
    features, guides = features_and_guides(random, shape, regions)
    arguments = jnp.float32(features), jnp.float32(guides)
    gram = ops.guided_gram_matrix
    if mode == "jit of vmap":
        got = jax.jit(jax.vmap(gram))(*(array[:, None] for array in arguments))[:, 0]
    else:
        got = (gram if mode == "eager" else jax.jit(gram))(*arguments)
    expected = [
        [reference.guided_gram(image, guide) for guide in maps]
        for image, maps in zip(features, guides, strict=True)
    ]
    assert np.asarray(got) == pytest.approx(np.array(expected), rel=SUMS)


def test_maps_may_serve_all_images(random):
    features, guides = features_and_guides(random, (3, 5, 4, 2), 2)
    got = ops.guided_gram_matrix(jnp.asarray(features), jnp.asarray(guides[:1]))
    expected = reference.guided_gram(features[2], guides[0, 1])
    assert np.asarray(got[2, 1]) == pytest.approx(expected, rel=SUMS)


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 17, 33, 5), (1, 64, 48, 16)])
def test_one_region_of_ones_is_the_plain_gram(random, shape):
    features = jnp.float32(random.random(shape))
    norm = np.sqrt(shape[1] * shape[2])
    guides = jnp.full((1, 1, *shape[1:3]), 1 / norm, jnp.float32)
    got = ops.guided_gram_matrix(features, guides)
    assert np.asarray(got[:, 0]) == pytest.approx(np.asarray(ops.gram_matrix(features)), rel=SAME)


@pytest.mark.parametrize("block", [ops.BLOCK, 18])
def test_gradients_of_the_guided_gram(random, block, monkeypatch):
    """With respect to the features and to the maps, by central differences in float64."""
    monkeypatch.setattr(ops, "BLOCK", block)
    with jax.enable_x64(True):
        arrays = map(jnp.asarray, features_and_guides(random, (2, 5, 4, 3), 2))
        check_grads(ops.guided_gram_matrix, arrays, order=1, modes=["rev"], rtol=1e-6)


def test_guided_gram_of_bfloat16_is_summed_in_float32():
    """In bfloat16 a sum of ones stops growing at 256."""
    features, guides = jnp.ones((1, 64, 64, 4), jnp.bfloat16), jnp.ones((1, 1, 64, 64))
    grams = ops.guided_gram_matrix(features, guides)
    assert grams.dtype == jnp.float32
    assert np.all(np.asarray(grams) == 64 * 64)
