"""Losses against NumPy float64, one by one and batched; their gradients in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from jax.test_util import check_grads

from nst_jax.losses import terms as losses
from nst_jax.losses.terms import CONVENTIONS, LossWeights, Targets
from nst_jax.network.gram import gram_matrix, guided_gram_matrix

# float32 sums against float64.
SUMS = 1e-5
# jax issue 39103: jit(vmap(sum of squares)) was wrong on CPU for some shapes.
SHAPES = [(1, 1, 1, 3), (1, 7, 5, 4), (3, 8, 8, 2), (5, 3, 17, 6), (1, 33, 31, 8), (20, 4, 4, 16)]
MODES = ("eager", "jit", "jit of vmap")


def pairs(random, shape):
    return random.standard_normal(shape), random.standard_normal(shape)


def in_all_conventions(loss):
    """{convention: loss}, of a loss that takes the convention last."""
    return lambda *arguments: {one: loss(*arguments, one) for one in CONVENTIONS}


def run(loss, mode, *arguments):
    """What the loss makes of these arrays in float32, an axis of images along each."""
    arguments = [np.float32(argument) for argument in arguments]
    if mode == "eager":
        return jax.device_get(loss(*map(jnp.asarray, arguments)))
    if mode == "jit":
        return jax.device_get(jax.jit(loss)(*arguments))
    lanes = [argument[:, None] for argument in arguments]
    return jax.tree.map(lambda each: np.asarray(each[:, 0]), jax.jit(jax.vmap(loss))(*lanes))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", MODES)
def test_content_loss(random, shape, mode):
    features, target = pairs(random, shape)
    got = run(in_all_conventions(losses.content_loss), mode, features, target)
    for convention in CONVENTIONS:
        expected = [
            reference.content_loss(f, t, convention) for f, t in zip(features, target, strict=True)
        ]
        assert got[convention] == pytest.approx(np.array(expected), rel=SUMS), convention


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", MODES)
def test_style_loss(random, shape, mode):
    features, other = pairs(random, shape)
    target = np.array([reference.gram(image) for image in other])

    def loss(a, b, convention):
        return losses.style_loss(gram_matrix(a), b, convention)

    got = run(in_all_conventions(loss), mode, features, target)
    for convention in CONVENTIONS:
        expected = [
            reference.style_loss(f, t, convention) for f, t in zip(features, target, strict=True)
        ]
        assert got[convention] == pytest.approx(np.array(expected), rel=10 * SUMS), convention


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 1, 5, 3), (3, 9, 4, 3), (1, 17, 33, 3)])
@pytest.mark.parametrize("mode", MODES)
def test_total_variation(random, shape, mode):
    images = random.random(shape)
    got = run(losses.total_variation, mode, images)
    expected = [reference.total_variation(image) for image in images]
    assert got == pytest.approx(np.array(expected), rel=SUMS)


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 1, 5, 3), (3, 9, 4, 3), (1, 17, 33, 3)])
@pytest.mark.parametrize("mode", MODES)
def test_absolute_variation(random, shape, mode):
    images = random.random(shape)
    images[:, :, ::3] = 0.5  # among them neighbours that are equal
    got = run(losses.absolute_variation, mode, images)
    expected = [reference.absolute_variation(image) for image in images]
    assert got == pytest.approx(np.array(expected), rel=SUMS)


def test_absolute_variation_of_small_differences(random):
    """Far below ε they count as d² / (2 ε), to all digits; a flat image counts nothing."""
    images = 1e-4 * random.random((1, 8, 8, 3)) / 255
    got = losses.absolute_variation(jnp.float32(images))
    expected = reference.total_variation(images[0]) * 255 / 2
    assert float(got[0]) == pytest.approx(expected, rel=SUMS)
    assert float(losses.absolute_variation(jnp.full((1, 8, 8, 3), 0.3))[0]) == 0


def test_absolute_variation_counts_an_edge_by_its_height():
    """One step or ten small ones make the same; of squares ten make a tenth."""
    ramp, edge = np.zeros((1, 1, 64, 3)), np.zeros((1, 1, 64, 3))
    ramp[0, 0] = np.linspace(-2.65, 3.65, 64).clip(0, 1)[:, None]
    edge[0, 0, 32:] = 1
    both = jnp.float32(np.concatenate([ramp, edge]))
    smooth, sharp = losses.absolute_variation(both)
    assert float(smooth) == pytest.approx(float(sharp), rel=0.05)
    smooth, sharp = losses.total_variation(both)
    assert float(smooth) < 0.12 * float(sharp)


def test_gradient_of_the_absolute_variation(random):
    """In float64; of random images, and where all neighbours are equal."""
    with jax.enable_x64(True):
        for images in (random.random((2, 5, 6, 3)), np.full((1, 4, 4, 3), 0.25)):
            check_grads(
                jax.jit(losses.absolute_variation),
                (jnp.asarray(images),),
                order=1,
                modes=["rev"],
                atol=1e-7,
                rtol=1e-6,
                eps=1e-6,
            )


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_style_may_come_from_an_image_of_another_size(random, convention):
    """Repeating an image changes M, and neither Gram nor loss."""
    features, other = random.random((1, 4, 6, 5)), random.random((1, 3, 3, 5))
    small, large = other, np.tile(other, (1, 2, 3, 1))
    gram = gram_matrix(jnp.float32(features))
    got = [
        losses.style_loss(gram, gram_matrix(jnp.float32(target)), convention)
        for target in (small, large)
    ]
    assert float(got[0][0]) == pytest.approx(float(got[1][0]), rel=SUMS)


def make_targets(random):
    content = {"conv4_2": jnp.asarray(random.random((1, 3, 4, 6)))}
    style = {
        layer: gram_matrix(jnp.asarray(random.random((1, 5, 5, channels))))
        for layer, channels in (("conv1_1", 2), ("conv3_1", 3))
    }
    features = {
        "conv4_2": jnp.asarray(random.random((1, 3, 4, 6))),
        "conv1_1": jnp.asarray(random.random((1, 12, 16, 2))),
        "conv3_1": jnp.asarray(random.random((1, 6, 8, 3))),
    }
    return Targets(content, style), features


def make_weights(content=0.5, style=2.0, tv=3.0, conv1_1=0.25, conv3_1=0.75, tv_l1=4.0):
    style_layers = {"conv1_1": conv1_1, "conv3_1": conv3_1}
    return LossWeights(content, style, tv, {"conv4_2": 1.0}, style_layers, tv_l1)


def test_total_loss_is_the_weighted_sum(random):
    targets, features = make_targets(random)
    images = jnp.asarray(random.random((1, 12, 16, 3)))
    got = losses.total_loss(images, features, targets, make_weights())
    got = jax.tree.map(float, jax.tree.map(lambda value: value[0], got))
    layers = got.style_layers
    assert got.style == pytest.approx(0.25 * layers["conv1_1"] + 0.75 * layers["conv3_1"], rel=SUMS)
    terms = (0.5 * got.content, 2 * got.style, 3 * got.tv, 4 * got.tv_l1)
    assert min(terms) > 0 and got.total == pytest.approx(sum(terms), rel=SUMS)


def test_a_layer_of_weight_zero_has_no_gradient(random):
    targets, features = make_targets(random)
    images = jnp.asarray(random.random((1, 12, 16, 3)))

    def total(features):
        weights = make_weights(conv3_1=0.0)
        return losses.total_loss(images, features, targets, weights).total[0]

    gradient = jax.jit(jax.grad(total))(features)
    assert np.all(np.asarray(gradient["conv3_1"]) == 0)
    assert np.any(np.asarray(gradient["conv1_1"]) != 0)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_gradients_of_the_total(random, convention):
    with jax.enable_x64(True):
        targets, features = make_targets(random)
        images = jnp.asarray(random.random((1, 12, 16, 3)))

        def total(images, features):
            return losses.total_loss(images, features, targets, make_weights(), convention).total[0]

        # A short step: absolute differences are smoothed over 1/255 only.
        close = {"atol": 1e-7, "rtol": 1e-6, "eps": 1e-6}
        check_grads(jax.jit(total), (images, features), order=1, modes=["rev"], **close)


@pytest.mark.parametrize("shape", SHAPES[1:4])
@pytest.mark.parametrize("mode", MODES)
def test_guided_style_loss(random, shape, mode):
    count, channels = shape[0], shape[-1]
    features, guides = random.standard_normal(shape), random.random((count, 2, *shape[1:3]))
    targets = random.standard_normal((count, 2, channels, channels))
    weights = random.random((count, 2))

    def loss(features, guides, targets, weights, convention):
        grams = guided_gram_matrix(features, guides)
        return losses.guided_style_loss(grams, targets, weights, convention)

    everything = features, guides, targets, weights
    got = run(in_all_conventions(loss), mode, *everything)
    for convention in CONVENTIONS:
        expected = [
            reference.guided_style_loss(*each, convention) for each in zip(*everything, strict=True)
        ]
        assert got[convention] == pytest.approx(np.array(expected), rel=10 * SUMS), convention


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

    gradient = np.asarray(jax.jit(jax.grad(style))(features)["conv1_1"])
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

        close = {"atol": 1e-7, "rtol": 1e-6, "eps": 1e-6}
        check_grads(jax.jit(total), (images, features), order=1, modes=["rev"], **close)


def test_bfloat16_features_are_summed_in_float32():
    """In bfloat16 a sum of ones stops growing at 256."""
    features = jnp.ones((1, 64, 64, 4), jnp.bfloat16)
    loss = losses.content_loss(features, jnp.zeros_like(features), "equations")
    assert loss.dtype == jnp.float32
    assert float(loss[0]) == 64 * 64 * 4 / 2


# ---- Normalised gradients

COUNT = 3
SHARED = "conv3_1"  # read by a content term and by a style term


def make_problem(random, scale=1.0):
    """Targets, and features of several images; the terms' sizes lie far apart."""
    shapes = {"conv4_2": (3, 4, 6), SHARED: (6, 8, 3), "conv1_1": (12, 16, 2)}
    features = {layer: random.random((COUNT, *shape)) for layer, shape in shapes.items()}
    features[SHARED] *= 1e3 * np.arange(1, COUNT + 1).reshape(-1, 1, 1, 1)
    content = {layer: scale * random.random((1, *shapes[layer])) for layer in ("conv4_2", SHARED)}
    grams = {layer: random.random((1, 4, 5, shapes[layer][-1])) for layer in (SHARED, "conv1_1")}
    style = {layer: np.stack([reference.gram(f) for f in maps]) for layer, maps in grams.items()}
    return Targets(content, style), features


