"""Normalizing weights: every filter divided by its mean activation, and nothing else changed."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from layouts import assert_same_tensors, layers_of
from safetensors.numpy import load_file

from nst_jax.errors import WeightsError
from nst_jax.network import vgg
from nst_jax.weights.parameters import floored_means, normalize
from nst_jax.weights.storage import load_weights, save_weights

# Normalized features in float32 against the original ones over s in float64, relative to the
# filter's largest value: sums of up to 4608 products through 13 layers.
FEATURES = 1e-4
SCALES = 1e-6  # float32 means of up to 512 float32 numbers, and one division


def scales(means):
    """Mean activations in float64, no less than 1 % of the layer's."""
    floors = {layer: 0.01 * np.mean(np.float64(values)) for layer, values in means.items()}
    return {layer: np.where(v < floors[layer], floors[layer], v) for layer, v in means.items()}


def assert_divided(features, originals, scale):
    """Each filter is the original divided by its scale, as exactly as its largest value allows.

    The unit is the mean activation, so filters that stay below 1 are compared with 1.
    """
    for layer, original in originals.items():
        expected = original / scale[layer]
        unit = np.maximum(expected.max(axis=(0, 1)), 1)
        error = np.abs(features[layer] - expected).max(axis=(0, 1)) / unit
        assert error.max() < FEATURES, layer


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_normalizing_divides_each_filter_and_changes_nothing_else(embedded, photograph, pooling):
    layers = tuple(layers_of("vgg16"))
    normalized = normalize(embedded, pooling)
    assert normalized.normalized_for == pooling and normalized.normalized
    network = vgg.VGG("vgg16", layers, normalized.mean, pooling)
    extract = jax.jit(lambda params, images: vgg.extract_features(network, params, images))
    photograph = photograph[:32, :48]  # the reference takes its time
    features = extract(normalized.params, jnp.asarray(photograph)[None])
    trained, mean = reference.read_network(normalized=False)
    originals = reference.all_features(trained, photograph, mean, pooling)
    assert tuple(originals) == layers
    tensors = load_file(reference.EMBEDDED)
    means = {"average": "activation_mean", "max": "activation_mean/max"}[pooling]
    scale = scales({layer: tensors[f"{means}/{layer}"] for layer in layers})
    assert_divided(
        {layer: np.asarray(maps[0]) for layer, maps in features.items()}, originals, scale
    )


def with_rare_filters(narrow):
    """Means with, in each layer, one filter that never fires and one just over the floor."""
    means = {}
    for layer, values in narrow.activation_means["average"].items():
        values = values + np.float32(0.5)
        values[0] = 0
        if values.size > 2:
            values[1] = 0.0101 * values.mean()
        means[layer] = values
    return dataclasses.replace(narrow, activation_means={"average": means})


def test_rare_filters_are_scaled_up_no_more_than_the_floor_allows(narrow, random):
    original = with_rare_filters(narrow)
    trained = original.activation_means["average"]
    expected, floored = scales(trained), floored_means(trained)
    for layer, means in trained.items():
        np.testing.assert_allclose(floored[layer], expected[layer], rtol=SCALES)
        assert floored[layer][0] > 0 and np.all(floored[layer][1:] == means[1:])
    image = random.random((32, 48, 3))
    features = reference.all_features(normalize(original).params, image, original.mean)
    originals = reference.all_features(original.params, image, original.mean)
    assert_divided(features, originals, expected)


def test_normalizing_does_not_depend_on_the_order_of_layers(narrow):
    backwards = {
        "params": dict(reversed(narrow.params.items())),
        "activation_means": {
            pooling: dict(reversed(means.items()))
            for pooling, means in narrow.activation_means.items()
        },
    }
    once = normalize(narrow)
    assert_same_tensors(normalize(dataclasses.replace(narrow, **backwards)), once)


def test_normalized_weights_stay_as_they_are(narrow, tmp_path):
    once = normalize(narrow)
    assert once.normalized and not once.activation_means
    assert normalize(once, "max") is once
    loaded = load_weights(save_weights(once, tmp_path / "normalized.safetensors"))
    assert loaded.normalized_for == "average"
    assert_same_tensors(normalize(loaded), once)


def test_normalizing_leaves_the_original_alone(narrow):
    before = {layer: parts["kernel"].copy() for layer, parts in narrow.params.items()}
    normalize(narrow)
    assert not narrow.normalized
    for layer, kernel in before.items():
        np.testing.assert_array_equal(narrow.params[layer]["kernel"], kernel)


def test_without_means_the_command_is_named(narrow):
    only = {"average": narrow.activation_means["average"]}
    for means, pooling in (({}, "average"), (only, "max")):
        with pytest.raises(WeightsError) as caught:
            normalize(dataclasses.replace(narrow, activation_means=means), pooling)
        assert str(caught.value) == (
            f"narrow: no mean activations of {pooling} pooling, so it cannot be normalized, and "
            "the paper's ratios do not hold; compute them with: nst-jax weights normalize narrow"
        )
