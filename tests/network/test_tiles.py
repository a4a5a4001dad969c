"""An image laid out for a TPU, against the plain network (itself held against NumPy elsewhere)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from nst_jax import Settings
from nst_jax.engine.program import make_program
from nst_jax.network import row_bands, tiles, vgg
from nst_jax.network.gram import gram_matrix, guided_gram_matrix

EXACT = 1e-11  # the same products in float64, summed in another order
STYLE = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")


def values_and_gradient(observe, network, params, images, observers):
    """What is observed of images, and the gradient of a sum over all of it."""

    def total(images):
        outputs = observe(network, params, images, observers)
        # The layers of this network differ by powers of ten.
        shares = [leaf / lax.stop_gradient(leaf.max()) for leaf in jax.tree.leaves(outputs)]
        return sum(jnp.sum(jnp.sin(n + share)) for n, share in enumerate(shares)), outputs

    gradient, outputs = jax.jit(jax.grad(total, has_aux=True))(images)
    return outputs, gradient


def check_same(network, params, images, observers, observe=tiles.observe_features):
    plain = values_and_gradient(vgg.observe_features, network, params, images, observers)
    tiled = values_and_gradient(observe, network.clone(tiled=True), params, images, observers)
    assert jax.tree.structure(tiled) == jax.tree.structure(plain)
    for one, other in zip(jax.tree.leaves(tiled), jax.tree.leaves(plain), strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, EXACT, EXACT * jnp.abs(other).max())


def double(tree):
    return jax.tree.map(lambda array: jnp.asarray(array, jnp.float64), tree)


def network_of(weights, layers, **options):
    return vgg.VGG("vgg16", layers, weights.mean, dtype=jnp.float64, **options)


@pytest.mark.parametrize(
    ("shape", "layers"),
    [
        ((128, 32), ("conv4_2",)),  # the same bands from block to block
        ((37, 51), ("conv3_2",)),  # odd sides, rows beyond the last; plain from the third block on
        ((50, 66), ("conv1_1", "conv2_2", "conv4_1")),  # two columns, then an odd width
        ((16, 16), ("conv5_1",)),
        ((9, 40), ("conv2_1",)),  # too low for bands
    ],
)
def test_values_and_gradients(narrow, random, shape, layers):
    with jax.enable_x64(True):
        deepest = max((*layers, "conv3_1"))
        observers = {name: (gram_matrix,) for name in STYLE if name <= deepest}
        images = jnp.asarray(random.random((1, *shape, 3)))
        check_same(network_of(narrow, layers), double(narrow.params), images, observers)


def test_regions_and_low_memory(narrow, random, monkeypatch):
    monkeypatch.setattr(row_bands, "MIN_ROWS", 8)
    monkeypatch.setattr(row_bands, "BAND_NUMBERS", 0)
    with jax.enable_x64(True):
        images = jnp.asarray(random.random((1, 70, 34, 3)))
        observers = {
            layer: (guided_gram_matrix, jnp.asarray(random.random((1, 2, 70 >> n, 34 >> n))))
            for n, layer in enumerate(STYLE[:3])
        }
        network, params = network_of(narrow, ("conv3_2",)), double(narrow.params)
        for observe in (tiles.observe_features, row_bands.observe_features):
            check_same(network, params, images, observers, observe)


@pytest.mark.parametrize("options", [{"padding": "reflect"}, {"pooling": "max"}, {"count": 2}])
def test_what_goes_as_it_is(narrow, random, options):
    with jax.enable_x64(True):
        images = jnp.asarray(random.random((options.pop("count", 1), 20, 18, 3)))
        network = network_of(narrow, ("conv2_1",), **options)
        check_same(network, double(narrow.params), images, {"conv1_1": (gram_matrix,)})


def test_it_is_the_way_of_tpus_only(narrow):
    for platform in ("cpu", "gpu", "tpu"):
        network = make_program(Settings(), narrow, platform).network(())
        assert network.tiled == (platform == "tpu")


def test_bands_are_in_the_batch_and_lanes_are_full(normalized, monkeypatch):
    shapes = []

    def convolved(tiled, kernel, *how):
        shapes.append((*tiled.shape[:2], kernel.shape[-1]))
        return convolve(tiled, kernel, *how)

    convolve = tiles.conv3x3
    monkeypatch.setattr(tiles, "conv3x3", convolved)
    network = vgg.VGG("vgg16", ("conv3_1",), normalized.mean, tiled=True)
    image = jax.ShapeDtypeStruct((1, 50, 70, 3), jnp.float32)
    jax.eval_shape(lambda x: tiles.observe_features(network, normalized.params, x, {}), image)
    # What the first block leaves, 25 rows of 8·4, and the second, 12 of 8·2, stays in its bands.
    assert shapes == [(8, 8, 128), (8, 8, 128), (8, 4, 128), (8, 4, 128), (8, 2, 256)]
