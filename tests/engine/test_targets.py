"""The targets of several paintings at several sizes, and initial images with noise."""

import dataclasses

import jax
import numpy as np
import pytest
import reference

from nst_jax import Settings, stylize
from nst_jax.engine.initial_images import initial_image
from nst_jax.engine.program import make_program
from nst_jax.engine.pyramid import image_at, schedule
from nst_jax.engine.style_images import StyleImageReader, list_style_images
from nst_jax.engine.targets import compute_targets
from nst_jax.images import io
from nst_jax.images.resize import resize

# The first blocks only, which compile sooner.
LAYERS = ("conv1_1", "conv1_2", "conv2_1")
SETTINGS = Settings(style_layers=LAYERS, content_layers=("conv2_1",), ratio=1e-4, lbfgs_memory=3)
FINE, COARSE = LAYERS[:2], LAYERS[2:]
SAME = 1e-6  # of the largest entry: the share 0.3 of a Gram matrix and 0.7 of it
SUMS = 2e-5  # likewise: a float32 network against float64


@pytest.fixture(scope="module")
def night():
    """(63, 80, 3), another painting."""
    return io.load_image(reference.SAMPLES / "van_gogh_night_cafe.jpg", 80)


@pytest.fixture(scope="module")
def targets_of(normalized, photograph):
    """The targets of a mixture, as a run computes them."""

    def targets_of(style, scale=0, **fields):
        settings = dataclasses.replace(SETTINGS, **fields)
        program = make_program(settings, normalized)
        given = list_style_images(style)
        style_images = StyleImageReader(settings.size).read(given, settings.style_scale)
        at = schedule(photograph.shape, scales=settings.scales, steps=settings.steps)[scale]
        pictures = (
            image_at(at, photograph),
            [[image_at(at, one) for one in each.scaled] for each in style_images],
        )
        shares = settings.style_shares(len(style_images))
        return compute_targets(program, normalized.params, *pictures, shares)

    return targets_of


@pytest.fixture(scope="module")
def grams_of():
    """Gram matrices in float64, without the package: {layer: (C, C)}."""
    network, mean = reference.read_network()

    def grams_of(image):
        features = reference.all_features(network, image, mean, last=LAYERS[-1])
        return {layer: reference.gram(features[layer]) for layer in LAYERS}

    return grams_of


def check(got, wanted, tolerance=SAME):
    """Of each layer the same Gram matrix."""
    assert set(got) == set(wanted) == set(LAYERS)
    for layer in LAYERS:
        one, other = np.squeeze(got[layer]), np.squeeze(wanted[layer])
        assert np.abs(one - other).max() <= tolerance * np.abs(other).max()


def mean_of(*terms):
    """Σ weight · Gram matrix, layer by layer."""
    return {layer: sum(weight * grams[layer] for weight, grams in terms) for layer in LAYERS}


@pytest.mark.parametrize("blend", [None, (1, 0), (0, 5), (3, 7), (0.01, 1e-3)])
def test_a_blend_is_linear_in_the_grams(targets_of, grams_of, painting, night, blend):
    first, second = np.array(blend or (1, 1)) / sum(blend or (1, 1))
    got = targets_of([painting, night], style_blend=blend).style
    check(got, mean_of((first, grams_of(painting)), (second, grams_of(night))), SUMS)


def test_all_of_one_painting_is_that_painting(targets_of, painting, night):
    alone = targets_of(painting)
    for style, blend in (([painting, night], (1, 0)), ([night, painting], (0, 2))):
        mixed = targets_of(style, style_blend=blend)
        check(mixed.style, alone.style)
        assert np.array_equal(mixed.content["conv2_1"], alone.content["conv2_1"])


@pytest.mark.parametrize("blend", [None, (3, 7)])
@pytest.mark.parametrize("layers", [None, (FINE, COARSE), (LAYERS, COARSE)])
def test_the_same_painting_twice_is_one(targets_of, painting, blend, layers):
    fields = {"style_blend": blend, "layers_per_style": layers}
    check(targets_of([painting, painting], **fields).style, targets_of(painting).style)


