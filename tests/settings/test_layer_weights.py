"""Weights of layers by name, and the presets against the numbers of their sources."""

import dataclasses

import numpy as np
import pytest

from nst_jax import Settings, SettingsError
from nst_jax.settings.settings import without_idle_layers

SUMS = 1e-14  # float64
PAPER = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
# leongatys/PytorchNeuralStyleTransfer: [1e3 / n**2 for n in [64, 128, 256, 512, 512]]
NOTEBOOK = 1e3 / np.array([64, 128, 256, 512, 512]) ** 2.0
# crowsonkb/style-transfer-pytorch
CROWSON = np.array([256, 64, 16, 4, 1]) / 341


@pytest.mark.parametrize(
    ("preset", "wanted"),
    [("paper", np.full(5, 0.2)), ("gatys", NOTEBOOK / NOTEBOOK.sum()), ("geometric", CROWSON)],
)
def test_presets(preset, wanted):
    settings = Settings(style_layer_weights=preset)
    np.testing.assert_allclose(settings.style_layer_weights, wanted, rtol=SUMS)
    # Of another order, and of fewer layers: in the same proportions.
    some = ("conv4_1", "conv2_1")
    fewer = np.array(Settings(style_layers=some, style_layer_weights=preset).style_layer_weights)
    np.testing.assert_allclose(fewer, wanted[[3, 1]] / wanted[[3, 1]].sum(), rtol=SUMS)


def test_layers_of_one_block_weigh_the_same():
    layers = ("conv3_1", "conv3_2", "conv4_2")
    for preset, wanted in (("geometric", (4, 4, 1)), ("gatys", (4, 4, 1)), ("paper", (1, 1, 1))):
        settings = Settings(content_layers=layers, content_layer_weights=preset)
        expected = np.array(wanted) / sum(wanted)
        np.testing.assert_allclose(settings.content_layer_weights, expected, rtol=SUMS)


def test_the_notebooks_own_ratio():
    """What the docstring says: content 1 against 1000/C² is the ratio 3.05 of `gatys`."""
    weights = np.array(Settings(style_layer_weights="gatys").style_layer_weights)
    ratios = weights / NOTEBOOK
    np.testing.assert_allclose(ratios, ratios[0], rtol=SUMS)
    assert ratios[0] == pytest.approx(3.05, abs=0.005)


def test_equal_weights_are_the_default():
    equal = Settings(style_layer_weights="paper")
    assert equal.style_terms == Settings().style_terms
    assert without_idle_layers(equal) == Settings()


def test_by_name():
    settings = Settings(style_layer_weights={"relu4_1": 0.5, "conv1_1": 1})
    assert settings.style_layer_weights == (1.0, 0.0, 0.0, 0.5, 0.0)
    assert dataclasses.replace(settings, seed=1).style_layer_weights == (1.0, 0.0, 0.0, 0.5, 0.0)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ("gatis", "is 'gatis'; wanted a sequence.* paper, gatys, geometric; did you mean gatys?"),
        ("", "is ''; wanted a sequence"),
        ({"conv1_1": 1, "conv4_2": 1}, "names conv4_2, which is not among the layers .conv1_1, "),
        ({"conv9_1": 1}, "no layer 'conv9_1'"),
        ({"conv1_1": -1}, "style_layer_weights is -1; wanted 0 to"),
        ({"conv1_1": "much"}, "style_layer_weights is much; wanted 0 to"),
    ],
)
def test_refused(weights, words):
    with pytest.raises(SettingsError, match=words) as raised:
        Settings(style_layer_weights=weights)
    assert "\n" not in str(raised.value)


def test_idle_layers_leave_the_layers_of_each_painting():
    settings = Settings(
        layers_per_style=(PAPER[:2], PAPER[2:]), style_layer_weights={"conv1_1": 1, "conv3_1": 2}
    )
    kept = without_idle_layers(settings)
    assert kept.style_layers == ("conv1_1", "conv3_1")
    assert kept.layers_per_style == (("conv1_1",), ("conv3_1",))
    first = dataclasses.replace(settings, style_layer_weights={"conv1_1": 1})
    assert without_idle_layers(first).layers_per_style == (("conv1_1",), ())
