"""The trial of hostile inputs: outcomes are told apart, and a fault is not taken for one."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from nst_jax import architecture
from scripts.robustness import hostile_inputs
from scripts.robustness.hostile_files import FILTERS, narrow_weights
from scripts.robustness.hostile_inputs import (
    IMAGES,
    ROLES,
    SUFFIXES,
    cases,
    command_for,
    make_sound_files,
    try_one,
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(architecture, "FILTERS", FILTERS)
    make_sound_files()


def test_outcomes(tmp_path, monkeypatch):
    sound = (tmp_path / "photo.png").read_bytes()
    assert try_one("content", sound) == "0: painted"
    assert try_one("content", sound[:100]) == "2: is damaged or incomplete (…)"
    assert try_one("record in a picture", sound) == "2: carries no settings"
    for role in IMAGES:
        assert try_one(role, b"") == "2: is empty"
    weights = narrow_weights()
    assert try_one("settings", b"") == try_one("weights", weights[".safetensors"]) == "0: painted"
    assert try_one("record", Path("sound.json").read_bytes()) == "0: painted"
    for role in ("Keras weights", "pickled weights"):
        assert try_one(role, weights[SUFFIXES[role]]) == "0: converted"

    def fail(arguments):
        raise KeyError("no such chunk")

    for broken, outcome in ((fail, "exception: KeyError"), (lambda _: 1, "wrong: exit 1")):
        monkeypatch.setattr(hostile_inputs, "nst_jax", broken)
        assert try_one("content", sound).startswith(outcome)


def test_each_role_reads_the_file():
    assert all("evil" in command_for(role, "evil") for role in ROLES)


@pytest.mark.slow
def test_no_file_is_a_traceback():
    """Of every kind: exit 0 or 2 with one line, in time, and no file left behind."""
    few = settings(
        max_examples=int(os.environ.get("HOSTILE_EXAMPLES", "100")),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )

    @few
    @given(cases())
    def case(drawn):
        assert try_one(*drawn)[:2] in ("0:", "2:")

    case()
