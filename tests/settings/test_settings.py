"""Settings: what is refused and with which words, and what the losses are then multiplied with."""

import dataclasses
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from nst_jax import PRESETS, Settings
from nst_jax.errors import SettingsError
from nst_jax.losses.terms import LossWeights

FLOAT32 = 1e-7  # weights are rounded to float32 once: half an ulp is 6e-8 of the value

# Gatys et al. 2015, section "Methods" and the caption of Figure 2.
STYLE_LAYERS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")


def test_the_default_ratio_depends_on_the_start():
    assert Settings(init="noise").content_weight == 1e-3
    for init in ("content", "style", "some.png"):
        assert Settings(init=init).content_weight == 5e-5
    assert Settings(init="noise", ratio=0).content_weight == 0
    assert float(LossWeights.from_settings(Settings()).content) == np.float32(5e-5)


def test_chroma_waits_from_noise_only():
    assert Settings(init="noise").chroma_smoothing == Settings(init_noise=1).chroma_smoothing == 5
    assert Settings().chroma_smoothing == Settings(init_noise=0.9).chroma_smoothing == 0
    assert Settings(init="noise", smooth_chroma=0).chroma_smoothing == 0
    assert float(LossWeights.from_settings(Settings(smooth_chroma=3)).chroma_smoothing) == 3


@pytest.mark.parametrize("convention", ["paper", "authors", "equations"])
def test_the_default_ratio_with_normalized_gradients(convention):
    """The same in each convention: what the terms are multiplied with does not count."""
    settings = {"normalize_gradients": True, "convention": convention}
    assert Settings(init="noise", **settings).content_weight == 0.1
    assert Settings(**settings).content_weight == 0.01


@pytest.mark.parametrize("convention", ["authors", "equations"])
def test_other_conventions_want_a_ratio(convention):
    with pytest.raises(SettingsError, match=f"no default in the convention '{convention}'"):
        Settings(convention=convention)
    assert Settings(convention=convention, ratio=1e-3).content_weight == 1e-3


def test_the_preset_is_the_paper():
    settings = Settings(**PRESETS["paper"])
    assert (settings.init, settings.optimizer, settings.pooling) == ("noise", "lbfgs", "average")
    assert (settings.content_layers, settings.style_layers) == (("conv4_2",), STYLE_LAYERS)
    assert (settings.ratio, settings.tv_weight, settings.convention) == (1e-3, 0, "paper")
    assert settings.normalize
    weights = LossWeights.from_settings(settings).style_layers
    assert all(weight == np.float32(1 / 5) for weight in weights.values())


def test_the_presets_name_settings():
    names = {field.name for field in dataclasses.fields(Settings)}
    for preset in PRESETS.values():
        assert set(preset) <= names


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("size", 16, 16384),
        ("style_size", 16, 16384),
        ("steps", 0, 10_000_000),
        ("seed", 0, 4294967295),
        ("lbfgs_memory", 1, 1000),
        ("scales", 1, 6),
        ("average", 0, 1_000_000),
    ],
)
def test_whole_numbers(name, least, most):
    assert getattr(Settings(**{name: least}), name) == least
    assert getattr(Settings(**{name: most}), name) == most
    wrong = [least - 1, most + 1, least + 0.5, float("nan"), float("inf"), 10**400, "many", 1j]
    for value in wrong:
        with pytest.raises(SettingsError) as caught:
            Settings(**{name: value})
        assert str(caught.value) == f"{name} is {value}; wanted a whole number, {least} to {most}"


@pytest.mark.parametrize(
    ("name", "least", "most", "words"),
    [
        ("ratio", 0, 1e38, "0 to 1e+38"),
        ("tv_weight", 0, 1e38, "0 to 1e+38"),
        ("tv_l1_weight", 0, 1e38, "0 to 1e+38"),
        ("learning_rate", 1e-9, 1e3, "1e-09 to 1000"),
    ],
)
def test_real_numbers(name, least, most, words):
    assert getattr(Settings(**{name: least}), name) == least
    assert getattr(Settings(**{name: most}), name) == most
    wrong = [-1e-9, 1.01 * most, float("nan"), float("inf"), -float("inf"), 10**400, "much", [1]]
    for value in wrong:
        with pytest.raises(SettingsError) as caught:
            Settings(**{name: value})
        assert str(caught.value) == f"{name} is {value}; wanted {words}"


@pytest.mark.parametrize("name", ["size", "steps", "seed", "lbfgs_memory", "tv_weight"])
def test_none_is_only_for_settings_with_a_default_elsewhere(name):
    with pytest.raises(SettingsError, match=f"{name} is None; wanted "):
        Settings(**{name: None})


