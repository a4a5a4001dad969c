"""The loss of a run, its terms and its gradient, against the whole computation in NumPy float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference
from layouts import OXFORD_MEAN, random_network

from nst_jax import Settings, stylize
from nst_jax.engine.program import make_program, objective, style_grams
from nst_jax.engine.targets import compute_targets
from nst_jax.losses import guidance
from nst_jax.losses.terms import LossWeights, Targets
from nst_jax.network.kernel_forms import in_form
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
        "vgg16 normalized": (embedded, *reference.read_network(), True),
        "vgg16 normalized for max": (embedded, *reference.read_network(pooling="max"), True),
        "vgg16 as trained": (embedded, *reference.read_network(normalized=False), False),
        "vgg19 random": (*random_vgg19, False),
    }


@pytest.fixture
def in_float64(monkeypatch):
    """Let "float32" be float64."""
    monkeypatch.setitem(PRECISIONS, "float32", (np.float64, jax.lax.Precision.HIGHEST))
    with jax.enable_x64(True):
        yield


def exactly(tree):
    """All numbers of a tree in float64."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), tree)


def exact_problem(settings, weights, network):
    """Program, parameters and weights of the losses, in float64."""
    program = make_program(settings, weights)
    return program, exactly(network), exactly(LossWeights.from_settings(settings))


def evaluate(program, image, params, targets, loss_weights):
    """The loss of an image (H, W, 3) and its gradient."""
    function = jax.jit(jax.value_and_grad(objective, argnums=1, has_aux=True), static_argnums=0)
    (total, _), gradient = function(program, jnp.asarray(image), params, targets, loss_weights)
    return float(total), np.asarray(gradient)


def assert_slopes(gradient, loss, image, directions, step=STEP):
    """Along each direction (H, W, 3) the gradient is the loss's central difference."""
    for direction in directions:
        direction = direction / np.linalg.norm(direction)
        slope = (loss(image + step * direction) - loss(image - step * direction)) / (2 * step)
        along, rounding = np.sum(gradient * direction), 1e-7 * np.linalg.norm(gradient)
        assert along == pytest.approx(slope, rel=DIRECTIONAL, abs=rounding)


CASES = [
    ("vgg16 normalized", "paper", "average", "noise", 1e-3, 0.0),
    ("vgg16 normalized for max", "equations", "max", "style", 1e-2, 0.0),
    ("vgg16 as trained", "authors", "average", "content", 1e-3, 0.5),
    ("vgg19 random", "paper", "max", "noise", 1e-3, 0.1),
]


@pytest.mark.parametrize(("name", "convention", "pooling", "init", "ratio", "tv"), CASES)
def test_first_loss_of_a_run(
    networks, photograph, painting, name, convention, pooling, init, ratio, tv
):
    weights, network, mean, normalize = networks[name]
    photograph, painting = photograph[:35, :49], painting[:40, :33]  # the reference takes its time
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
    [
        ("vgg16 normalized", "average"),
        ("vgg16 normalized for max", "max"),
        ("vgg19 random", "average"),
    ],
)
def test_gradient(in_float64, networks, name, pooling, random):
    """The derivative along random directions and single pixels, by central differences."""
    weights, network, mean, normalize = networks[name]
    content, style = random.random((33, 37, 3)), random.random((32, 48, 3))
    image = random.random((33, 37, 3))
    loss = reference.Objective(network, mean, content, style, "paper", 1e-3, pooling, 0.1)
    settings = Settings(ratio=1e-3, pooling=pooling, tv_weight=0.1, normalize=normalize)
    program, params, loss_weights = exact_problem(settings, weights, network)
    targets = compute_targets(program, params, content, style)
    _, gradient = evaluate(program, image, params, targets, loss_weights)
    pixel = np.zeros_like(image)
    pixel[16, 0, 1] = 1.0
    directions = random.standard_normal(image.shape), gradient, pixel
    assert_slopes(gradient, lambda image: loss(image)["loss"], image, directions)


def test_directions_are_optax_s(in_float64, networks, random):
    """L-BFGS on the objective itself, over 50 steps from noise."""
    weights, network, _, _ = networks["vgg16 normalized"]
    content, style = random.random((32, 48, 3)), random.random((32, 32, 3))
    early = {"content_layers": ("conv2_1",), "style_layers": ("conv1_1", "conv2_1")}
    settings = Settings(ratio=1e-3, **early)
    ours, theirs = scale_by_lbfgs(30), optax.scale_by_lbfgs(30)
    program, params, loss_weights = exact_problem(settings, weights, network)
    targets = compute_targets(program, params, content, style)
    gradient_of = jax.grad(objective, argnums=1, has_aux=True)

    @jax.jit
    def step(image, state, other):
        gradient, losses = gradient_of(program, image, params, targets, loss_weights)
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


def test_gradient_of_regions(in_float64, embedded, random):
    """By central differences of the whole computation in NumPy."""
    layers = ("conv1_1", "conv2_1", "conv3_1", "conv4_1")
    settings = Settings(content_layers=(), style_layers=layers, ratio=0.0)
    network, mean = reference.read_network()
    image, styles = random.random((33, 61, 3)), random.random((2, 32, 40, 3))
    guides = guidance.make_guides(wide_masks(33, 61), "vgg16", layers)
    loss = GuidedObjective(network, mean, styles, guides)
    program, params, loss_weights = exact_problem(settings, embedded, network)
    grams = {layer: jnp.asarray(np.array(grams))[None] for layer, grams in loss.grams.items()}
    targets = Targets({}, grams, *jax.tree.map(jnp.asarray, guides))
    total, gradient = evaluate(program, image, params, targets, loss_weights)
    assert total == pytest.approx(loss(image), rel=1e-10)
    step = STEP / 10  # a region has few positions at conv4_1: one ReLU that turns in a step counts
    assert_slopes(gradient, loss, image, (random.standard_normal(image.shape), gradient), step)


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
    return evaluate(program, image, normalized.params, targets, weights)[1]


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


@pytest.mark.parametrize(
    ("padding", "form"), [("reflect", "transformed_kernel"), ("replicate", "split_kernel")]
)
def test_gradient_with_padding(in_float64, networks, padding, form, random):
    """By central differences, by either way of convolving, with a term for absolute differences."""
    weights, network, mean, _ = networks["vgg16 normalized"]
    content, style = random.random((17, 34, 3)), random.random((24, 20, 3))
    image = random.random(content.shape)
    rest = ("paper", 1e-3, "average", 0.0, padding, 0.3)
    loss = reference.Objective(network, mean, content, style, *rest)
    settings = Settings(ratio=1e-3, padding=padding, tv_l1_weight=0.3)
    program, exact, loss_weights = exact_problem(settings, weights, network)
    targets = compute_targets(program, exact, content, style)
    transform = jax.jit(in_form, static_argnums=(1, 2))
    params = {layer: transform(tensors, form, jnp.float64) for layer, tensors in exact.items()}
    _, gradient = evaluate(program, image, params, targets, loss_weights)
    corner = np.zeros_like(image)
    corner[0, -1, 1] = 1.0
    directions = random.standard_normal(image.shape), corner
    assert_slopes(gradient, lambda image: loss(image)["loss"], image, directions)
