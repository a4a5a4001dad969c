"""The first blocks in bands, against the whole network (itself held against NumPy elsewhere)."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from nst_jax import Settings, SettingsError, stylize, sweep
from nst_jax.engine.program import compiler_options
from nst_jax.network import row_bands, vgg
from nst_jax.network.gram import gram_matrix, guided_gram_matrix

STYLE = ("conv1_1", "conv2_1", "conv3_1")
# The same products in float64, summed in another order.
EXACT = 1e-11
# The losses of a run in float32: of the first image, and after steps, which multiply rounding.
FIRST, LATER = 1e-5, 1e-3
# Bands of so few rows that even these images have several.
MIN_ROWS = 8


@pytest.fixture(autouse=True)
def small_bands(monkeypatch):
    monkeypatch.setattr(row_bands, "MIN_ROWS", MIN_ROWS)
    monkeypatch.setattr(row_bands, "BAND_NUMBERS", 0)
    monkeypatch.setattr(row_bands, "MIN_BANDS", 2)


def whole(network, params, images, style_layers, guides):
    """The same by the whole network at once."""
    layers = tuple(dict.fromkeys((*network.layers, *style_layers)))
    features = vgg.extract_features(network.clone(layers=layers), params, images)
    grams = {
        layer: guided_gram_matrix(features[layer], guides[layer])
        if guides
        else gram_matrix(features[layer])
        for layer in style_layers
    }
    return {layer: features[layer] for layer in network.layers}, grams


def in_bands(network, params, images, style_layers, guides):
    observers = {
        layer: (guided_gram_matrix, guides[layer]) if guides else (gram_matrix,)
        for layer in style_layers
    }
    return row_bands.observe_features(network, params, images, observers)


def with_gradient(function, network, params, images, style_layers, guides):
    """The value of a function of that form, and the gradient of a sum over all that it returns."""

    def total(images):
        outputs = function(network, params, images, style_layers, guides)
        leaves = jax.tree.leaves(outputs)
        return sum(jnp.sum(jnp.sin(n + leaf)) for n, leaf in enumerate(leaves)), outputs

    gradient, outputs = jax.jit(jax.grad(total, has_aux=True))(images)
    return outputs, gradient


def check_same(*arguments):
    """Values and gradients, in bands and by the whole network."""
    expected, slope = with_gradient(whole, *arguments)
    got, gradient = with_gradient(in_bands, *arguments)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, EXACT, EXACT * jnp.abs(other).max())
    np.testing.assert_allclose(gradient, slope, EXACT, EXACT * jnp.abs(slope).max())


def double(tree):
    return jax.tree.map(lambda array: jnp.asarray(array, jnp.float64), tree)


TRANSFER, EARLY, TEXTURE = (("conv3_2",), STYLE), (("conv2_2",), STYLE), ((), STYLE[:2])
DEEP = ("conv2_1", "conv3_3", "conv4_2"), (*STYLE, "conv4_2", "conv5_1")


@pytest.mark.parametrize(
    ("shape", "padding", "layers", "pooling"),
    [
        ((1, 16, 18), "zero", TRANSFER, "average"),
        ((2, 27, 17), "reflect", TRANSFER, "average"),
        ((1, 33, 16), "replicate", TRANSFER, "max"),
        ((1, 19, 21), "zero", TRANSFER, "max"),
        ((1, 17, 16), "reflect", EARLY, "average"),
        ((2, 31, 16), "zero", EARLY, "average"),
        ((1, 33, 9), "replicate", TEXTURE, "average"),
        ((1, 8, 9), "zero", TEXTURE, "average"),
        ((1, 73, 16), "zero", DEEP, "average"),  # each block in two bands
        ((1, 70, 19), "reflect", DEEP, "max"),
    ],
)
def test_values_and_gradients(narrow, random, shape, padding, layers, pooling):
    content, style = layers
    with jax.enable_x64(True):
        network = vgg.VGG("vgg16", content, narrow.mean, pooling, jnp.float64, padding=padding)
        images = jnp.asarray(random.random((*shape, 3)))
        check_same(network, double(narrow.params), images, style, {})


def test_regions(narrow, random):
    with jax.enable_x64(True):
        network = vgg.VGG("vgg16", ("conv3_2",), narrow.mean, dtype=jnp.float64)
        guides = {
            layer: jnp.asarray(random.random((1, 2, 29 >> block, 18 >> block)))
            for block, layer in enumerate(STYLE)
        }
        images = jnp.asarray(random.random((1, 29, 18, 3)))
        check_same(network, double(narrow.params), images, STYLE, guides)


@pytest.mark.parametrize(
    ("content", "style", "blocks"),
    [
        (("conv4_2",), STYLE, 3),
        (("conv3_1",), STYLE, 2),
        (("conv2_2", "conv5_2"), STYLE, 4),
        (("conv1_1",), (), 0),
        ((), ("conv1_1",), 0),
        ((), ("conv1_1", "conv2_1"), 1),
        ((), ("conv5_1",), 4),
    ],
)
def test_blocks_that_go_in_bands(content, style, blocks):
    assert row_bands.banded_blocks(content, style) == blocks


@pytest.mark.parametrize(("height", "groups"), [(64, [1]), (100, [1, 3]), (256, [1, 3, 4])])
def test_few_bands_of_a_deeper_block_go_as_one(normalized, monkeypatch, height, groups):
    """A quarter and an eighth of the rows, in bands of eight: four at the least."""
    monkeypatch.setattr(row_bands, "MIN_BANDS", 4)
    first_blocks, go = [], row_bands._in_bands

    def recorded(*arguments):
        first_blocks.append(arguments[4])
        return go(*arguments)

    monkeypatch.setattr(row_bands, "_in_bands", recorded)
    network = vgg.VGG("vgg16", ("conv4_2",), normalized.mean)
    images = jax.ShapeDtypeStruct((1, height, 16, 3), jnp.float32)
    observers = {"conv5_1": (gram_matrix,)}
    jax.eval_shape(
        lambda x: row_bands.observe_features(network, normalized.params, x, observers), images
    )
    assert first_blocks == groups


def test_memory(normalized, monkeypatch):
    """A tall image takes a third of the temporaries; of its height only what is pooled depends."""
    monkeypatch.setattr(row_bands, "MIN_ROWS", 32)
    network = vgg.VGG("vgg16", ("conv3_2",), normalized.mean)
    images = jax.ShapeDtypeStruct((1, 1024, 32, 3), jnp.float32)

    def temporaries(function):
        def total(images, params):
            outputs = function(network, params, images, STYLE, {})
            return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(outputs))

        gradient = jax.jit(jax.grad(total), compiler_options=compiler_options("cpu"))
        compiled = gradient.lower(images, normalized.params).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporaries(in_bands) < temporaries(whole) / 3


@pytest.mark.slow
def test_a_run_and_its_lanes(normalized, photograph, painting, tmp_path, monkeypatch):
    """Transformed kernels, regions, several lanes: the losses are those of whole images."""
    monkeypatch.setattr(row_bands, "MIN_ROWS", 32)
    photograph = photograph[:, :48]
    mask = np.zeros((64, 48), np.uint8)
    mask[:, :25] = 255
    Image.fromarray(mask).save(tmp_path / "left.png")
    settings = Settings(
        steps=3,
        optimizer="adam",
        content_layers=("conv2_2",),
        style_layers=STYLE[:2],
        content_mask=str(tmp_path / "left.png"),
    )
    lean = dataclasses.replace(settings, low_memory=True)
    alike = {"weights": normalized, "report_every": 1}

    def totals(result):
        return [losses.total for _, losses in result.history]

    expected = totals(stylize(photograph, painting, settings, **alike))
    alone = totals(stylize(photograph, painting, lean, **alike))
    assert alone[0] == pytest.approx(expected[0], rel=FIRST)
    assert alone == pytest.approx(expected, rel=LATER)
    for lane in sweep(photograph, painting, [lean, lean], **alike):
        assert totals(lane) == pytest.approx(alone, rel=LATER)


def test_norms_of_whole_layers_are_not_to_be_had():
    with pytest.raises(SettingsError, match="low_memory does not go with normalize_gradients"):
        Settings(low_memory=True, normalize_gradients=True)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((15, 40, 3), "40×15 px are too small for conv5_1: each side needs 16"),
        ((64, 64, 4), "wanted"),
    ],
)
def test_what_is_no_image_is_refused(normalized, shape, words):
    network = vgg.VGG("vgg16", ("conv4_2",), normalized.mean)
    images = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(
            lambda image: in_bands(network, normalized.params, image, ("conv5_1",), {}), images
        )