@pytest.mark.parametrize(
    "number", [int, float, np.int64, np.uint8, np.float32, np.float64, jnp.int32, jnp.float32]
)
def test_numbers_of_any_kind_become_pythons(number):
    settings = Settings(
        size=number(64),
        steps=number(3),
        seed=number(0),
        ratio=number(1),
        tv_weight=number(2),
        learning_rate=number(1),
        style_layer_weights=[number(2)] * 5,
    )
    same = Settings(
        size=64, steps=3, ratio=1.0, tv_weight=2, learning_rate=1, style_layer_weights=(2,) * 5
    )
    assert settings == same and hash(settings) == hash(same)
    assert type(settings.size) is int and type(settings.ratio) is float
    json.dumps(dataclasses.asdict(settings))  # the record's business; NumPy's numbers fail here


def test_paths_become_text():
    settings = Settings(init=Path("folder") / "start.png", weights=Path("mine.safetensors"))
    assert settings.init == str(Path("folder", "start.png"))
    assert settings.weights == "mine.safetensors"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("pooling", "avarage", "'avarage'; wanted one of average, max; did you mean average?"),
        ("padding", "mirror", "'mirror'; wanted one of zero, reflect, replicate"),
        ("pooling", "sum", "'sum'; wanted one of average, max"),
        ("convention", "Paper", "'Paper'; wanted one of paper, authors, equations, paper-0.2; did"),
        (
            "convention",
            "author",
            "'author'; wanted one of paper, authors, equations, paper-0.2; did you mean authors?",
        ),
        ("optimizer", "l-bfgs", "'l-bfgs'; wanted one of lbfgs, adam; did you mean lbfgs?"),
        ("precision", "bf16", "'bf16'; wanted one of auto, float32, tf32, bfloat16"),
        ("precision", None, "None; wanted one of auto, float32, tf32, bfloat16"),
        ("optimizer", ["adam"], "['adam']; wanted one of lbfgs, adam"),
    ],
)
def test_names_of_a_list(name, value, words):
    with pytest.raises(SettingsError) as caught:
        Settings(**{name: value})
    assert str(caught.value).startswith(f"{name} is {words}")


@pytest.mark.parametrize("name", ["content_layers", "style_layers"])
@pytest.mark.parametrize(
    ("layers", "words"),
    [
        (("conv4_9",), "vgg19 has no layer 'conv4_9': did you mean conv4_"),
        (("fc7",), "vgg19 has no layer 'fc7': it has conv1_1 to conv5_4"),
        ((42,), "vgg19 has no layer '42'"),
        (("conv4_2", "relu4_2"), "{name} names a layer twice: conv4_2, conv4_2"),
        ("conv4_2", "{name} is 'conv4_2'; wanted a sequence"),
        (None, "{name} is None; wanted a sequence"),
    ],
)
def test_layers_refused(name, layers, words):
    with pytest.raises(SettingsError) as caught:
        Settings(**{name: layers})
    assert str(caught.value).startswith(words.format(name=name))


def test_one_kind_of_layers_may_be_missing():
    with pytest.raises(SettingsError, match="content_layers and style_layers are both empty"):
        Settings(content_layers=(), style_layers=())
    content, style = Settings(style_layers=()), Settings(content_layers=())
    assert (content.is_transfer, style.is_transfer, Settings().is_transfer) == (False, False, True)
    assert content.content_weight == 1.0 and LossWeights.from_settings(content).style_layers == {}
    assert LossWeights.from_settings(style).content_layers == {}
    assert Settings(style_layers=(), convention="authors").content_weight == 1.0


def test_content_layer_weights():
    layers = ("conv3_1", "conv4_2")
    weights = LossWeights.from_settings(Settings(content_layers=layers)).content_layers
    assert {layer: float(weight) for layer, weight in weights.items()} == dict.fromkeys(layers, 0.5)
    chosen = Settings(content_layers=layers, content_layer_weights=[0, 2])
    assert chosen.content_terms == {"conv3_1": 0.0, "conv4_2": 2.0}
    with pytest.raises(SettingsError, match="3 numbers for 2 content layers .conv3_1, conv4_2."):
        Settings(content_layers=layers, content_layer_weights=(1, 2, 3))


@pytest.mark.parametrize("spelling", ["conv4_2", "relu4_2", "ReLU4_2", " conv4_2 ", "CONV4_2"])
def test_spellings_of_a_layer(spelling):
    settings = Settings(content_layers=[spelling], style_layers=iter([spelling]))
    assert settings == Settings(content_layers=("conv4_2",), style_layers=("conv4_2",))


