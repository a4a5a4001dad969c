"""Guidance maps against a network that shows what it sees."""

import numpy as np
import pytest
import reference
from layouts import layers_of

from nst_jax.losses import guidance
from nst_jax.losses.guidance import Crossing

# float32 against float64.
SUMS = 1e-6
LAYERS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
# Simonyan & Zisserman's tables by hand: each convolution adds two strides, each pooling one.
FIELDS = {
    "vgg16": {"conv1_1": 3, "conv1_2": 5, "conv2_1": 10, "conv3_1": 24, "conv4_1": 60},
    "vgg19": {"conv2_2": 14, "conv3_4": 48, "conv4_1": 68, "conv4_2": 84, "conv5_1": 156},
}


def halves(height, width, at):
    """Two regions, side by side."""
    masks = np.zeros((2, height, width), np.float32)
    masks[0, :, :at] = masks[1, :, at:] = 1
    return masks


def see_through(mask, architecture):
    """{layer: (h, w)}: what each neuron of a VGG of ones sees of a mask; 0 where nothing."""
    ones = {"kernel": np.ones((3, 3, 1, 1)), "bias": np.zeros(1)}
    network = dict.fromkeys(layers_of(architecture), ones)
    features = reference.all_features(network, mask[..., None], np.zeros(1))
    return {layer: maps[..., 0] for layer, maps in features.items()}


@pytest.mark.parametrize("architecture", ["vgg16", "vgg19"])
def test_receptive_fields(architecture):
    got = {name: guidance.receptive_field(architecture, name) for name in FIELDS[architecture]}
    assert got == FIELDS[architecture]


@pytest.mark.parametrize("architecture", ["vgg16", "vgg19"])
@pytest.mark.parametrize(("height", "width"), [(33, 500), (47, 467)])
def test_only_neurons_that_see_nothing_else_take_part(random, architecture, height, width):
    """On sides that poolings round down, too; the edge is a wave, the other region has a hole."""
    columns = width // 2 + 9 * np.sin(np.arange(height) / 5)
    left = np.arange(width) < columns[:, None]
    right = ~left
    right[3:5, -3:-1] = False
    masks = np.stack([left, right]).astype(np.float32)
    layers = layers_of(architecture)[:-2]
    got = guidance.propagate(masks, architecture, layers)
    assert guidance.crossings(masks, architecture, layers) == []
    for region in range(2):
        beyond = see_through(1.0 - masks[region], architecture)
        for layer in layers:
            assert np.array_equal(got[layer][region] > 0, beyond[layer] == 0), layer


def test_a_soft_mask_counts_as_the_least_that_is_seen(random):
    mask = random.random((1, 16, 16))
    got = guidance.propagate(mask, "vgg16", ["conv1_1", "conv2_1"])
    seen = [mask[0, y - 1 : y + 2, x - 1 : x + 2].min() for y in (4, 9) for x in (7, 11)]
    assert [got["conv1_1"][0, y, x] for y in (4, 9) for x in (7, 11)] == seen
    # conv2_1 at (y, x) sees 10 px, from 2y − 4 on.
    assert got["conv2_1"][0, 3, 4] == mask[0, 2:12, 4:14].min()


def test_a_whole_image_has_a_whole_map():
    maps = guidance.propagate(np.ones((1, 37, 50), np.float32), "vgg16", LAYERS)
    assert {layer: m.shape for layer, m in maps.items()} == {
        "conv1_1": (1, 37, 50),
        "conv2_1": (1, 18, 25),
        "conv3_1": (1, 9, 12),
        "conv4_1": (1, 4, 6),
        "conv5_1": (1, 2, 3),
    }
    assert all(np.all(m == 1) for m in maps.values())


def test_small_regions_do_not_vanish():
    """A stripe of 40 px: conv4_1 sees 60; a single pixel in the row that poolings drop."""
    masks = np.zeros((2, 49, 256), np.float32)
    masks[0, :, 100:140] = 1
    masks[1, 48, 200] = 1
    maps = guidance.propagate(masks, "vgg16", LAYERS)
    assert all(np.all(m.any(axis=(1, 2))) for m in maps.values())
    assert guidance.crossings(masks, "vgg16", LAYERS) == [
        Crossing(0, "conv4_1", 60),
        Crossing(0, "conv5_1", 132),
        *(Crossing(1, f"conv{b}_1", f) for b, f in enumerate((3, 10, 24, 60, 132), 1)),
    ]
    columns = np.flatnonzero(maps["conv4_1"][0].any(axis=0))
    assert columns.min() * 8 >= 100 and columns.max() * 8 + 8 <= 140  # still within the stripe


def test_guides_are_normalised():
    guides = guidance.make_guides(halves(40, 64, 24) * 0.5, "vgg16", LAYERS[:3])
    for layer, maps in guides.maps.items():
        assert maps.dtype == np.float32
        squares = np.sum(maps.astype(np.float64) ** 2, axis=(2, 3))
        assert squares == pytest.approx(np.ones((1, 2)), rel=SUMS), layer


def test_a_region_weighs_what_its_positions_do():
    """conv3_1 of 40×64 px has 10×16 positions; those that see the edge at 24 px take no part."""
    masks = halves(40, 64, 24)
    guides = guidance.make_guides(masks, "vgg16", LAYERS[:3])
    assert guides.weights["conv1_1"][0] == pytest.approx([23 / 64, 39 / 64])
    assert guides.weights["conv3_1"][0] == pytest.approx([3 / 16, 7 / 16])
    assert guidance.make_guides(masks[:1] * 0 + 1, "vgg16", LAYERS).weights["conv5_1"] == 1
