"""Files of settings: what they mean, which level wins, and what is said of a mistake, and where."""

import argparse
import dataclasses
import tomllib

import pytest
from command import draw, refused
from every_setting import LEAN, OTHER, REGIONS

from nst_jax import PRESETS, Settings, SettingsError
from nst_jax.cli.settings_flags import add_settings_flags, read_settings
from nst_jax.settings.settings_file import as_toml, read_settings_file, stacked


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(text, folder, name="soft.toml"):
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def settings_of(*flags, recorded=None):
    """The settings that flags mean."""
    parser = argparse.ArgumentParser()
    add_settings_flags(parser)
    return read_settings(parser.parse_args(list(map(str, flags))), recorded)


def test_every_setting_can_be_written(folder):
    """And read again; what is not written has its default."""
    fields = dataclasses.fields(Settings)
    assert {*OTHER, *REGIONS, *LEAN} == {field.name for field in fields}
    for others in (OTHER, REGIONS, LEAN):
        settings = Settings(**others)
        path = write(as_toml(settings), folder)
        assert settings_of("--settings", path) == settings
        assert all(others[name] != getattr(Settings(), name) for name in others)
    written = tomllib.loads(as_toml(Settings()))
    assert set(written) == {field.name for field in fields if field.default is not None}
    write(as_toml(Settings()), folder)
    assert settings_of("--settings", path) == Settings()


def test_dashes_and_underscores(folder):
    path = write("style-size = 64\nlbfgs_memory = 9\n'tv-weight' = 1\n", folder)
    assert settings_of("--settings", path) == Settings(style_size=64, lbfgs_memory=9, tv_weight=1)


def test_a_byte_order_mark_and_other_line_ends(folder):
    (folder / "soft.toml").write_bytes(b"\xef\xbb\xbfsize = 64\r\nsteps = 3\r\n")
    assert settings_of("--settings", "soft.toml") == Settings(size=64, steps=3)


def test_which_level_wins(folder):
    """Defaults, then the preset, then the file, then the flags."""
    path = write('preset = "paper"\nratio = 0.5\nseed = 4\n', folder)
    paper = PRESETS["paper"]
    assert settings_of("--settings", path) == Settings(**{**paper, "ratio": 0.5, "seed": 4})
    flags = ("--settings", path, "--ratio", 0.25, "--init", "style")
    wanted = Settings(**{**paper, "ratio": 0.25, "seed": 4, "init": "style"})
    assert settings_of(*flags) == wanted == settings_of(*flags[2:], *flags[:2])
    plain = write("ratio = 0.5\nseed = 4\n", folder, "plain.toml")
    typed = settings_of("--settings", plain, "--preset", "paper")
    assert typed == settings_of("--settings", path)
    recorded = {"size": 99, "seed": 1, "ratio": 0.75}
    assert settings_of("--settings", plain, recorded=recorded) == Settings(
        size=99, seed=4, ratio=0.5
    )


def test_a_table_of_weights(folder):
    text = 'style_layers = ["conv1_1", "relu3_1", "conv5_1"]\n[style-layer-weights]\n'
    path = write(text + "conv3_1 = 0.5\nconv1_1 = 2\n", folder)
    layers = ("conv1_1", "conv3_1", "conv5_1")
    wanted = Settings(style_layers=layers, style_layer_weights=(2.0, 0.5, 0.0))
    assert settings_of("--settings", path) == wanted


def test_what_flags_take_files_take(folder):
    """One number for a list of them, and the name of a preset."""
    path = write("style_scale = 0.5\nstyle_layer_weights = 'geometric'\n", folder)
    flags = ("--style-scale", 0.5, "--style-layer-weights", "geometric")
    assert settings_of("--settings", path) == settings_of(*flags)
    assert settings_of(*flags) != settings_of()


def test_layers_named_anew_have_no_old_weights(folder):
    """Five weights of the file's layers mean nothing for a flag's two."""
    path = write("style_layer_weights = [1, 2, 3, 4, 5]\nsize = 64\n", folder)
    two = ("--style-layers", "conv1_1,conv2_1")
    wanted = Settings(style_layers=("conv1_1", "conv2_1"), size=64)
    assert settings_of("--settings", path, *two) == wanted
    weighted = settings_of("--settings", path, *two, "--style-layer-weights", "1,2")
    assert weighted.style_layer_weights == (1.0, 2.0)
    assert stacked({"style_layers": (), "size": 1}, {"content_layers": ()}) == {
        "style_layers": (),
        "size": 1,
        "content_layers": (),
    }


