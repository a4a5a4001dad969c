"""Losses against NumPy float64, one by one and batched; their gradients in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from jax.test_util import check_grads

from nst_jax import losses, ops
from nst_jax.losses import CONVENTIONS, LossWeights, Targets

# float32 sums against float64.
SUMS = 1e-5
# jax issue 39103: jit(vmap(sum of squares)) was wrong on CPU for some shapes.
SHAPES = [(1, 1, 1, 3), (1, 7, 5, 4), (3, 8, 8, 2), (5, 3, 17, 6), (1, 33, 31, 8), (20, 4, 4, 16)]


def pairs(random, shape):
    return random.standard_normal(shape), random.standard_normal(shape)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", ["eager", "jit", "jit of vmap"])
def test_content_loss(random, convention, shape, mode):
    features, target = pairs(random, shape)

    def loss(a, b):
        return losses.content_loss(a, b, convention)

    got = run(loss, mode, jnp.float32(features), jnp.float32(target))
    expected = [
        reference.content_loss(f, t, convention) for f, t in zip(features, target, strict=True)
    ]
    assert np.asarray(got) == pytest.approx(np.array(expected), rel=SUMS)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", ["eager", "jit", "jit of vmap"])
def test_style_loss(random, convention, shape, mode):
    features, other = pairs(random, shape)
    target = np.array([reference.gram(image) for image in other])

    def loss(a, b):
        return losses.style_loss(ops.gram_matrix(a), b, convention)

    got = run(loss, mode, jnp.float32(features), jnp.float32(target))
    expected = [
        reference.style_loss(f, t, convention) for f, t in zip(features, target, strict=True)
    ]
    assert np.asarray(got) == pytest.approx(np.array(expected), rel=10 * SUMS)


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 1, 5, 3), (3, 9, 4, 3), (1, 17, 33, 3)])
@pytest.mark.parametrize("mode", ["eager", "jit", "jit of vmap"])
def test_total_variation(random, shape, mode):
    images = random.random(shape)
    got = run(losses.total_variation, mode, jnp.float32(images))
    expected = [reference.total_variation(image) for image in images]
    assert np.asarray(got) == pytest.approx(np.array(expected), rel=SUMS)


def run(loss, mode, *arguments):
    if mode == "eager":
        return loss(*arguments)
    if mode == "jit":
        return jax.jit(loss)(*arguments)
    lanes = [argument[:, None] for argument in arguments]
    return jax.jit(jax.vmap(loss))(*lanes)[:, 0]


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_style_may_come_from_an_image_of_another_size(random, convention):
    """Repeating an image changes M, and neither Gram nor loss."""
    features, other = random.random((1, 4, 6, 5)), random.random((1, 3, 3, 5))
    small, large = other, np.tile(other, (1, 2, 3, 1))
    gram = ops.gram_matrix(jnp.float32(features))
    got = [
        losses.style_loss(gram, ops.gram_matrix(jnp.float32(target)), convention)
        for target in (small, large)
    ]
    assert float(got[0][0]) == pytest.approx(float(got[1][0]), rel=SUMS)


def make_targets(random):
    content = {"conv4_2": jnp.asarray(random.random((1, 3, 4, 6)))}
    style = {
        layer: ops.gram_matrix(jnp.asarray(random.random((1, 5, 5, channels))))
        for layer, channels in (("conv1_1", 2), ("conv3_1", 3))
    }
    features = {
        "conv4_2": jnp.asarray(random.random((1, 3, 4, 6))),
        "conv1_1": jnp.asarray(random.random((1, 12, 16, 2))),
        "conv3_1": jnp.asarray(random.random((1, 6, 8, 3))),
    }
    return Targets(content, style), features


def make_weights(content=0.5, style=2.0, tv=3.0, conv1_1=0.25, conv3_1=0.75):
    return LossWeights(
        content, style, tv, {"conv4_2": 1.0}, {"conv1_1": conv1_1, "conv3_1": conv3_1}
    )


def test_total_loss_is_the_weighted_sum(random):
    targets, features = make_targets(random)
    images = jnp.asarray(random.random((1, 12, 16, 3)))
    got = losses.total_loss(images, features, targets, make_weights())
    got = jax.tree.map(float, jax.tree.map(lambda value: value[0], got))
    layers = got.style_layers
    assert got.style == pytest.approx(0.25 * layers["conv1_1"] + 0.75 * layers["conv3_1"], rel=SUMS)
    assert got.total == pytest.approx(0.5 * got.content + 2 * got.style + 3 * got.tv, rel=SUMS)


def test_a_layer_of_weight_zero_has_no_gradient(random):
    targets, features = make_targets(random)
    images = jnp.asarray(random.random((1, 12, 16, 3)))

    def total(features):
        weights = make_weights(conv3_1=0.0)
        return losses.total_loss(images, features, targets, weights).total[0]

    gradient = jax.grad(total)(features)
    assert np.all(np.asarray(gradient["conv3_1"]) == 0)
    assert np.any(np.asarray(gradient["conv1_1"]) != 0)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_gradients_of_the_total(random, convention):
    with jax.enable_x64(True):
        targets, features = make_targets(random)
        images = jnp.asarray(random.random((1, 12, 16, 3)))

        def total(images, features):
            return losses.total_loss(images, features, targets, make_weights(), convention).total[0]

        check_grads(total, (images, features), order=1, modes=["rev"], atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("shape", SHAPES[1:4])
@pytest.mark.parametrize("mode", ["eager", "jit", "jit of vmap"])
def test_guided_style_loss(random, convention, shape, mode):
    count, channels = shape[0], shape[-1]
    features, guides = random.standard_normal(shape), random.random((count, 2, *shape[1:3]))
    targets = random.standard_normal((count, 2, channels, channels))
    weights = random.random((count, 2))

    def loss(features, guides, targets, weights):
        grams = ops.guided_gram_matrix(features, guides)
        return losses.guided_style_loss(grams, targets, weights, convention)

    everything = features, guides, targets, weights
    got = run(loss, mode, *map(jnp.float32, everything))
    expected = [
        reference.guided_style_loss(*each, convention) for each in zip(*everything, strict=True)
    ]
    assert np.asarray(got) == pytest.approx(np.array(expected), rel=10 * SUMS)


def guide(targets, features, random, regions=2):
    """The same targets for two regions, the style of the second of another image."""
    guides, style = {}, {}
    for layer, gram in targets.style.items():
        maps = random.random((1, regions, *features[layer].shape[1:3]))
        guides[layer] = jnp.asarray(maps / np.sqrt(np.sum(maps**2, axis=(2, 3), keepdims=True)))
        style[layer] = jnp.stack([gram * (1 + region) for region in range(regions)], axis=1)
    weights = jnp.asarray(np.linspace(0.3, 0.7, regions)[None])
    return Targets(targets.content, style, guides, dict.fromkeys(guides, weights))


def test_one_region_of_ones_changes_no_loss(random):
    targets, features = make_targets(random)
    images = jnp.asarray(random.random((1, 12, 16, 3)))
    sizes = {"conv1_1": (12, 16), "conv3_1": (6, 8)}
    whole = Targets(
        targets.content,
        {layer: gram[:, None] for layer, gram in targets.style.items()},
        {layer: jnp.full((1, 1, h, w), (h * w) ** -0.5) for layer, (h, w) in sizes.items()},
        dict.fromkeys(sizes, jnp.ones((1, 1))),
    )
    got = losses.total_loss(images, features, whole, make_weights())
    expected = losses.total_loss(images, features, targets, make_weights())
    for term, plain in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert np.asarray(term) == pytest.approx(np.asarray(plain), rel=SUMS)


def test_a_region_of_weight_zero_has_no_gradient(random):
    """Each region is one half of the features."""
    targets, features = make_targets(random)
    targets = guide(targets, features, random)
    halves = np.zeros((1, 2, 12, 16))
    halves[:, 0, :, :8] = halves[:, 1, :, 8:] = 96**-0.5
    targets = targets._replace(
        style={"conv1_1": targets.style["conv1_1"]},
        guides={"conv1_1": jnp.asarray(halves)},
        region_weights={"conv1_1": jnp.array([[1.0, 0.0]])},
    )
    images = jnp.asarray(random.random((1, 12, 16, 3)))

    def style(features):
        return losses.total_loss(images, features, targets, make_weights()).style[0]

    gradient = np.asarray(jax.grad(style)(features)["conv1_1"])
    assert np.all(gradient[:, :, 8:] == 0)
    assert np.all(gradient[:, :, :8] != 0)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_gradients_of_the_total_with_regions(random, convention):
    with jax.enable_x64(True):
        targets, features = make_targets(random)
        targets = guide(targets, features, random)
        images = jnp.asarray(random.random((1, 12, 16, 3)))

        def total(images, features):
            return losses.total_loss(images, features, targets, make_weights(), convention).total[0]

        check_grads(total, (images, features), order=1, modes=["rev"], atol=1e-7, rtol=1e-6)


def test_bfloat16_features_are_summed_in_float32():
    """In bfloat16 a sum of ones stops growing at 256."""
    features = jnp.ones((1, 64, 64, 4), jnp.bfloat16)
    loss = losses.content_loss(features, jnp.zeros_like(features), "equations")
    assert loss.dtype == jnp.float32
    assert float(loss[0]) == 64 * 64 * 4 / 2
