"""Gram matrices against NumPy float64, and their gradients against central differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from jax.test_util import check_grads

from nst_jax.network import gram

# float32 sums of up to 10³ products against float64.
SUMS = 1e-5
# The same products, summed once with and once without weights: rounding.
SAME = 2e-6


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 5, 7, 4), (3, 16, 17, 2)])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_gram_matrix(random, shape, dtype):
    features = jnp.asarray(random.standard_normal(shape), dtype)
    expected = np.array([reference.gram(image) for image in np.asarray(features, np.float64)])
    got = gram.gram_matrix(features)
    assert got.dtype == jnp.float32
    assert np.asarray(got) == pytest.approx(expected, abs=1e-6)


def test_gram_matrix_of_many_large_features(random):
    """At 512 px 4·M²·C² overflows int32; and sums of 10⁵ products must stay exact."""
    features = 1e4 * random.random((1, 300, 300, 2), np.float32)
    expected = reference.gram(features[0].astype(np.float64))
    assert np.asarray(gram.gram_matrix(features)[0]) == pytest.approx(expected, rel=10 * SUMS)


GUIDED = [((1, 7, 5, 4), 1), ((3, 8, 8, 2), 2), ((1, 33, 31, 8), 5), ((2, 1, 1, 3), 1)]


def features_and_guides(random, shape, regions):
    count, height, width, _ = shape
    return random.random(shape), random.random((count, regions, height, width))


@pytest.mark.parametrize(("shape", "regions"), GUIDED)
@pytest.mark.parametrize("mode", ["eager", "jit", "jit of vmap"])
@pytest.mark.parametrize("block", [gram.BLOCK, 48])
def test_guided_gram_matrix(random, shape, regions, mode, block, monkeypatch):
    """In one block of positions, and in several with a rest."""
    monkeypatch.setattr(gram, "BLOCK", block)
    features, guides = features_and_guides(random, shape, regions)
    arguments = jnp.float32(features), jnp.float32(guides)

    def function(*arguments):  # of its own: `jax.jit` of one function would remember its blocks
        return gram.guided_gram_matrix(*arguments)

    if mode == "jit of vmap":
        got = jax.jit(jax.vmap(function))(*(array[:, None] for array in arguments))[:, 0]
    else:
        got = (function if mode == "eager" else jax.jit(function))(*arguments)
    expected = [
        [reference.guided_gram(image, guide) for guide in maps]
        for image, maps in zip(features, guides, strict=True)
    ]
    assert np.asarray(got) == pytest.approx(np.array(expected), rel=SUMS)


def test_maps_may_serve_all_images(random):
    features, guides = features_and_guides(random, (3, 5, 4, 2), 2)
    got = gram.guided_gram_matrix(jnp.asarray(features), jnp.asarray(guides[:1]))
    expected = reference.guided_gram(features[2], guides[0, 1])
    assert np.asarray(got[2, 1]) == pytest.approx(expected, rel=SUMS)


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 17, 33, 5), (1, 64, 48, 16)])
def test_one_region_of_ones_is_the_plain_gram(random, shape):
    features = jnp.float32(random.random(shape))
    norm = np.sqrt(shape[1] * shape[2])
    guides = jnp.full((1, 1, *shape[1:3]), 1 / norm, jnp.float32)
    got = gram.guided_gram_matrix(features, guides)
    assert np.asarray(got[:, 0]) == pytest.approx(np.asarray(gram.gram_matrix(features)), rel=SAME)


@pytest.mark.parametrize("block", [gram.BLOCK, 18])
def test_gradients_of_the_guided_gram(random, block, monkeypatch):
    """With respect to the features and to the maps, by central differences in float64."""
    monkeypatch.setattr(gram, "BLOCK", block)
    with jax.enable_x64(True):
        arrays = map(jnp.asarray, features_and_guides(random, (2, 5, 4, 3), 2))
        function = jax.jit(lambda *arrays: gram.guided_gram_matrix(*arrays))  # for this block
        check_grads(function, arrays, order=1, modes=["rev"], rtol=1e-6)


def test_guided_gram_of_bfloat16_is_summed_in_float32():
    """In bfloat16 a sum of ones stops growing at 256."""
    features, guides = jnp.ones((1, 64, 64, 4), jnp.bfloat16), jnp.ones((1, 1, 64, 64))
    grams = gram.guided_gram_matrix(features, guides)
    assert grams.dtype == jnp.float32
    assert np.all(np.asarray(grams) == 64 * 64)


@pytest.mark.parametrize("lanes", [False, True])
def test_what_is_observed_changes_neither_values_nor_gradients(random, lanes):
    """Σ sin(x) + Σ (x·w)²: the gradient in x and w is a closed form."""
    with jax.enable_x64(True):
        x, w = random.standard_normal((2, 3, 4)), random.standard_normal((2, 4))

        def loss(x, w):
            onward, product = gram.observe(lambda x, w: jnp.dot(x, w), x, w)
            return jnp.sum(jnp.sin(onward)) + jnp.sum(product**2)

        gradient = jax.jit(jax.grad(loss, argnums=(0, 1)))
        got = jax.vmap(gradient)(x, w) if lanes else [np.stack(g) for g in zip(
            *(gradient(*one) for one in zip(x, w, strict=True)), strict=True)]  # fmt: skip
    product = np.einsum("nij,nj->ni", x, w)
    expected = np.cos(x) + 2 * product[:, :, None] * w[:, None]
    assert np.asarray(got[0]) == pytest.approx(expected, abs=1e-12)
    assert np.asarray(got[1]) == pytest.approx(2 * np.einsum("ni,nij->nj", product, x), abs=1e-12)