def test_layers_that_only_vgg19_has_are_for_the_network_to_refuse():
    assert Settings(content_layers=("conv5_4",)).content_layers == ("conv5_4",)


def test_each_layer_is_read_once():
    settings = Settings(content_layers=("conv3_1", "conv4_2"), style_layers=("conv4_2", "conv1_1"))
    assert settings.layers == ("conv4_2", "conv1_1", "conv3_1")


@pytest.mark.parametrize("count", [1, 2, 5])
def test_loss_weights_default_to_one_over_the_number_of_layers(count):
    layers = STYLE_LAYERS[:count]
    settings = Settings(style_layers=layers, content_layers=layers, ratio=0.1, tv_weight=0.3)
    weights = LossWeights.from_settings(settings)
    for given in (weights.style_layers, weights.content_layers):
        assert tuple(given) == layers
        np.testing.assert_allclose(list(given.values()), 1 / count, rtol=FLOAT32)
    np.testing.assert_allclose([weights.content, weights.tv], [0.1, 0.3], rtol=FLOAT32)
    assert weights.style == 1


def test_loss_weights_are_float32_scalars():
    weights = LossWeights.from_settings(Settings(style_layer_weights=(1, 2, 3, 4, 5)))
    scalars = [weights.content, weights.style, weights.tv]
    scalars += [*weights.content_layers.values(), *weights.style_layers.values()]
    for scalar in scalars:
        assert scalar.dtype == np.float32 and scalar.shape == () and not scalar.weak_type


@pytest.mark.parametrize("make", [tuple, list, np.array])
def test_style_layer_weights_keep_the_order_of_the_layers(make):
    layers = STYLE_LAYERS[::-1]
    given = make([0.5, 0, 0.25, 1, 7])
    settings = Settings(style_layers=layers, style_layer_weights=given)
    assert settings.style_layer_weights == (0.5, 0, 0.25, 1, 7)
    weights = LossWeights.from_settings(settings).style_layers
    assert {layer: float(weight) for layer, weight in weights.items()} == {
        "conv5_1": 0.5,
        "conv4_1": 0,
        "conv3_1": 0.25,
        "conv2_1": 1,
        "conv1_1": 7,
    }


def test_all_style_layers_may_weigh_nothing():
    weights = LossWeights.from_settings(Settings(style_layer_weights=(0,) * 5)).style_layers
    assert [float(weight) for weight in weights.values()] == [0] * 5


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ((1, 2), "style_layer_weights has 2 numbers for 5 style layers (conv1_1, conv2_1, "),
        ((), "style_layer_weights has 0 numbers for 5 style layers"),
        ((1, 1, 1, 1, -0.5), "style_layer_weights is -0.5; wanted 0 to 1e+38"),
        ((1, 1, 1, 1, float("nan")), "style_layer_weights is nan; wanted 0 to 1e+38"),
        ((1, 1, 1, 1, "x"), "style_layer_weights is x; wanted 0 to 1e+38"),
        (0.2, "style_layer_weights is 0.2; wanted a sequence"),
        ("1,1,1,1,1", "style_layer_weights is '1,1,1,1,1'; wanted a sequence"),
    ],
)
def test_style_layer_weights_refused(weights, words):
    with pytest.raises(SettingsError) as caught:
        Settings(style_layer_weights=weights)
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize(
    ("optimizer", "given", "expected"),
    [("lbfgs", None, 1.0), ("adam", None, 0.02), ("lbfgs", 0.5, 0.5), ("adam", 1, 1.0)],
)
def test_step_size(optimizer, given, expected):
    assert Settings(optimizer=optimizer, learning_rate=given).step_size == expected


def test_frozen_and_hashable():
    settings = Settings(content_layers=["conv4_2"], style_layer_weights=[1] * 5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.ratio = 1.0
    assert settings in {Settings(style_layer_weights=(1.0,) * 5)}
    assert dataclasses.replace(settings, ratio=0.5).ratio == 0.5


@pytest.mark.parametrize("colors", ["luminance", "match"])
@pytest.mark.parametrize("missing", ["content_layers", "style_layers"])
def test_reconstructions_have_the_colors_of_their_image(colors, missing):
    with pytest.raises(SettingsError, match=f"colors is '{colors}', which needs a photograph and"):
        Settings(colors=colors, **{missing: ()})
    assert Settings(color_map="symmetric", **{missing: ()}).colors == "style"


def test_replacing_a_value_checks_it_again():
    with pytest.raises(SettingsError, match="ratio is -1; wanted 0 to"):
        dataclasses.replace(Settings(), ratio=-1)
