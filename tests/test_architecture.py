"""The tables against the weights themselves, and the names of layers that users give."""

import pytest
from layouts import layers_of

from nst_jax.architecture import canonical_layer, convolutions_up_to, kernel_shapes, layer_names
from nst_jax.errors import SettingsError


def test_shapes_are_those_of_trained_weights(embedded):
    shapes = {layer: tensors["kernel"].shape for layer, tensors in embedded.params.items()}
    assert kernel_shapes("vgg16") == shapes


@pytest.mark.parametrize("architecture", ["vgg16", "vgg19"])
def test_names_are_those_of_the_published_files(architecture):
    assert list(layer_names(architecture)) == list(layers_of(architecture))


@pytest.mark.parametrize("spelling", ["conv4_2", "relu4_2", " Conv4_2 ", "RELU4_2"])
def test_spellings_of_a_layer(spelling):
    assert canonical_layer(spelling, "vgg19") == "conv4_2"


@pytest.mark.parametrize(
    ("name", "architecture", "hint"),
    [
        ("conv4_22", "vgg19", "conv4_2"),
        ("conv5_4", "vgg16", "conv5_"),
        ("fc6", "vgg16", "conv1_1 to conv5_3"),
    ],
)
def test_unknown_layers(name, architecture, hint):
    with pytest.raises(SettingsError, match=hint):
        canonical_layer(name, architecture)


def test_convolutions_that_a_layer_needs():
    up_to = convolutions_up_to
    assert up_to("vgg16", ("conv1_1",)) == ("conv1_1",)
    assert up_to("vgg19", ("conv2_1", "conv1_2")) == ("conv1_1", "conv1_2", "conv2_1")
    assert up_to("vgg16", ("conv5_3",)) == layer_names("vgg16")
    assert up_to("vgg16", ()) == ()
