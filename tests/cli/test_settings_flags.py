"""The flags of settings: what their texts mean, and which flags give settings again."""

import argparse

import pytest
from every_setting import LEAN, OTHER, REGIONS

from nst_jax import PRESETS, Settings
from nst_jax.cli.settings_flags import add_settings_flags, flags_of, read_settings
from nst_jax.settings.settings import SETTINGS


def settings_of(*flags):
    """The settings that flags mean."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_settings_flags(parser)
    return read_settings(parser.parse_args(list(map(str, flags))))


def text_of(value):
    """What a user types for a value."""
    if not isinstance(value, tuple):
        return str(value)
    separator = "/" if isinstance(value[0], tuple) else ","
    return separator.join(text_of(part) for part in value)


def test_defaults():
    assert settings_of() == Settings()
    assert flags_of(Settings()) == []


def test_flags_go_on_top_of_the_preset():
    flags = ("--ratio", "1e-4", "--init", "style", "--no-normalize")
    preset = ("--preset", "paper")
    wanted = Settings(**{**PRESETS["paper"], "ratio": 1e-4, "init": "style", "normalize": False})
    assert settings_of(*preset, *flags) == settings_of(*flags, *preset) == wanted


def typed(name, value):
    """The flag of a setting, `--no-…` where false is meant."""
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    return [f"--{flag}", text_of(value)]


@pytest.mark.parametrize("values", [OTHER, LEAN])
def test_every_setting_has_its_flag(values):
    assert {*OTHER, *LEAN, *REGIONS} == set(SETTINGS)
    flags = [text for name, value in values.items() for text in typed(name, value)]
    assert settings_of(*flags) == Settings(**values)


@pytest.mark.parametrize("values", [OTHER, REGIONS, LEAN])
def test_flags_give_the_settings_again(values):
    assert settings_of(*flags_of(Settings(**values))) == Settings(**values)


def test_flags_of_regions():
    """One for each file, since names may have commas."""
    flags = ["--content-mask", "a,b.png", "--content-mask", "c.png", "--style-mask", "none"]
    flags += ["--style-mask", "d.png", "--region-styles", "none,1"]
    settings = settings_of(*flags)
    assert settings.content_mask == ("a,b.png", "c.png")
    assert (settings.style_mask, settings.region_styles) == (("none", "d.png"), (0, 1))


@pytest.mark.parametrize("flag", ["--style-layer-weights", "--layer-weights"])
@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("1,0.5,0,0,2", (1, 0.5, 0, 0, 2)),
        ("conv1_1=1, relu4_1=.5", (1, 0, 0, 0.5, 0)),
        ("paper", (0.2,) * 5),
    ],
)
def test_layer_weights(flag, text, weights):
    assert settings_of(flag, text) == Settings(style_layer_weights=weights)


@pytest.mark.parametrize(
    ("flag", "text", "words"),
    [
        ("--size", "1.5", "'1.5' is not a whole number"),
        ("--ratio", "much", "'much' is not a number"),
        ("--style-scale", "1;2", "'1;2' is not a list of numbers"),
        (
            "--layer-weights",
            "conv1_1=1,conv1_1=2",
            "'conv1_1=1,conv1_1=2' is not a list of numbers",
        ),
    ],
)
def test_texts_that_mean_nothing(flag, text, words):
    with pytest.raises(argparse.ArgumentError, match=words):
        settings_of(flag, text)
