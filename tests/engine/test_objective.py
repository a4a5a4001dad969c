"""The loss of a run, its terms and its gradient, against the whole computation in NumPy float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference
from layouts import OXFORD_MEAN, random_network

from nst_jax import Settings, stylize
from nst_jax.engine.program import make_program, objective, prepare_parameters, style_grams
from nst_jax.engine.targets import compute_targets
from nst_jax.losses import guidance
from nst_jax.losses.terms import LossWeights, Targets
from nst_jax.network.vgg import PRECISIONS
from nst_jax.optim.lbfgs import scale_by_lbfgs
from nst_jax.weights.parameters import Weights

# float32 sums over up to 4608 products per layer and 10⁴ positions, against float64.
LOSSES = 1e-4
# An image's features against its own, by the two ways of convolving: rounding, squared.
SAME_IMAGE = 1e-9
# Central differences with step h err by h²·f''' and by rounding, 1e-16·f/h: 1e-9 and less here.
DIRECTIONAL = 1e-5
STEP = 1e-5


@pytest.fixture(scope="module")
def random_vgg19():
    """A random VGG-19 of full width, as the package's type and as the reference's."""
    network, mean = random_network("vgg19", seed=3), OXFORD_MEAN / 255
    return Weights("vgg19", network, tuple(mean), "random", "", ""), network, mean


@pytest.fixture(scope="module")
def networks(embedded, random_vgg19):
    return {
        "vgg16 normalised": (embedded, *reference.read_network(), True),
        "vgg16 as trained": (embedded, *reference.read_network(normalized=False), False),
        "vgg19 random": (*random_vgg19, False),
    }


CASES = [
    ("vgg16 normalised", "paper", "average", "noise", 1e-3, 0.0),
    ("vgg16 normalised", "authors", "average", "content", 1e-3, 0.5),
    ("vgg16 normalised", "equations", "max", "style", 1e-2, 0.0),
    ("vgg16 as trained", "paper", "max", "noise", 1e-5, 0.0),
    ("vgg19 random", "paper", "average", "noise", 1e-3, 0.1),
    ("vgg19 random", "authors", "max", "noise", 1.0, 0.0),
]


@pytest.mark.parametrize(("name", "convention", "pooling", "init", "ratio", "tv"), CASES)
def test_first_loss_of_a_run(
    networks, photograph, painting, name, convention, pooling, init, ratio, tv
):
    weights, network, mean, normalize = networks[name]
    settings = Settings(
        steps=0,
        convention=convention,
        pooling=pooling,
        init=init,
        ratio=ratio,
        tv_weight=tv,
        normalize=normalize,
        lbfgs_memory=1,
    )
    result = stylize(photograph, painting, settings, weights=weights)
    reference_objective = reference.Objective(
        network, mean, photograph, painting, convention, ratio, pooling, tv
    )
    expected = reference_objective(result.image.astype(np.float64))
    (_, first), *_ = result.history
    assert first.total == pytest.approx(expected["loss"], rel=LOSSES)
    assert first.content == pytest.approx(expected["content"], rel=LOSSES, abs=SAME_IMAGE)
    assert first.style == pytest.approx(expected["style"], rel=LOSSES)
    assert first.tv == pytest.approx(expected["tv"], rel=LOSSES)
    assert dict(first.style_layers) == pytest.approx(expected["style_layers"], rel=LOSSES)


@pytest.mark.parametrize(
    ("name", "pooling"),
    [("vgg16 normalised", "average"), ("vgg16 normalised", "max"), ("vgg19 random", "average")],
)
def test_gradient_in_float64(networks, name, pooling, random, monkeypatch):
    """The derivative along random directions and single pixels, by central differences."""
    monkeypatch.setitem(PRECISIONS, "float32", (np.float64, jax.lax.Precision.HIGHEST))
    weights, network, mean, normalize = networks[name]
    content, style = random.random((33, 37, 3)), random.random((32, 48, 3))
    image = random.random((33, 37, 3))
    loss = reference.Objective(network, mean, content, style, "paper", 1e-3, pooling, 0.1)
    settings = Settings(ratio=1e-3, pooling=pooling, tv_weight=0.1, normalize=normalize)
    with jax.enable_x64(True):
        exact = jax.tree.map(lambda tensor: jnp.asarray(tensor, jnp.float64), network)
        program = make_program(settings, weights)
        targets = compute_targets(program, exact, content, style)
        loss_weights = jax.tree.map(
            lambda w: jnp.asarray(w, jnp.float64), LossWeights.from_settings(settings)
        )
        gradient_of = jax.jit(jax.grad(objective, argnums=1, has_aux=True), static_argnums=0)
        gradient, _ = gradient_of(program, jnp.asarray(image), exact, targets, loss_weights)
        gradient = np.asarray(gradient)
    pixel = np.zeros_like(image)
    pixel[16, 0, 1] = 1.0
    for direction in (random.standard_normal(image.shape), gradient, pixel):
        direction = direction / np.linalg.norm(direction)
        ahead, behind = loss(image + STEP * direction), loss(image - STEP * direction)
        slope = (ahead["loss"] - behind["loss"]) / (2 * STEP)
        along = np.sum(gradient * direction)
        assert along == pytest.approx(slope, rel=DIRECTIONAL, abs=1e-7 * np.linalg.norm(gradient))


def test_directions_are_optax_s(networks, random, monkeypatch):
    """L-BFGS on the objective itself, over 50 steps from noise, in float64."""
    monkeypatch.setitem(PRECISIONS, "float32", (np.float64, jax.lax.Precision.HIGHEST))
    weights, network, _, _ = networks["vgg16 normalised"]
    content, style = random.random((32, 48, 3)), random.random((32, 32, 3))
    settings = Settings(ratio=1e-3)
    ours, theirs = scale_by_lbfgs(30), optax.scale_by_lbfgs(30)
    with jax.enable_x64(True):
        exact = jax.tree.map(lambda tensor: jnp.asarray(tensor, jnp.float64), network)
        program = make_program(settings, weights)
        targets = compute_targets(program, exact, content, style)
        loss_weights = jax.tree.map(
            lambda w: jnp.asarray(w, jnp.float64), LossWeights.from_settings(settings)
        )
        gradient_of = jax.grad(objective, argnums=1, has_aux=True)

        @jax.jit
        def step(image, state, other):
            gradient, losses = gradient_of(program, image, exact, targets, loss_weights)
            direction, state = ours.update(gradient, state, image)
            wanted, other = theirs.update(gradient, other, image)
            error = jnp.linalg.norm(direction - wanted) / jnp.linalg.norm(wanted)
            return image - direction, state, other, error, losses.total

        image = jnp.asarray(random.random(content.shape))
        carry, errors, totals = (image, ours.init(image), theirs.init(image)), [], []
        for _ in range(50):
            *carry, error, total = step(*carry)
            errors.append(float(error))
            totals.append(float(total))
    assert max(errors) < 1e-5
    assert totals[-1] < totals[0] / 4  # it went somewhere


def wide_masks(height, width):
    """Two regions with a soft edge, and a gap at the right."""
    ramp = np.clip((np.arange(width) - width // 2) / 4, 0, 1)
    masks = np.stack([1 - ramp, ramp * (np.arange(width) < width - 3)])
    return np.repeat(masks[:, None], height, axis=1)


class GuidedObjective:
    """The style loss of regions, each with the Grams of a painting of its own, in NumPy."""

    def __init__(self, network, mean, styles, guides):
        self._network, self._mean = network, mean
        self._guides = {layer: maps[0] for layer, maps in guides.maps.items()}
        self._weights = {layer: weights[0] for layer, weights in guides.weights.items()}
        self.grams = {
            layer: [reference.gram(features[layer]) for features in map(self._features, styles)]
            for layer in self._guides
        }

    def _features(self, image):
        return reference.all_features(self._network, image, self._mean, last="conv4_1")

    def __call__(self, image):
        features = self._features(image)
        terms = [
            reference.guided_style_loss(
                features[layer], maps, self.grams[layer], self._weights[layer], "paper"
            )
            for layer, maps in self._guides.items()
        ]
        return sum(terms) / len(terms)


def test_gradient_of_regions_in_float64(embedded, random, monkeypatch):
    """By central differences of the whole computation in NumPy."""
    monkeypatch.setitem(PRECISIONS, "float32", (np.float64, jax.lax.Precision.HIGHEST))
    layers = ("conv1_1", "conv2_1", "conv3_1", "conv4_1")
    settings = Settings(content_layers=(), style_layers=layers, ratio=0.0)
    network, mean = reference.read_network()
    image, styles = random.random((33, 61, 3)), random.random((2, 32, 40, 3))
    guides = guidance.make_guides(wide_masks(33, 61), "vgg16", layers)
    loss = GuidedObjective(network, mean, styles, guides)
    with jax.enable_x64(True):
        exact = jax.tree.map(lambda tensor: jnp.asarray(tensor, jnp.float64), network)
        program = make_program(settings, embedded)
        grams = {layer: jnp.asarray(np.array(grams))[None] for layer, grams in loss.grams.items()}
        targets = Targets({}, grams, *jax.tree.map(jnp.asarray, guides))
        loss_weights = jax.tree.map(
            lambda w: jnp.asarray(w, jnp.float64), LossWeights.from_settings(settings)
        )
        evaluate = jax.jit(jax.value_and_grad(objective, argnums=1, has_aux=True), static_argnums=0)
        (total, _), gradient = evaluate(program, jnp.asarray(image), exact, targets, loss_weights)
        total, gradient = float(total), np.asarray(gradient)
    assert total == pytest.approx(loss(image), rel=1e-10)
    step = STEP / 10  # a region has few positions at conv4_1: one ReLU that turns in a step counts
    for direction in (random.standard_normal(image.shape), gradient):
        direction = direction / np.linalg.norm(direction)
        slope = (loss(image + step * direction) - loss(image - step * direction)) / (2 * step)
        assert np.sum(gradient * direction) == pytest.approx(slope, rel=DIRECTIONAL)


LAYERS = Settings().style_layers


def region_gradient(normalized, masks, region):
    """The gradient of one region's style loss alone, of noise, by plain convolutions."""
    program = make_program(Settings(content_layers=(), ratio=0.0), normalized)
    image = jax.random.uniform(jax.random.key(0), (*masks.shape[1:], 3))
    style = jax.random.uniform(jax.random.key(1), (32, 32, 3))
    grams = style_grams(program, normalized.params, style)
    targets = Targets(
        {},
        {layer: jnp.repeat(gram[:, None], len(masks), axis=1) for layer, gram in grams.items()},
        guidance.make_guides(masks, "vgg16", LAYERS).maps,
        dict.fromkeys(LAYERS, jnp.zeros((1, len(masks))).at[0, region].set(1.0)),
    )
    weights = LossWeights.from_settings(Settings(content_layers=(), ratio=0.0))
    gradient_of = jax.jit(jax.grad(objective, argnums=1, has_aux=True), static_argnums=0)
    gradient, _ = gradient_of(program, image, normalized.params, targets, weights)
    return np.asarray(gradient)


