"""The network against PyTorch's values and NumPy's, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
import torch_features

from nst_jax.architecture import convolutions_up_to, layer_names
from nst_jax.network import vgg
from nst_jax.network.kernel_forms import in_form

# Relative to a layer's greatest value: two float32 programs that sum in different orders.
FEATURES = 1e-4
# bfloat16 keeps 8 bits; errors add up over 13 layers.
BFLOAT16 = 0.05

LAYERS = layer_names("vgg16")


# One for all tests, so that equal networks are compiled once.
extract = jax.jit(vgg.extract_features, static_argnums=0)


def compute(weights, images, **options):
    network = vgg.VGG("vgg16", options.pop("layers", LAYERS), weights.mean, **options)
    return extract(network, weights.params, images)


@pytest.mark.parametrize("case", torch_features.CASES)
def test_features_equal_stored_pytorch_values(embedded, case):
    pooling, height, width = torch_features.CASES[case]
    image = torch_features.make_image(height, width)
    features = compute(embedded, image[None], pooling=pooling)
    with np.load(torch_features.STORED) as stored:
        for layer in LAYERS:
            values = np.asarray(features[layer][0])
            assert values.shape == tuple(stored[f"{case}/{layer}/shape"])
            difference = torch_features.sample(layer, values) - stored[f"{case}/{layer}"]
            assert np.abs(difference).max() < FEATURES * stored[f"{case}/{layer}/greatest"], layer


@pytest.mark.parametrize("case", torch_features.CASES)
def test_features_equal_pytorch_live(embedded, case):
    pytest.importorskip("torch")
    pooling, height, width = torch_features.CASES[case]
    image = torch_features.make_image(height, width)
    expected = torch_features.compute(pooling, image)
    features = compute(embedded, image[None], pooling=pooling)
    for layer in LAYERS:
        difference = np.abs(np.asarray(features[layer][0]) - expected[layer])
        assert difference.max() < FEATURES * expected[layer].max(), layer


def test_each_image_of_a_batch_is_on_its_own(embedded, random):
    images = random.random((3, 20, 27, 3), np.float32)
    features = compute(embedded, images, layers=("conv3_2",))["conv3_2"]
    network, mean = reference.read_network(normalized=False)
    for image, got in zip(images, features, strict=True):
        expected = reference.all_features(network, image, mean, last="conv3_2")["conv3_2"]
        assert np.abs(np.asarray(got) - expected).max() < FEATURES * expected.max()


@pytest.mark.parametrize(
    ("padding", "size", "form"),  # conv3_1 has (2, 2) and (1, 1)
    [
        ("reflect", (9, 10), "transformed_kernel"),
        ("reflect", (4, 5), "kernel"),
        ("replicate", (9, 10), "split_kernel"),
        ("replicate", (4, 5), "transformed_kernel"),
    ],
)
def test_padding(embedded, random, padding, size, form):
    """Against NumPy's, by three ways of convolving; one image alone and as a lane."""
    images = random.random((2, *size, 3), np.float32)
    layers = ("conv1_1", "conv2_2", "conv3_1")
    network = vgg.VGG("vgg16", layers, embedded.mean, padding=padding)
    params = {name: embedded.params[name] for name in convolutions_up_to("vgg16", layers)}
    params = {name: in_form(tensors, form, jnp.float32) for name, tensors in params.items()}
    together = extract(network, params, images)

    def one(params, image):  # not constants of the program, which XLA would fold
        return vgg.extract_features(network, params, image[None])

    lanes = jax.jit(jax.vmap(one, in_axes=(None, 0)))(params, images)
    exact, mean = reference.read_network(normalized=False)
    for number, image in enumerate(images):
        expected = reference.all_features(exact, image, mean, last="conv3_1", padding=padding)
        for layer in layers:
            found = np.stack([together[layer][number], lanes[layer][number, 0]])
            assert found.shape[1:] == expected[layer].shape
            assert np.abs(found - expected[layer]).max() < FEATURES * expected[layer].max(), layer


def test_padding_leaves_no_frame(embedded):
    """Around an image of one color the maps are of one value, as in its midst."""
    flat = np.full((1, 32, 32, 3), (0.9, 0.2, 0.1), np.float32)
    frames = {}
    for padding in vgg.PADDINGS:
        maps = np.asarray(compute(embedded, flat, layers=("conv3_1",), padding=padding)["conv3_1"])
        frames[padding] = np.ptp(maps, axis=(1, 2)).max() / maps.max()
    assert frames["zero"] > 0.1
    assert max(frames["reflect"], frames["replicate"]) < FEATURES


def test_stops_at_the_deepest_layer_asked_for(embedded):
    shallow = {layer: embedded.params[layer] for layer in ("conv1_1", "conv1_2", "conv2_1")}
    network = vgg.VGG("vgg16", ("conv2_1", "conv1_1"), embedded.mean)
    features = vgg.extract_features(network, shallow, jnp.zeros((1, 9, 9, 3)))
    assert list(features) == ["conv2_1", "conv1_1"]


def test_bfloat16_is_near_float32(normalized, photograph):
    exact = compute(normalized, photograph[None])
    rough = compute(normalized, photograph[None], dtype=jnp.bfloat16)
    for layer in LAYERS:
        assert rough[layer].dtype == jnp.bfloat16
        error = np.abs(np.asarray(rough[layer], np.float32) - np.asarray(exact[layer]))
        assert error.max() < BFLOAT16 * float(exact[layer].max()), layer


@pytest.mark.parametrize("shape", [(8, 8, 3), (1, 8, 8, 4), (1, 8, 3), (1, 15, 40, 3)])
def test_refuses_images_of_another_shape(embedded, shape):
    with pytest.raises(ValueError, match="images"):
        compute(embedded, jnp.zeros(shape))
