"""What each painting gives to the target of each style layer."""

import numpy as np
import pytest

from nst_jax import Settings, SettingsError
from nst_jax.settings.style_blend import shares_of

LAYERS = ("conv1_1", "conv2_1", "conv3_1")
FINE, COARSE = ("conv1_1", "conv2_1"), ("conv3_1",)
SUMS = 1e-15  # a few roundings of float64


@pytest.mark.parametrize(
    ("paintings", "blend", "layers_each", "wanted"),
    [
        (1, None, None, {"conv1_1": [1], "conv2_1": [1], "conv3_1": [1]}),
        (4, None, None, dict.fromkeys(LAYERS, [0.25] * 4)),
        (2, (3, 7), None, dict.fromkeys(LAYERS, [0.3, 0.7])),
        (3, (0, 1e-30, 3e-30), None, dict.fromkeys(LAYERS, [0, 0.25, 0.75])),
        (2, None, (FINE, COARSE), {"conv1_1": [1, 0], "conv2_1": [1, 0], "conv3_1": [0, 1]}),
        (2, (1, 3), (LAYERS, FINE), {"conv1_1": [0.25, 0.75], "conv2_1": [0.25, 0.75]}),
        (3, (1, 5, 3), (COARSE, FINE, COARSE), {"conv1_1": [0, 1, 0], "conv3_1": [0.25, 0, 0.75]}),
        (2, None, (LAYERS, ()), dict.fromkeys(LAYERS, [1, 0])),
        (0, None, None, {}),
    ],
)
def test_shares(paintings, blend, layers_each, wanted):
    shares = shares_of(LAYERS, paintings, blend, layers_each)
    for layer, expected in wanted.items():
        np.testing.assert_allclose(shares[layer], expected, rtol=SUMS)
    assert set(shares) == (set(LAYERS) if paintings else set())
    assert all(sum(each) == pytest.approx(1, rel=SUMS) for each in shares.values())


def test_the_settings_say_it():
    settings = Settings(style_layers=LAYERS, style_blend=[1, 3], layers_per_style=[LAYERS, FINE])
    assert settings.style_shares(2) == {
        "conv1_1": (0.25, 0.75),
        "conv2_1": (0.25, 0.75),
        "conv3_1": (1.0, 0.0),
    }


@pytest.mark.parametrize(
    ("fields", "paintings", "words"),
    [
        ({"style_blend": (1, 2)}, 1, "style_blend has 2 numbers for 1 painting; wanted one each"),
        ({"style_blend": (1,)}, 3, "style_blend has 1 numbers for 3 paintings"),
        ({"style_blend": (1,)}, 0, "style_blend has 1 numbers for 0 paintings"),
        ({"layers_per_style": (LAYERS,)}, 2, "layers_per_style has 1 sets of layers for 2"),
    ],
)
def test_another_number_of_paintings(fields, paintings, words):
    with pytest.raises(SettingsError, match=words):
        Settings(style_layers=LAYERS, **fields).style_shares(paintings)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"style_blend": (0, 0)}, "style_blend sums to 0; give at least one painting"),
        ({"style_blend": ()}, "style_blend sums to 0"),
        ({"style_blend": (1, -1)}, "style_blend is -1; wanted 0 to"),
        ({"style_blend": (1, float("nan"))}, "style_blend is nan; wanted 0 to"),
        ({"style_blend": "3,7"}, "style_blend is '3,7'; wanted a sequence"),
        ({"style_scale": ()}, "style_scale has no number"),
        ({"style_scale": (1, 0)}, "style_scale is 0; wanted 0.01 to 100"),
        ({"style_scale": 101}, "style_scale is 101; wanted 0.01 to 100"),
        ({"style_scale": "1,2"}, "style_scale is '1,2'; wanted a sequence"),
        ({"init_noise": 1.1}, "init_noise is 1.1; wanted 0 to 1"),
        ({"layers_per_style": "conv1_1"}, "layers_per_style is 'conv1_1'; wanted a sequence"),
        ({"layers_per_style": ("conv1_1",)}, "layers_per_style is 'conv1_1'; wanted a sequence"),
        ({"layers_per_style": (LAYERS, ("conv9_1",))}, "no layer 'conv9_1'"),
        ({"layers_per_style": (LAYERS, ("conv4_1",))}, "names conv4_1, which is not among the st"),
        ({"layers_per_style": (FINE, FINE)}, "no painting carries conv3_1: name it"),
        ({"layers_per_style": (FINE, COARSE), "style_blend": (1, 0)}, "no painting carries conv3"),
        ({"layers_per_style": (FINE, COARSE), "style_blend": (1, 1, 1)}, "2 sets of layers for 3"),
    ],
)
def test_what_makes_no_sense(fields, words):
    with pytest.raises(SettingsError, match=words) as raised:
        Settings(style_layers=LAYERS, **fields)
    assert "\n" not in str(raised.value)


def test_one_form_of_each_setting():
    """As the record has them, and hashable."""
    settings = Settings(
        style_layers=LAYERS,
        style_blend=np.float32([1, 3]),
        style_scale=2,
        layers_per_style=[["relu1_1", "conv2_1"], ["CONV3_1"]],
    )
    assert settings.style_blend == (1.0, 3.0) and settings.style_scale == (2.0,)
    assert settings.layers_per_style == (FINE, COARSE)
    assert hash(settings) == hash(Settings(**vars(settings)))