PULLS = LossWeights(0.5, 2.0, 0.0, {"conv4_2": 1.0, SHARED: 0.125}, {SHARED: 0.25, "conv1_1": 0.75})


def gradients_of(targets, features, weights=PULLS, convention="paper", normalized=True):
    """Of the sum over images, with respect to the features, in float64."""

    def total(features):
        images = jnp.zeros((COUNT, 12, 16, 3))
        rest = (targets, weights, convention, None, normalized)
        return jnp.sum(losses.total_loss(images, features, *rest).total)

    with jax.enable_x64(True):
        features = jax.tree.map(jnp.asarray, features)
        return jax.tree.map(np.asarray, jax.jit(jax.grad(total))(features))


def expected_gradients(targets, features):
    """By hand: each term's own gradient over its L1 norm and ε, times its weight."""
    found = {layer: np.zeros_like(maps) for layer, maps in features.items()}
    for number in range(COUNT):
        for layer, target in targets.content.items():
            f = features[layer][number]
            gradient = (f - target[0]) / f[..., 0].size / 5
            pull = 0.5 * PULLS.content_layers[layer]
            found[layer][number] += pull * gradient / (np.abs(gradient).sum() + 1e-8)
        for layer, target in targets.style.items():
            f = features[layer][number]
            gradient = f @ (reference.gram(f) - target[0]) / f.size / f.shape[-1]
            pull = 2.0 * PULLS.style_layers[layer]
            found[layer][number] += pull * gradient / (np.abs(gradient).sum() + 1e-8)
    return found


