"""What settings declare of themselves, against the code that makes use of them."""

import dataclasses
import subprocess
import sys

import pytest
from every_setting import OTHER
from reference import ROOT

from nst_jax import Settings, Weights
from nst_jax.engine.program import make_program
from nst_jax.losses.terms import CONVENTIONS
from nst_jax.network.vgg import PADDINGS, POOLINGS, PRECISIONS
from nst_jax.optim.optimizer import make_optimizer
from nst_jax.settings.settings import LEARNING_RATES, SETTINGS
from nst_jax.settings.table import document

WEIGHTS = Weights("vgg19", {}, (0, 0, 0), "Keras", "", "CC BY", name="mine", sha256="ab12")
# One that the layer weights of OTHER go with.
LAYERS = {name: OTHER[name] for name in ("content_layers", "style_layers")}
BASE = Settings(ratio=1e-5, smooth_chroma=1.0, **LAYERS)
# They decide which architecture there is and of which shapes its arguments are.
OUTSIDE = {"size", "style_size", "scales", "weights"}


@pytest.mark.parametrize("name", sorted(OTHER))
def test_only_static_settings_decide_the_program(name):
    value = SETTINGS[name].default if name in LAYERS else OTHER[name]
    changed = dataclasses.replace(BASE, **{name: value})
    same = make_program(changed, WEIGHTS) == make_program(BASE, WEIGHTS)
    assert same == (SETTINGS[name].kind != "static" or name in OUTSIDE)


def test_a_program_without_smooth_chroma_is_that_of_older_records():
    programs = [make_program(Settings(init=init), WEIGHTS) for init in ("content", "noise")]
    without = [
        make_program(Settings(init=init, smooth_chroma=0.0), WEIGHTS)
        for init in ("content", "noise")
    ]
    assert programs[0] == without[0] == without[1] != programs[1]


@pytest.mark.parametrize(
    ("name", "implemented"),
    [
        ("pooling", POOLINGS),
        ("padding", PADDINGS),
        ("precision", {"auto", *PRECISIONS}),
        ("convention", CONVENTIONS),
        ("optimizer", LEARNING_RATES),
    ],
)
def test_choices_are_what_is_implemented(name, implemented):
    assert set(SETTINGS[name].value.names) == set(implemented)


def test_every_optimizer_can_be_made():
    for name in SETTINGS["optimizer"].value.names:
        for history in SETTINGS["lbfgs_history"].value.names:
            make_optimizer(name, 1.0, 3, False, history)


def test_defaults_are_values():
    """None of them is refused by what it declares, and none is changed."""
    for name, setting in SETTINGS.items():
        assert setting.default is None or setting.value.fits(setting.default)
        assert getattr(Settings(), name) == setting.default


def test_one_flag_and_one_axis_for_each():
    flags = [flag for one in SETTINGS.values() for flag in (one.flag, *one.aliases)]
    axes = [one.axis for one in SETTINGS.values() if one.axis]
    flags += [axis.flag for axis in axes]
    assert len(set(flags)) == len(flags) and len({axis.name for axis in axes}) == len(axes)


def test_the_table_in_the_documents():
    """`python -m nst_jax.settings.table docs/settings.md` writes it."""
    assert (ROOT / "docs" / "settings.md").read_text("utf-8") == document()


def test_settings_need_no_jax():
    code = "import sys, nst_jax.settings; print([n for n in ('jax', 'numpy') if n in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"