def test_fine_from_one_and_coarse_from_another(targets_of, grams_of, painting, night):
    got = targets_of([painting, night], layers_per_style=(FINE, COARSE)).style
    fine, coarse = grams_of(painting), grams_of(night)
    check(got, {layer: (fine if layer in FINE else coarse)[layer] for layer in LAYERS}, SUMS)


@pytest.mark.parametrize("scales", [(0.5,), (2.0,), (0.5, 1, 1.5)])
def test_scales_of_a_painting(targets_of, grams_of, painting, scales):
    """The mean Gram matrix of its sizes; the content is not touched."""
    height, width, _ = painting.shape
    sizes = [(round(height * scale), round(width * scale)) for scale in scales]
    terms = [(1 / len(scales), grams_of(resize(painting, size))) for size in sizes]
    scaled, whole = targets_of(painting, style_scale=scales), targets_of(painting)
    check(scaled.style, mean_of(*terms), SUMS)
    assert np.array_equal(scaled.content["conv2_1"], whole.content["conv2_1"])


def test_scales_of_paintings_from_coarse_to_fine(targets_of, grams_of, painting, night):
    """At half the size each gets half as large, at each of its sizes."""
    fields = {"style_scale": (1, 2), "style_blend": (1, 3), "scales": 2, "steps": 3}
    got = targets_of([painting, night], **fields).style
    half = [[(40, 32), (80, 64)], [(32, 40), (63, 80)]]
    sizes = [[(80, 64), (160, 128)], [(63, 80), (126, 160)]]
    terms = [
        (weight / 2, grams_of(resize(resize(image, large), small)))
        for weight, image, rows in ((0.25, painting, 0), (0.75, night, 1))
        for small, large in zip(half[rows], sizes[rows], strict=True)
    ]
    check(got, mean_of(*terms), SUMS)


def test_only_targets_change(normalized, photograph, painting, night):
    """From the photograph the content term is 0; the first style term is that of the mixture."""
    settings = dataclasses.replace(SETTINGS, steps=0)
    first = {}
    for blend in ((1, 0), (0, 1), (1, 1)):
        one = dataclasses.replace(settings, style_blend=blend, style_scale=(1, 0.5))
        result = stylize(photograph, [painting, night], one, weights=normalized)
        assert np.array_equal(result.image, photograph)
        assert result.losses.content < SAME
        first[blend] = result.losses.style
    assert first[1, 1] < max(first[1, 0], first[0, 1]) and len(set(first.values())) == 3


@pytest.mark.parametrize("init", ["content", "style"])
@pytest.mark.parametrize("part", [0.0, 0.3, 1.0])
def test_noise_in_the_start(photograph, painting, init, part):
    key = jax.random.key(3)
    plain = np.asarray(initial_image(key, init, photograph, painting))
    noise = np.asarray(initial_image(key, "noise", photograph, painting, amplitude=0.2))
    mixed = np.asarray(initial_image(key, init, photograph, painting, noise=part, amplitude=0.2))
    assert mixed.dtype == np.float32
    assert np.abs(mixed - ((1 - part) * plain + part * noise)).max() < SAME
    if part in (0, 1):
        assert np.array_equal(mixed, noise if part else plain)
    other = np.asarray(
        initial_image(jax.random.key(4), init, photograph, painting, noise=part, amplitude=0.2)
    )
    assert np.array_equal(mixed, other) == (part == 0)


def test_the_first_painting_stands_for_all(normalized, photograph, painting, night):
    """As the start, and for the shape where there is no photograph; whatever its scale."""
    fields = {"init": "style", "steps": 0, "style_blend": (1, 9), "style_scale": (0.5,)}
    settings = dataclasses.replace(SETTINGS, **fields)
    result = stylize(photograph, [painting, night], settings, weights=normalized)
    key = jax.random.key(0)
    assert np.array_equal(result.image, initial_image(key, "style", photograph, painting))
    texture = dataclasses.replace(settings, content_layers=(), style_scale=(2.0,))
    result = stylize(None, (painting, night), texture, weights=normalized)
    assert np.array_equal(result.image, painting)


def test_only_noise_has_the_ratio_of_noise():
    assert Settings(init_noise=1).content_weight == Settings(init="noise").content_weight
    assert Settings(init_noise=0.9).content_weight == Settings().content_weight