SYNTAX = [
    ("size = 64\nratio 3\n", ("soft.toml, line 2, column 7: is no TOML (Expected '='",)),
    ("size = 64\n\ninit = noise\n", ("soft.toml, line 3, column 8: ", "texts in quotes")),
    ("size = 64\nsize = 65\n", ("line 2, column 10: ", "Cannot overwrite a value")),
    ("[style_layer_weights\n", ("line 1, column 21: ",)),
    ("style_layers = [", ("soft.toml: is no TOML (", "at end of document")),
    ("size = " + "9" * 5000, ("soft.toml: is no TOML (", "digits")),
    ("size = " + "[" * 5000, ("soft.toml: is no TOML (",)),
]
KEYS = [
    ("sise = 64", ("line 1, column 1: there is no setting 'sise'", "did you mean size?")),
    ("size = 64\n  style-wieght = 2", ("line 2, column 3", "'style_wieght'; did you mean style_")),
    ("quartz = 64", ("there is no setting 'quartz'; there are preset, size, style_size",)),
    ("[picture]\nsize = 64", ("line 1, column 2: there is no setting 'picture'",)),
    ("[sizes.large]\nx = 64", ("there is no setting 'sizes'; did you mean size?",)),
    ("tv_weight = 1\ntv-weight = 2", ("tv_weight is there twice", "a dash and an underscore")),
    ("presett = 'paper'", ("'presett'; did you mean preset?",)),
    ("\npreset = 'monet'", ("line 2, column 1: preset is 'monet'; wanted one of paper",)),
    ("preset = ['paper']", ("preset is ['paper']; wanted one of paper",)),
]
TYPE = [
    ("size = '64'", ('line 1, column 1: size is "64"; wanted a whole number',)),
    ("size = 64.0", ("size is 64.0; wanted a whole number",)),
    ("size = true", ("size is true; wanted a whole number",)),
    ("ratio = '1e-5'", ('ratio is "1e-5"; wanted a number',)),
    ("ratio = false", ("ratio is false; wanted a number",)),
    ("ratio = 1979-05-27", ('ratio is "1979-05-27"; wanted a number',)),
    ("init = 3", ("init is 3; wanted text",)),
    ("normalize = 'no'", ('normalize is "no"; wanted true or false',)),
    ("normalize = 0", ("normalize is 0; wanted true or false",)),
    ("style_layers = [1]", ("style_layers is [1]; wanted a list of texts",)),
    ("style_layer_weights = ['1']", ('style_layer_weights is ["1"]; wanted a list of numbers',)),
    ("style_layer_weights = true", ("style_layer_weights is true; wanted a list of numbers",)),
    ("layers_per_style = [[1]]", ("wanted a list of lists of texts",)),
    ("[style_layer_weights]\nconv1_1 = 'much'", ("line 1, column 2: ", "wanted a list of numbers")),
]
VALUES = [
    ("steps = 3\nsize = 8", ("line 2, column 1: size is 8; wanted a whole number, 16 to",)),
    ("ratio = nan", ("line 1, column 1: ratio is nan; wanted 0 to",)),
    ("\nratio = -1", ("line 2, column 1: ratio is -1; wanted 0 to",)),
    ("optimizer = 'adma'", ("line 1, column 1: optimizer is 'adma'", "did you mean adam?")),
    ("style_scale = [0.5, 0]", ("line 1, column 1: style_scale is 0; wanted 0.01 to",)),
    ("steps = 3\nstyle_layer_weights = 'papre'", ("line 2, column 1: ", "did you mean paper?")),
    ("size = 64\nstyle_layers = ['conv9_1']", ("line 2, column 1: ", "'conv9_1'")),
    ("style_layers = 'conv1_1'", ("line 1, column 1: style_layers is 'conv1_1'; wanted a seq",)),
    ("convention = 'authors'", ("line 1, column 1: ratio has no default in the convention",)),
    ("style_layer_weights = [1, 2]", ("line 1, column 1: ", "2 numbers for 5 style layers")),
    ("[style_layer_weights]\nconv3_2 = 1", ("line 1, column 2: ", "conv3_2, which is not among")),
    ("size = 8\nsteps = -1", ("soft.toml: size is 8",)),
]


@pytest.mark.parametrize(("text", "words"), SYNTAX + KEYS + TYPE + VALUES)
def test_mistakes_in_a_file(folder, text, words):
    """Exit code 2 and one line, which says where, if the file's reader or a look at it tells."""
    write(text, folder)
    draw("photo.png"), draw("painting.png", seed=1)
    refused(("stylize", "photo.png", "painting.png", "--settings", "soft.toml"), words)


@pytest.mark.parametrize(
    "command", [("sweep", "a.png", "b.png"), ("reconstruct", "style", "a.png")]
)
def test_mistakes_in_the_file_of_other_commands(folder, command):
    write("sise = 64", folder)
    refused((*command, "--settings", "soft.toml"), ("soft.toml, line 1, column 1", "mean size?"))


@pytest.mark.parametrize("kind", ["content", "style"])
def test_layers_of_reconstructions_have_one_flag(folder, kind):
    write(f"{kind}_layers = ['conv1_1']", folder)
    arguments = ("reconstruct", kind, "a.png", "--settings", "soft.toml")
    refused(arguments, (f"--{kind}-layers: name them with --layers instead",))


def test_files_that_cannot_be_read(folder):
    command = ("stylize", "a.png", "b.png", "--settings")
    refused((*command, "none.toml"), ("none.toml: there is no such settings file", "path"))
    (folder / "box.toml").mkdir()
    refused((*command, "box.toml"), ("box.toml: cannot be read (Is a directory)", "give a file"))
    draw(folder / "picture.png")
    refused((*command, "picture.png"), ("picture.png: is no text in UTF-8", "TOML"))


def test_a_mistake_that_is_not_the_files(folder):
    """It is blamed on the flag alone."""
    path = write("steps = 3\n", folder)
    with pytest.raises(SettingsError) as caught:
        settings_of("--settings", path, "--size", 8)
    assert str(caught.value).startswith("size is 8")


def test_places(folder):
    text = 'size = 1\n# steps = 2\n  "tv-weight" = 3\nx = """\n"""\n[ style_layer_weights ]\n'
    text = text.replace('x = """\n"""\n', "")
    places = read_settings_file(write(text + "conv1_1 = 1", folder)).places
    assert places == {
        "size": (1, 1),
        "tv_weight": (3, 4),
        "style_layer_weights": (4, 3),
        "conv1_1": (5, 1),
    }