def test_normalized_gradients(random):
    targets, features = make_problem(random)
    got, expected = gradients_of(targets, features), expected_gradients(targets, features)
    assert set(got) == set(expected)
    for layer, maps in expected.items():
        assert got[layer] == pytest.approx(maps, rel=1e-9, abs=1e-15), layer


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_only_the_weight_counts_not_the_terms_size(random, convention):
    """The conventions multiply each term by a number of their own."""
    targets, features = make_problem(random)
    paper = gradients_of(targets, features)
    got = gradients_of(targets, features, convention=convention)
    plain = gradients_of(targets, features, convention=convention, normalized=False)
    for layer, maps in paper.items():
        assert got[layer] == pytest.approx(maps, rel=1e-5)  # but for ε
        assert np.abs(plain[layer] - maps).max() > 0.1 * np.abs(maps).max()


def test_losses_are_the_same_with_normalized_gradients(random):
    targets, features = make_problem(random)
    features = jax.tree.map(jnp.float32, features)
    images = jnp.asarray(random.random((COUNT, 12, 16, 3)))
    plain, normalized = (
        losses.total_loss(images, features, targets, PULLS, "paper", None, flag)
        for flag in (False, True)
    )
    assert jax.tree.all(jax.tree.map(np.array_equal, plain, normalized))


def test_no_pull_without_weight_or_gradient(random):
    """And no NaN: a weight of 0, and features that have met their target."""
    targets, features = make_problem(random)
    silent = {SHARED: 0.0, "conv1_1": 0.0}
    got = gradients_of(targets, features, PULLS._replace(style_layers=silent))
    assert np.all(got["conv1_1"] == 0)
    features["conv4_2"] = np.repeat(targets.content["conv4_2"], COUNT, axis=0)
    assert np.all(gradients_of(targets, features)["conv4_2"] == 0)


def test_normalized_gradients_of_lanes(random):
    """Each lane with weights of its own, in float32."""
    features = jnp.float32(random.standard_normal((4, 1, 5, 6, 3)))
    sizes = jnp.float32([1e-6, 1.0, 1e3, 1e6])
    pulls = jnp.float32([0.5, 1e-8, 2.0, 0.0])

    def term(features, size, pull):
        return pull * size * jnp.sum(jnp.sin(losses.normalize_gradient(features, pull * size)))

    got = jax.jit(jax.vmap(jax.grad(term)))(features, sizes, pulls)
    direction = np.cos(np.float64(features))
    norms = np.abs(direction).sum(axis=(1, 2, 3, 4), keepdims=True)
    weights = np.float64(pulls * sizes).reshape(-1, 1, 1, 1, 1)
    assert np.asarray(got) == pytest.approx(weights * direction / norms, rel=SUMS, abs=1e-12)