@pytest.mark.parametrize("region", [0, 1])
def test_a_region_has_no_gradient_in_the_other(normalized, region):
    """Exactly: each half has room for conv5_1, which sees 132 px."""
    masks = np.zeros((2, 32, 288), np.float32)
    masks[0, :, :144] = masks[1, :, 144:] = 1
    assert guidance.crossings(masks, "vgg16", LAYERS) == []
    gradient = region_gradient(normalized, masks, region)
    inside = masks[region] > 0
    assert np.all(gradient[~inside] == 0)
    assert np.mean(gradient[inside] != 0) > 0.9


def test_a_small_region_reaches_no_farther_than_the_receptive_field(normalized):
    masks = np.zeros((1, 32, 320), np.float32)
    masks[0, :, :40] = 1
    found = guidance.crossings(masks, "vgg16", LAYERS)
    assert [crossing.layer for crossing in found] == ["conv5_1"]
    gradient = region_gradient(normalized, masks, 0)
    assert np.any(gradient[:, 40:] != 0)
    assert np.all(gradient[:, 40 + found[0].field :] == 0)


@pytest.mark.parametrize(("padding", "form"), [("reflect", "transformed"), ("replicate", "plain")])
def test_gradient_with_padding(networks, padding, form, random, monkeypatch):
    """Likewise, by either way of convolving, with a term for absolute differences."""
    monkeypatch.setitem(PRECISIONS, "float32", (np.float64, jax.lax.Precision.HIGHEST))
    weights, network, mean, _ = networks["vgg16 normalised"]
    content, style = random.random((17, 34, 3)), random.random((24, 20, 3))
    image = random.random(content.shape)
    rest = ("paper", 1e-3, "average", 0.0, padding, 0.3)
    loss = reference.Objective(network, mean, content, style, *rest)
    settings = Settings(ratio=1e-3, padding=padding, tv_l1_weight=0.3)
    with jax.enable_x64(True):
        exact = jax.tree.map(lambda tensor: jnp.asarray(tensor, jnp.float64), network)
        program = make_program(settings, weights)
        targets = compute_targets(program, exact, content, style)
        loss_weights = jax.tree.map(
            lambda w: jnp.asarray(w, jnp.float64), LossWeights.from_settings(settings)
        )
        params = exact if form == "plain" else prepare_parameters(program, exact)
        assert ("transformed_kernel" in params["conv5_1"]) == (form == "transformed")
        gradient_of = jax.jit(jax.grad(objective, argnums=1, has_aux=True), static_argnums=0)
        gradient, _ = gradient_of(program, jnp.asarray(image), params, targets, loss_weights)
        gradient = np.asarray(gradient)
    corner = np.zeros_like(image)
    corner[0, -1, 1] = 1.0
    for direction in (random.standard_normal(image.shape), corner):
        ahead, behind = loss(image + STEP * direction), loss(image - STEP * direction)
        slope = (ahead["loss"] - behind["loss"]) / (2 * STEP)
        assert np.sum(gradient * direction) == pytest.approx(slope, rel=DIRECTIONAL)
