"""The loss of a run, its terms and its gradient, against the whole computation in NumPy float64."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from layouts import OXFORD_MEAN, random_network

from nst_jax import Settings, stylize
from nst_jax.program import make_program, objective, prepare
from nst_jax.settings import PRECISIONS
from nst_jax.transfer import compute_targets
from nst_jax.weights import Weights

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
    monkeypatch.setitem(PRECISIONS, "float64", (np.float64, jax.lax.Precision.HIGHEST))
    weights, network, mean, normalize = networks[name]
    content, style = random.random((33, 37, 3)), random.random((32, 48, 3))
    image = random.random((33, 37, 3))
    loss = reference.Objective(network, mean, content, style, "paper", 1e-3, pooling, 0.1)
    settings = Settings(ratio=1e-3, pooling=pooling, tv_weight=0.1, normalize=normalize)
    with jax.enable_x64(True):
        exact = jax.tree.map(lambda tensor: jnp.asarray(tensor, jnp.float64), network)
        program = dataclasses.replace(make_program(settings, weights), precision="float64")
        targets = compute_targets(program, exact, content, style)
        loss_weights = jax.tree.map(lambda w: jnp.asarray(w, jnp.float64), settings.loss_weights())
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


@pytest.mark.parametrize(("padding", "form"), [("reflect", "transformed"), ("replicate", "plain")])
def test_gradient_with_padding(networks, padding, form, random, monkeypatch):
    """Likewise, by either way of convolving, with a term for absolute differences."""
    monkeypatch.setitem(PRECISIONS, "float64", (np.float64, jax.lax.Precision.HIGHEST))
    weights, network, mean, _ = networks["vgg16 normalised"]
    content, style = random.random((17, 34, 3)), random.random((24, 20, 3))
    image = random.random(content.shape)
    rest = ("paper", 1e-3, "average", 0.0, padding, 0.3)
    loss = reference.Objective(network, mean, content, style, *rest)
    settings = Settings(ratio=1e-3, padding=padding, tv_l1_weight=0.3)
    with jax.enable_x64(True):
        exact = jax.tree.map(lambda tensor: jnp.asarray(tensor, jnp.float64), network)
        program = dataclasses.replace(make_program(settings, weights), precision="float64")
        targets = compute_targets(program, exact, content, style)
        loss_weights = jax.tree.map(lambda w: jnp.asarray(w, jnp.float64), settings.loss_weights())
        params = exact if form == "plain" else prepare(program, exact)
        assert ("transformed_kernel" in params["conv5_1"]) == (form == "transformed")
        gradient_of = jax.jit(jax.grad(objective, argnums=1, has_aux=True), static_argnums=0)
        gradient, _ = gradient_of(program, jnp.asarray(image), params, targets, loss_weights)
    corner = np.zeros_like(image)
    corner[0, -1, 1] = 1.0
    for direction in (random.standard_normal(image.shape), corner):
        ahead, behind = loss(image + STEP * direction), loss(image - STEP * direction)
        slope = (ahead["loss"] - behind["loss"]) / (2 * STEP)
        assert np.sum(gradient * direction) == pytest.approx(slope, rel=DIRECTIONAL)
